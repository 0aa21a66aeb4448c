"""SunSpec devices as an independent client sees them: pysunspec2 with its own copy of the models."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass
from importlib import resources
from typing import Any

import pytest
import sunspec2.mdef  # type: ignore[import-untyped]
import sunspec2.modbus.client as independent  # type: ignore[import-untyped]

from simulators.bench import Bench, SimulatedDevice, load
from simulators.devices.generation import Condition, Generation
from simulators.devices.modbus import Gateway, Line, Transport, Unit
from simulators.devices.registers import Held, WordOrder
from simulators.devices.sunspec import inverter
from simulators.devices.sunspec.chain import Content, chain, exponent_for
from simulators.devices.sunspec.tables import models
from simulators.kinds import Kind
from simulators.state import BenchState
from simulators.world.clocks import Discipline, clock_of

START_NS = 1_795_500_000_000_000_000

EXTRAS = """
seed = 7
control_port = 0
[[gateway]]
id = "G"
port = 0
[[device]]
id = "meter"
kind = "sunspec-meter"
node = "SHY"
branch = "SHY-TAS"
gateway = "G"
unit = 1
wh_exponent = 3
[[device]]
id = "float-meter"
kind = "sunspec-meter"
node = "SHY"
branch = "SHY-TAS"
gateway = "G"
unit = 2
models = [213]
base = 0
[[device]]
id = "single-phase"
kind = "sunspec-inverter"
node = "NUR"
plant = "saran-solar"
gateway = "G"
unit = 3
models = [101, 121]
base = 50000
[[device]]
id = "split-phase"
kind = "sunspec-inverter"
node = "NUR"
plant = "saran-solar"
gateway = "G"
unit = 4
models = [102]
[[device]]
id = "mast"
kind = "sunspec-met"
node = "SHU"
plant = "mirny-wind"
gateway = "G"
unit = 5
"""


@dataclass
class Seen:
    """What the client found in a device: the models in order, and every value by the name of its point."""

    models: list[int]
    values: dict[str, float | int | str | None]
    scales: dict[str, int]


def explore(port: int, unit: int) -> Seen:
    device = independent.SunSpecModbusClientDeviceTCP(
        slave_id=unit, ipaddr="127.0.0.1", ipport=port, timeout=2
    )
    device.scan()
    seen = Seen([], {}, {})
    try:
        for model in device.model_list:
            model.read()
            assert model.error_info is None or model.error_info == "", model.error_info
            seen.models.append(model.model_id)
            _collect(seen, model, str(model.model_id), "")
            for group in model.groups.values():
                for k, repeat in enumerate(group if isinstance(group, list) else [group]):
                    _collect(seen, repeat, str(model.model_id), f"[{k + 1}]")
    finally:
        device.close()
    return seen


def _collect(seen: Seen, group: Any, model: str, turn: str) -> None:
    for name, point in group.points.items():
        key = f"{model}.{name}{turn}"
        seen.values[key] = point.cvalue
        if point.sf_value is not None:
            seen.scales[key] = point.sf_value


async def explored(state: BenchState, gateway: str) -> dict[int, Seen]:
    async with Gateway(gateway, Line(Transport.TCP), state.lines[gateway]) as server:
        return {unit: await asyncio.to_thread(explore, server.port, unit) for unit in state.lines[gateway]}


def usual(device: SimulatedDevice) -> list[int]:
    return [1, *(device.models or device.kind.traits.usual_models)]


def same(held: Held, seen: float | int | str | None) -> bool:
    if held.value is None or (isinstance(held.value, float) and math.isnan(held.value)):
        # pysunspec2 knows no "not implemented" for padding
        return seen is None or held.name.endswith("Pad")
    if isinstance(held.value, str):
        return (seen or "") == held.value
    # the accumulators' zero reads as "not implemented"
    return (seen is None and held.value == 0) or seen == pytest.approx(held.value, rel=1e-9)


def agree(unit: Unit, seen: Seen) -> None:
    """Every register shows the client what the control interface says that it holds."""
    for held in unit.registers():
        if held.name not in {"SunS", "end.ID", "end.L"}:
            assert same(held, seen.values[held.name]), (held, seen.values[held.name])


async def test_every_sunspec_device_of_the_shipped_bench_is_discovered_and_tells_the_truth(
    bench: Bench,
) -> None:
    state = BenchState(bench, START_NS)
    state.step(1.0, START_NS + 10**9)
    sunspec = [d for d in state.devices if d.kind in {Kind.SUNSPEC_INVERTER, Kind.SUNSPEC_MET}]
    assert len(sunspec) == 32
    found = {g: await explored(state, g) for g in sorted({d.gateway or "" for d in sunspec})}
    for device in sunspec:
        seen = found[device.gateway or ""][device.unit or 0]
        assert seen.models == usual(device), device.id
        assert seen.values["1.SN"] == device.id
        agree(state.units[device.id], seen)
        plants, i = state.world.snapshot.plants, state.world.fleet.index[device.plant or ""]
        if device.kind is Kind.SUNSPEC_MET:
            assert seen.values["307.TmpAmb"] == pytest.approx(plants.air_c[i], abs=0.05)
            continue
        unit = state.look(device.id)
        model = "103" if 103 in seen.models else "701"
        watt, volt = seen.values[f"{model}.W"], seen.values["103.PPVphAB" if model == "103" else "701.LLV"]
        assert watt == pytest.approx(unit.p_mw * 1e6, abs=0.5 * 10 ** seen.scales[f"{model}.W"] + 1e-6)
        assert volt == pytest.approx(660 * unit.v_pu, abs=0.051)
        assert seen.values[f"{model}.Hz"] == pytest.approx(unit.f_hz, abs=0.0051)
        if model == "103":
            assert seen.values["103.WH"] == unit.energy_wh % 2**32
            assert seen.values["122.ActWh"] == unit.energy_wh
            assert sum(seen.values[f"160.DCW[{k}]"] for k in (1, 2)) == pytest.approx(  # type: ignore[misc]
                seen.values["103.DCW"], abs=100
            )
            own_ns = clock_of(device.id, Discipline.RTC).at(START_NS + 10**9)
            assert seen.values["122.Tms"] == own_ns // 10**9 - 946_684_800
        else:
            assert seen.values["701.TotWhInj"] == unit.energy_wh
            assert seen.values["714.DCW"] == pytest.approx(unit.p_mw * 1e6 / 0.985, abs=50)


async def test_meters_and_other_inverters_are_discovered_at_every_base() -> None:
    state = BenchState(load(EXTRAS, "b.toml", {}), START_NS)
    state.step(1.0, START_NS)
    seen = await explored(state, "G")
    for device in state.devices:
        assert seen[device.unit or 0].models == usual(device), device.id
        agree(state.units[device.id], seen[device.unit or 0])
    for device, reading in zip(state.metered, state.readings, strict=True):
        values, model = seen[device.unit or 0].values, "203" if device.id == "meter" else "213"
        watt = 50_000 if model == "203" else 100
        assert values[f"{model}.W"] == pytest.approx(reading.p_mw * 1e6, abs=watt + 1)
        assert values[f"{model}.VAR"] == pytest.approx(reading.q_mvar * 1e6, abs=watt + 1)
        assert values[f"{model}.PPV"] == pytest.approx(reading.v_kv * 1e3, abs=51)
        wh = 1000 if model == "203" else reading.export_wh * 1e-7
        assert values[f"{model}.TotWhExp"] == pytest.approx(reading.export_wh, abs=wh)
        assert values[f"{model}.TotWhImp"] == pytest.approx(reading.import_wh, abs=wh)
    assert seen[3].values["101.AphB"] is None
    assert seen[4].values["102.PPVphBC"] is None
    wind = state.world.snapshot.plants.wind_m_s[state.world.fleet.index["mirny-wind"]]
    assert seen[5].values["307.WndSpd"] == round(float(wind))


@pytest.mark.parametrize("number", sorted(models()))
def test_tables_are_those_of_the_standard(number: int) -> None:
    """Names, types, sizes and scale factors, against the definitions that pysunspec2 brings along."""
    definition = independent.device.get_model_def(number)[sunspec2.mdef.GROUP]
    ours = models()[number]
    groups = definition.get(sunspec2.mdef.GROUPS, [])
    for points, group in ((ours.fixed, definition), (ours.repeating, groups[0] if groups else {})):
        theirs = [
            (p["name"], p["type"], p["size"], str(p.get("sf", "")))
            for p in group.get("points", [])
            if group is not definition or p["name"] not in {"ID", "L"}
        ]
        assert [(p.name, p.type, p.words, p.scale) for p in points] == theirs


def test_what_a_device_cannot_be_is_refused() -> None:
    with pytest.raises(KeyError, match="model 103 has no point Watt"):
        chain("x", 40000, {103: Content[float]({"Watt": 1})})
    with pytest.raises(KeyError, match="W_SF"):
        chain("x", 40000, {103: Content[float]({"W": 1})})
    plate = inverter.Nameplate(2.5e6, 660.0, 3)
    with pytest.raises(KeyError):
        inverter.contents(plate, [203], 0)


@pytest.mark.parametrize(("limit", "exponent"), [(32767, 0), (32768, 1), (3.2767, -4), (6e8, 5), (500e6, 5)])
def test_a_scale_factor_is_the_smallest_that_fits(limit: float, exponent: int) -> None:
    assert exponent_for(limit) == exponent


def test_a_value_too_large_reads_as_not_implemented_and_a_counter_rolls_over() -> None:
    layout = chain(
        "x",
        0,
        {103: Content[float]({"W": lambda w: w, "WH": lambda w: int(w) * 1000}, {"W_SF": 1, "WH_SF": 0})},
    )
    held = {h.name: h for h in layout.held(layout.encode(5_000_000.0), WordOrder.ABCD, 0)}
    assert held["103.W"].words == (0x8000,)
    assert held["103.WH"].value == 5_000_000_000 - 2**32


@pytest.mark.parametrize(("limit_mw", "share", "enabled"), [(100.0, 100, 0), (40.0, 40, 1), (0.0, 0, 1)])
def test_the_controls_tell_how_far_the_plant_is_held_back(
    limit_mw: float, share: float, enabled: int
) -> None:
    nan = math.nan
    unit = Generation(
        0, 2.5, 1, 0, 1, limit_mw, 100.0, 5, 1, 50, 1, 1, nan, nan, 800, 20, 45, Condition.RUNNING
    )
    layout = chain("x", 0, inverter.contents(inverter.Nameplate(2.5e6, 660.0, 3), (123,), 0))
    held = {h.name: h for h in layout.held(layout.encode(unit), WordOrder.ABCD, 0)}
    assert held["123.WMaxLimPct"].value == share
    assert held["123.WMaxLim_Ena"].value == enabled


STATES = {
    Condition.OFF: ("OFF", "OFF"),
    Condition.MAINTENANCE: ("OFF", "OFF"),
    Condition.WAITING: ("SLEEPING", "SLEEPING"),
    Condition.STARTING: ("STARTING", "STARTING"),
    Condition.RUNNING: ("MPPT", "RUNNING"),
    Condition.THROTTLED: ("THROTTLED", "THROTTLED"),
    Condition.FAULT: ("FAULT", "FAULT"),
    Condition.NO_GRID: ("STANDBY", "STANDBY"),
}
"""What 103 and 701 call each condition of an inverter."""


@pytest.mark.parametrize(("model", "point"), [(103, "St"), (701, "InvSt")])
def test_states_have_the_codes_of_the_independent_model(model: int, point: str) -> None:
    folder = resources.files("sunspec2").joinpath("models", "json", f"model_{model}.json")
    points = json.loads(folder.read_text("utf-8"))["group"]["points"]
    symbols = next(p["symbols"] for p in points if p["name"] == point)
    codes = {symbol["name"]: symbol["value"] for symbol in symbols}
    plate = inverter.Nameplate(2.5e6, 660.0, 3)
    state = inverter.contents(plate, (model,), 0)[model].values[point]
    assert callable(state)
    nan = math.nan
    for condition, names in STATES.items():
        unit = Generation(0, 2.5, 1, 0, 1, 2.5, 2.5, 5, 1, 50, 1, 1, nan, nan, 800, 20, 45, condition)
        assert state(unit) == codes[names[model == 701]], condition
