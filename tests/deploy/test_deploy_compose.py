"""Everything that the compose file and the Dockerfile name is there and fits together."""

from __future__ import annotations

import copy
import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer.main
import yaml

from greenbridge.cli import app
from greenbridge.settings import load
from simulators.bench import load_file
from tests.deploy.json_schema import faults

ROOT = Path(__file__).parents[2]
SERVICES = ("setup", "mosquitto", "influxdb", "grafana", "simulators", "greenbridge")
IMAGE = re.compile(r"^[a-z0-9-]+(/[a-z0-9-]+)?:\d+\.\d+\.\d+$|^greenbridge:local$")
SECRET = re.compile(r"/run/secrets/([a-z_]+(?:\.pem)?)")

Compose = dict[str, Any]


def volumes(service: Compose) -> list[tuple[str, str, str]]:
    """Source, target and mode of the mounts of a service."""
    return [(*mount.split(":"), "rw")[:3] for mount in service.get("volumes", ())]


def own_commands(service: Compose) -> list[list[str]]:
    """Arguments of greenbridge commands that a service runs."""
    if "entrypoint" not in service:
        return [service["command"]]
    [script] = service["command"]
    words = shlex.split(script.replace("$$(", "").replace(")", " "))
    return [words[words.index("greenbridge") + 1 :]]


def test_the_services_are_the_promised_ones(compose: Compose) -> None:
    assert set(compose["services"]) == set(SERVICES)
    assert compose["services"]["influxdb"]["image"].startswith("influxdb:2.7.")


def test_every_service_is_hardened(compose: Compose) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert name == "setup" or service["healthcheck"]["test"][0] == "CMD", name
        assert "privileged" not in service, name
        assert IMAGE.match(service["image"]), (name, service["image"])
        uid = service.get("user", "0").partition(":")[0]
        assert "build" in service or int(uid) > 0, name
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), (name, port)


def test_every_path_is_there(compose: Compose) -> None:
    for name, service in compose["services"].items():
        for source, _, mode in volumes(service):
            if source.startswith("."):
                assert (ROOT / source).exists(), (name, source)
                assert mode == "ro", (name, source)
            else:
                assert source in compose["volumes"], (name, source)
        if "build" in service:
            assert (ROOT / service["build"] / "Dockerfile").is_file()
        for network in service.get("networks", ()):
            assert network in compose["networks"], (name, network)
    mounted = {source for service in compose["services"].values() for source, _, _ in volumes(service)}
    assert set(compose["volumes"]) <= mounted


def test_every_secret_is_made_for_who_uses_it_and_for_nobody_else(compose: Compose, secrets: Path) -> None:
    services = compose["services"]
    made = {folder.name: {path.name for path in folder.iterdir()} for folder in secrets.iterdir()}
    written = {target.removeprefix("/secrets/"): source for source, target, _ in volumes(services["setup"])}
    for name, service in services.items():
        mounted = {source: mode for source, target, mode in volumes(service) if target == "/run/secrets"}
        if name == "setup":
            continue
        assert mounted == {f"secrets-{name}": "ro"}
        assert written[name] == f"secrets-{name}"
        assert name == "grafana" or service["depends_on"].get("setup") or "mosquitto" in service["depends_on"]
        texts = [str(service)]
        texts += [
            path.read_text()
            for source, _, _ in volumes(service)
            if source.startswith(".")
            for path in ([ROOT / source] if (ROOT / source).is_file() else (ROOT / source).rglob("*.*"))
            if path.is_file() and path.suffix in {".conf", ".toml", ".yaml", ".sh"}
        ]
        assert {match for text in texts for match in SECRET.findall(text)} == made[name], name
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert all(f"/secrets/{name}" in dockerfile for name in made), (
        "a volume takes the owner of what it covers"
    )


def test_a_trial_needs_no_step_before_it(compose: Compose) -> None:
    """What setup makes is awaited by whoever reads it; everybody else waits for one of those."""
    services = compose["services"]
    assert services["setup"]["restart"] == "no"
    assert services["setup"]["network_mode"] == "none"

    def awaits(name: str) -> bool:
        conditions = services[name].get("depends_on", {})
        made = conditions.get("setup", {}).get("condition") == "service_completed_successfully"
        return made or any(
            condition["condition"] == "service_healthy" and awaits(other)
            for other, condition in conditions.items()
        )

    assert all(awaits(name) for name in services if name != "setup")
    assert not re.search(r"\$\{?[A-Z]", (ROOT / "docker-compose.yml").read_text().split("\nname:")[1])
    assert [name for name, service in services.items() if "profiles" in service] == ["simulators"]
    assert "simulators" not in services["greenbridge"]["depends_on"]


def test_the_file_is_valid_by_the_compose_specification(compose: Compose) -> None:
    schema = json.loads((Path(__file__).parent / "compose_spec" / "compose-spec.json").read_text())
    assert list(faults(compose, schema, schema)) == []
    broken = copy.deepcopy(compose)
    broken["services"]["grafana"]["memlimit"] = "1g"
    broken["services"]["influxdb"]["cap_drop"] = "ALL"
    assert len(list(faults(broken, schema, schema))) == 2


GRAFANA_SETTINGS = {
    "security": {"admin_user", "admin_password"},
    "auth_anonymous": {"enabled"},
    "users": {"allow_sign_up"},
    "analytics": {"reporting_enabled", "check_for_updates", "check_for_plugin_updates"},
    "plugins": {"preinstall_disabled"},
    "dashboards": {"default_home_dashboard_path"},
}
"""Of Grafana's documentation, "Configure Grafana": sections and keys; GF_SECTION_KEY, dots as underscores."""
INFLUXDB_SETTINGS = {
    "DOCKER_INFLUXDB_INIT_MODE", "DOCKER_INFLUXDB_INIT_USERNAME", "DOCKER_INFLUXDB_INIT_PASSWORD_FILE",
    "DOCKER_INFLUXDB_INIT_ADMIN_TOKEN_FILE", "DOCKER_INFLUXDB_INIT_ORG", "DOCKER_INFLUXDB_INIT_BUCKET",
    "INFLUXD_REPORTING_DISABLED",
}  # fmt: skip
"""Of the image's documentation, "Automated Setup", and InfluxDB 2.7's, "InfluxDB configuration options"."""


def test_settings_have_the_names_that_are_documented(compose: Compose) -> None:
    known = {f"GF_{section}_{key}".upper() for section, keys in GRAFANA_SETTINGS.items() for key in keys}
    grafana = {name.removesuffix("__FILE") for name in compose["services"]["grafana"]["environment"]}
    assert {name for name in grafana if name.startswith("GF_")} == known
    assert set(compose["services"]["influxdb"]["environment"]) == INFLUXDB_SETTINGS
    # of the variables that the image gives to its set-up scripts, under "Custom Initialization Scripts"
    script = (ROOT / "deploy/influxdb/10-influxql.sh").read_text()
    assert set(re.findall(r"\$(\w+)", script)) <= {
        "DOCKER_INFLUXDB_INIT_BUCKET", "DOCKER_INFLUXDB_INIT_BUCKET_ID", "DOCKER_INFLUXDB_INIT_ORG"
    }  # fmt: skip
    assert "influx v1 dbrp create" in script
    assert compose["services"]["grafana"]["environment"]["GF_AUTH_ANONYMOUS_ENABLED"] == "false"


def test_every_own_command_exists(compose: Compose) -> None:
    group: Any = typer.main.get_command(app)
    for name in ("greenbridge", "simulators"):
        for arguments in own_commands(compose["services"][name]):
            command, *rest = arguments
            assert command in group.commands, (name, command)
            assert group.commands[command].make_context(command, list(rest)) is not None


def test_every_port_is_one_that_something_listens_on(compose: Compose, secrets: Path) -> None:
    settings = load(str(ROOT / "deploy/greenbridge/greenbridge.toml"), {}).settings
    environment = compose["services"]["simulators"]["environment"]
    authority = str(secrets / "simulators" / Path(environment["GB_BROKER_CA_FILE"]).name)
    bench = load_file(None, environment | {"GB_BROKER_CA_FILE": authority})
    broker = (ROOT / "deploy/mosquitto/mosquitto.conf").read_text()
    listening = {
        "mosquitto": {int(port) for port in re.findall(r"^listener (\d+)", broker, re.MULTILINE)},
        "influxdb": {8086},
        "grafana": {3000},
        "simulators": {bench.control_port, *(gateway.port for gateway in bench.gateway)},
        "greenbridge": {settings.console.port},
    }
    asked = [(gateway.host or "", gateway.port) for gateway in settings.modbus.gateway]
    asked += [(one.host, one.port) for one in settings.mqtt.broker] + [(bench.broker.host, bench.broker.port)]
    urls = [settings.simulators_url, compose["services"]["grafana"]["environment"]["GREENBRIDGE_INFLUX_URL"]]
    assert settings.influx is not None
    for url in [*urls, settings.influx.url]:
        parts = urlsplit(url)
        asked.append((parts.hostname or "", parts.port or 80))
    for host, port in asked:
        assert port in listening[host], (host, port)
    for name, service in compose["services"].items():
        for port in service.get("ports", ()):
            assert int(port.rpartition(":")[2]) in listening[name], (name, port)
        probe = " ".join(service.get("healthcheck", {}).get("test", ()))
        for port in re.findall(r"127\.0\.0\.1[: ](\d+)", probe):
            assert int(port) in listening[name], (name, port)


def test_who_talks_to_each_other_shares_a_network(compose: Compose) -> None:
    networks = {name: set(service.get("networks", ())) for name, service in compose["services"].items()}
    for one, other in (
        ("greenbridge", "simulators"),
        ("greenbridge", "mosquitto"),
        ("simulators", "mosquitto"),
        ("greenbridge", "influxdb"),
        ("grafana", "influxdb"),
    ):
        assert networks[one] & networks[other]
    for name, service in compose["services"].items():
        if service.get("ports"):  # a port of a container in internal networks only is not published
            assert any(not (compose["networks"][network] or {}).get("internal") for network in networks[name])


def test_influxdb_and_its_users_agree(compose: Compose) -> None:
    settings = load(str(ROOT / "deploy/greenbridge/greenbridge.toml"), {}).settings.influx
    database = compose["services"]["influxdb"]["environment"]
    grafana = compose["services"]["grafana"]["environment"]
    assert settings is not None
    assert settings.enabled
    assert database["DOCKER_INFLUXDB_INIT_ORG"] == settings.org
    assert database["DOCKER_INFLUXDB_INIT_BUCKET"] == settings.bucket == grafana["GREENBRIDGE_INFLUX_BUCKET"]
    assert str(settings.token_file) == database["DOCKER_INFLUXDB_INIT_ADMIN_TOKEN_FILE"]


def test_every_variable_of_provisioning_is_set(compose: Compose) -> None:
    environment = compose["services"]["grafana"]["environment"]
    for path in (ROOT / "grafana/provisioning").rglob("*.yaml"):
        text = re.sub(r"#.*", "", path.read_text())
        for name in re.findall(r"\$([A-Z][A-Z_]+)", text):
            assert name in environment, (path, name)
    targets = {target for _, target, _ in volumes(compose["services"]["grafana"])}
    provider = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/greenbridge.yaml").read_text())
    assert provider["providers"][0]["options"]["path"] in targets
    home = Path(environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) in targets
    assert (ROOT / "grafana/generated" / home.name).is_file()


def test_every_variable_of_the_simulators_is_one_that_the_bench_reads(compose: Compose) -> None:
    bench = (ROOT / "simulators/bench.toml").read_text()
    for name in compose["services"]["simulators"]["environment"]:
        assert f"${{{name}:-" in bench, name


def test_the_image_copies_what_is_there_and_nothing_else() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == sent
    assert all((ROOT / source).exists() for source in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages <= copied


def test_the_image_is_pinned_and_runs_as_nobody_special() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^ARG PYTHON=\d+\.\d+\.\d+-slim-\w+$", dockerfile, re.MULTILINE)
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) == {"python:${PYTHON}"}
    assert "--require-hashes" in dockerfile
    [user] = re.findall(r"^USER (\d+)", dockerfile, re.MULTILINE)
    assert int(user) > 1000
    assert dockerfile.rindex("USER") > dockerfile.rindex("FROM")
    assert "://" not in dockerfile


def test_the_site_is_that_of_the_demonstration() -> None:
    deployed, demonstrated = load(str(ROOT / "deploy/greenbridge/greenbridge.toml"), {}), load("corridor", {})
    assert deployed.devices == demonstrated.devices
    assert deployed.grid == demonstrated.grid
    assert [(gateway.id, gateway.port) for gateway in deployed.settings.modbus.gateway] == [
        (gateway.id, gateway.port) for gateway in demonstrated.settings.modbus.gateway
    ]


def test_greenbridge_accepts_the_configuration_as_the_container_mounts_it(compose: Compose) -> None:
    service = compose["services"]["greenbridge"]
    places = {target: ROOT / source for source, target, _ in volumes(service) if source.startswith(".")}

    def on_this_machine(path: str) -> str:
        [target] = [target for target in places if path.startswith(f"{target}/")]
        return str(places[target] / path.removeprefix(f"{target}/"))

    environment = {name: on_this_machine(value) for name, value in service["environment"].items()}
    _, config = service["command"]
    assert load(on_this_machine(config), environment).settings.name
