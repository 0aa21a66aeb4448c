from pathlib import Path

import pytest

from greenbridge.settings import load, state_dir_of
from greenbridge.summary import summarise
from simulators.world.corridor import reference
from telemetry.devices import Role
from telemetry.errors import ConfigError

GRID = """
u_rated_kv = 500.0
line_parameters = { r_ohm_per_km = 0.03, x_ohm_per_km = 0.3, b_us_per_km = 3.6, corona_kw_per_km = 2.4 }
[[area]]
id = "KZ"
name = "Kazakhstan"
utc_offset_h = 5.0
sync_area = "IPS/UPS"
[[node]]
id = "SHY"
name = "Shymkent"
area = "KZ"
latitude = 42.3
longitude = 69.6
[[node]]
id = "TAS"
name = "Tashkent"
area = "KZ"
latitude = 41.3
longitude = 69.3
[[line]]
id = "SHY-TAS"
from = "SHY"
to = "TAS"
circuits = 2
limit_mw = 600.0
sections = [{ km = 120.0 }]
"""
MAIN = """
name = "Two ends"
state_dir = "state"
[[modbus.gateway]]
id = "SHY"
host = "127.0.0.1"
"""
DEVICE = """
[[device]]
id = "m1"
profile = "pm5xxx"
node = "SHY"
branch = "SHY-TAS"
role = "main"
modbus = { gateway = "SHY", unit = 1 }
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "greenbridge.toml").write_text(MAIN)
    (tmp_path / "grid.toml").write_text(GRID)
    (tmp_path / "devices.toml").write_text(DEVICE)
    return tmp_path


def problems(config: Path | str, environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(str(config), environment or {})
    return [str(problem) for problem in caught.value.problems]


def test_a_small_site_loads_from_its_directory_or_its_file(site: Path) -> None:
    assert load(str(site), {}).devices[0].id == "m1"
    assert load(str(site / "greenbridge.toml"), {}).settings.name == "Two ends"


def test_the_built_in_site_is_valid_without_any_environment() -> None:
    configuration = load("corridor", {})
    summary = summarise(configuration)
    assert (summary.devices, summary.points, summary.links) == (190, 1827, 37)
    assert summary.stores == ["embedded"]
    assert "190" in summary.text()
    rules = summary.document()["rules"]
    assert (rules["R1"], rules["R2"], rules["R6"], rules["R10"], rules["R12"]) == (2, 3, 17, 1, 18)
    assert (rules["R13"], rules["R20"]) == (37, 17)


def test_at_least_half_of_the_corridor_speaks_modbus_and_every_branch_end_is_metered() -> None:
    configuration = load("corridor", {})
    modbus = [device for device in configuration.devices if device.modbus is not None]
    assert len(modbus) * 2 >= len(configuration.devices)
    metered = {(d.branch, d.node) for d in configuration.devices if d.role is Role.MAIN}
    ends = {line.id: (line.from_node, line.to_node) for line in configuration.grid.line}
    ends |= {link.id: (link.from_node, link.to_node) for link in configuration.grid.hvdc}
    assert metered == {(branch, node) for branch, nodes in ends.items() for node in nodes}
    checked = {(d.branch, d.node) for d in configuration.devices if d.role is Role.CHECK}
    assert checked == {(tie.id, node) for tie in configuration.grid.tie for node in ends[tie.id]}


def test_the_operators_grid_and_the_simulators_data_set_agree() -> None:
    grid, world = load("corridor", {}).grid, reference()
    assert [line.id for line in grid.line] == [line.id for line in world.lines]
    for ours, theirs in zip(grid.line, world.lines, strict=True):
        assert [section.km for section in ours.sections] == list(theirs.sections_km)
        assert (ours.circuits, ours.from_node, ours.to_node) == (
            theirs.circuits,
            theirs.from_bus,
            theirs.to_bus,
        )
    ours_hvdc, theirs_hvdc = grid.hvdc[0], world.hvdc
    assert (ours_hvdc.km, ours_hvdc.r_ohm_per_km, ours_hvdc.converter_prop_loss) == (
        theirs_hvdc.km,
        theirs_hvdc.r_ohm_per_km,
        theirs_hvdc.converter_prop_loss,
    )


def test_every_fault_of_every_file_is_reported_at_once(site: Path) -> None:
    (site / "greenbridge.toml").write_text(
        MAIN.replace('host = "127.0.0.1"', 'host = "127.0.0.1"\nprot = 5020')
    )
    found = problems(site)
    assert found == ['greenbridge.toml: modbus.gateway[0].prot = 5020: unknown key (did you mean "port"?)']
    (site / "greenbridge.toml").write_text(MAIN)
    (site / "grid.toml").write_text(GRID.replace('from = "SHY"', 'from = "SHX"'))
    (site / "devices.toml").write_text(
        DEVICE.replace("pm5xxx", "pm5xx")
        + DEVICE.replace("m1", "m2").replace('gateway = "SHY"', 'gateway = "TAS"')
    )
    found = problems(site)
    assert any(text.startswith("grid.toml: line[0].from") for text in found)
    assert any('device[0].profile = "pm5xx"' in text and 'did you mean "pm5xxx"?' in text for text in found)
    assert any('device[1].modbus.gateway = "TAS": no such gateway' in text for text in found)
    assert any("device[1].role" in text and 'used by device "m1"' in text for text in found)


def test_faults_of_all_three_files_come_together(site: Path) -> None:
    (site / "greenbridge.toml").write_text(MAIN.replace('name = "Two ends"', "nam = 1"))
    (site / "grid.toml").write_text(GRID.replace("circuits = 2", "circuits = 0"))
    (site / "devices.toml").write_text(DEVICE.replace("unit = 1", "unit = 900"))
    files = {text.partition(":")[0] for text in problems(site)}
    assert files == {"greenbridge.toml", "grid.toml", "devices.toml"}
    (site / "greenbridge.toml").write_text(MAIN)
    (site / "devices.toml").write_text(DEVICE.replace("pm5xxx", "pm5xx"))
    found = problems(site)
    assert any(text.startswith("grid.toml") for text in found)
    assert any("pm5xx" in text for text in found)


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (DEVICE + DEVICE, 'device[1].id = "m1": used by device "m1" too (devices.toml: device[0])'),
        (DEVICE.replace('branch = "SHY-TAS"\n', ""), "device[0].branch: missing"),
        (DEVICE.replace('"SHY-TAS"', '"SHY-TSA"'), 'device[0].branch = "SHY-TSA": no such line or HVDC link'),
        (DEVICE.replace('node = "SHY"', 'node = "SH"'), 'device[0].node = "SH": no such node'),
        (
            DEVICE.replace("modbus = { gateway", "mqtt = { broker").replace("unit = 1", 'topic = "a/b"'),
            'profile "pm5xxx" is for modbus',
        ),
        (DEVICE.replace("unit = 1", "unit = 300"), "device[0].modbus.unit = 300"),
        (DEVICE.replace('role = "main"', 'role = "mian"'), 'did you mean "main"?'),
    ],
)
def test_faults_of_devices_name_file_key_and_fix(site: Path, device: str, expected: str) -> None:
    (site / "devices.toml").write_text(device)
    found = problems(site)
    assert any(text.startswith("devices.toml: ") and expected in text for text in found), found


HOST = """
[[sparkplug.host]]
id = "main"
host_id = "scada"
host = "127.0.0.1"
client_id = "spb"
"""


@pytest.mark.parametrize(
    ("devices", "warnings"),
    [
        (DEVICE, []),
        (
            "",
            [
                "nothing is read: no device in devices.toml",
                "Modbus gateway SHY is used by no device that is enabled",
            ],
        ),
        (
            DEVICE + "enabled = false\n",
            [
                "nothing is read: every device is disabled",
                "Modbus gateway SHY is used by no device that is enabled",
            ],
        ),
    ],
)
def test_what_is_allowed_and_hardly_meant_is_a_warning(site: Path, devices: str, warnings: list[str]) -> None:
    (site / "devices.toml").write_text(devices)
    summary = summarise(load(str(site), {}))
    assert summary.warnings == summary.document()["warnings"] == warnings
    assert summary.text().count("  warning   ") == len(warnings)


EDGE = """
[[device]]
id = "t1"
profile = "spb-turbine"
node = "SHY"
role = "unit"
sparkplug = { host = "main", group = "corridor", edge = "site", device = "t1" }
"""


def test_a_sparkplug_host_and_its_devices_are_counted(site: Path) -> None:
    (site / "greenbridge.toml").write_text(MAIN + HOST)
    (site / "devices.toml").write_text(DEVICE + EDGE)
    summary = summarise(load(str(site)))
    assert (summary.devices, summary.links, summary.edge_nodes, summary.rules["R13"]) == (2, 2, 1, 2)
    assert "1 Sparkplug edge nodes" in summary.text()
    (site / "devices.toml").write_text(DEVICE)
    assert summarise(load(str(site))).links == 2, "a host without devices looks around"


@pytest.mark.parametrize(
    ("main", "devices", "expected"),
    [
        ("", EDGE, 'devices.toml: device[0].sparkplug.host = "main": no such host'),
        (
            HOST,
            EDGE + EDGE.replace('"t1"\nprofile', '"t2"\nprofile'),
            'device[1].sparkplug = "main: corridor/site/t1": used by',
        ),
        (HOST, EDGE.replace("spb-turbine", "pm5xxx"), 'profile "pm5xxx" is for modbus (give modbus'),
        (HOST, EDGE.replace("corridor", "cor/ridor"), "device[0].sparkplug.group"),
        (
            HOST + 'groups = ["north"]',
            EDGE,
            'sparkplug.group = "corridor": host "main" does not listen to this group',
        ),
        (
            HOST + "reorder_timeout_s = 3.0",
            EDGE,
            "sparkplug.host[0].reorder_timeout_s = 3: not below alerts.watermark_s, 3",
        ),
        (HOST + HOST, EDGE, 'sparkplug.host[1].id = "main": sparkplug.host[0] has the same'),
        (HOST + HOST, EDGE, 'sparkplug.host[1].client_id = "spb": sparkplug.host[0] has it too'),
        (HOST + HOST, EDGE, 'sparkplug.host[1].host_id = "scada": sparkplug.host[0] has it too'),
        (HOST.replace("host_id", "hostid"), EDGE, 'did you mean "host_id"?'),
        (
            HOST + '[[mqtt.broker]]\nid = "b"\nhost = "127.0.0.1"\nclient_id = "spb"\n',
            EDGE,
            'sparkplug.host[0].client_id = "spb": mqtt.broker[0] has it too: a broker ends the older',
        ),
    ],
)
def test_faults_of_sparkplug_are_told_before_anything_starts(
    site: Path, main: str, devices: str, expected: str
) -> None:
    (site / "greenbridge.toml").write_text(MAIN + main)
    (site / "devices.toml").write_text(devices)
    found = problems(site)
    assert any(expected in text for text in found), found


GATEWAY = "[[modbus"
MISTAKES = [
    ("greenbridge.toml", 'name = "Two ends"', "name = Two ends", "(texts stand in quotes"),
    ("greenbridge.toml", 'name = "Two ends"', 'name = "Two ends', "(close the quote in this line)"),
    ("greenbridge.toml", 'name = "Two ends"', "name = 2", '(write "2", in quotes)'),
    ("greenbridge.toml", 'id = "SHY"', 'id = "SHY"\nport = "502"', "(write 502, without quotes)"),
    ("greenbridge.toml", 'id = "SHY"', 'id = "S HY"', "(use letters, digits, - and _"),
    ("greenbridge.toml", "[[modbus.gateway]]", "[modbus.gateway]", "with two brackets: [[modbus.gateway]]"),
    (
        "greenbridge.toml",
        "[[modbus",
        'devices = "devices.toml"\n[[modbus',
        'list: ["devices.toml"])',
    ),
    ("greenbridge.toml", GATEWAY, 'devices = ["device.toml"]\n[[modbus', 'did you mean "devices.toml"?'),
    (
        "greenbridge.toml",
        "[[modbus",
        '[[alerts.webhook]]\nid = "a"\nurl = "b/c"\n[[modbus',
        "http://",
    ),
    (
        "greenbridge.toml",
        "[[modbus",
        '[influx]\nenabled = "yes"\n[[modbus',
        "(write true or false",
    ),
    ("devices.toml", "[[device]]", "[device]", "with two brackets: [[device]]"),
    ("devices.toml", "[[device]]", "[[devices]]", 'did you mean "device"?'),
    (
        "devices.toml",
        'modbus = { gateway = "SHY", unit = 1 }',
        "modbus = 1",
        "(write a table: {",
    ),
    ("devices.toml", "unit = 1", 'unit = "one"', "(write a whole number)"),
    ("grid.toml", "limit_mw = 600.0", 'limit_mw = "600"', "(write 600, without quotes)"),
    ("grid.toml", "[[node]]", "[node]", "each begins with two brackets"),
]


@pytest.mark.parametrize(("file", "right", "wrong", "fix"), MISTAKES, ids=[case[2] for case in MISTAKES])
def test_a_usual_mistake_is_told_with_its_file_and_fix(
    site: Path, file: str, right: str, wrong: str, fix: str
) -> None:
    text = (site / file).read_text()
    assert right in text
    (site / file).write_text(text.replace(right, wrong, 1))
    assert any(told.startswith(f"{file}: ") and fix in told for told in problems(site)), problems(site)


def test_a_file_of_an_editor_with_a_byte_order_mark_is_read_and_another_encoding_is_named(site: Path) -> None:
    (site / "devices.toml").write_text("\ufeff" + DEVICE, "utf-8")
    assert load(str(site), {}).devices[0].id == "m1"
    (site / "devices.toml").write_bytes(b"# caf\xe9\n")
    assert any("save it as UTF-8" in told for told in problems(site))


def test_a_profile_directory_of_the_site_adds_profiles_and_its_faults_are_named(site: Path) -> None:
    (site / "greenbridge.toml").write_text(MAIN.replace('name = "Two', 'profiles = ["own"]\nname = "Two'))
    assert any('profiles[0] = "own": holds no profile' in text for text in problems(site))
    (site / "own").mkdir()
    (site / "own" / "meter.toml").write_text('id = "own-meter"\n')
    assert any(text.startswith("own/meter.toml: ") for text in problems(site))


def test_files_that_are_not_there_are_named_with_the_key_that_names_them(site: Path) -> None:
    (site / "devices.toml").unlink()
    assert any(text.startswith("greenbridge.toml: devices[0]") for text in problems(site))
    assert any("no such file" in text for text in problems(site / "nothing.toml"))


def test_values_come_from_the_environment_where_the_file_says_so() -> None:
    configuration = load("corridor", {"GB_MODBUS_PORT_EKI": "16001", "GB_INFLUX_ENABLED": "true"})
    assert configuration.settings.modbus.gateway[0].port == 16001
    assert summarise(configuration).stores == ["embedded", "influx"]


@pytest.mark.parametrize("site_file", sorted(Path("examples").glob("*/greenbridge.toml")), ids=str)
def test_every_example_is_valid(site_file: Path) -> None:
    assert summarise(load(str(site_file), {})).devices > 0


def test_where_the_state_is_can_be_told_of_a_site_that_is_faulty_or_whose_variables_are_not_here(
    site: Path,
) -> None:
    main = site / "greenbridge.toml"
    main.write_text(MAIN.replace('"Two ends"', '"${NOT_HERE}"') + "unknown = 1\n")
    assert state_dir_of(str(site), {}) == "state"
    main.write_text(MAIN.replace('"state"', '"${GB_STATE:-here}"'))
    assert state_dir_of(str(main), {}) == "here"
    assert state_dir_of(str(main), {"GB_STATE": "there"}) == "there"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("state_dir = 'x", "not valid TOML"),
        ("name = 'no place'", "state_dir: missing"),
        ("state_dir = '${NOT_HERE}'", "NOT_HERE is not set"),
    ],
)
def test_where_the_state_is_cannot_be_told_without_a_reason(site: Path, text: str, told: str) -> None:
    (site / "greenbridge.toml").write_text(text)
    with pytest.raises(ConfigError, match=told):
        state_dir_of(str(site), {})
