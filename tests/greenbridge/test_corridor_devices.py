"""The corridor as it is configured against the bench as it is simulated: written apart, they must agree."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache

import pytest

from adapters.modbus.plan import DevicePlan, plan_device
from adapters.modbus.sunspec.chain import Chain, survey
from adapters.modbus.sunspec.mapping import plan_sunspec
from greenbridge.settings import Configuration, load
from simulators.bench import load_file
from simulators.devices.generation import Generation
from simulators.devices.identification import Refusal
from simulators.devices.modbus import Unit
from simulators.state import BenchState
from telemetry.devices import Device, Role
from telemetry.profiles import RegisterTable
from telemetry.registry import PointRegistry
from telemetry.site import Site

START = 1_790_064_000 * 1_000_000_000
"""22 September 2026, 08:00 UTC: midday in Central Asia."""
STEPS = 30
FUNCTIONS = {RegisterTable.HOLDING: 3, RegisterTable.INPUT: 4}


@cache
def configured() -> tuple[Configuration, Site]:
    configuration = load("corridor", {})
    return configuration, configuration.site(PointRegistry(configuration.keys()))


@cache
def bench() -> BenchState:
    state = BenchState(load_file(None, {}), START)
    for second in range(1, STEPS + 1):
        state.step(float(second), START + second * 1_000_000_000)
    return state


def words(unit: Unit, function: int, address: int, count: int) -> bytes | None:
    answer = unit.read(function, address, count)
    return None if isinstance(answer, Refusal) else struct.pack(f">{count}H", *answer)


def discovered(unit: Unit) -> Chain:
    walk = survey()
    try:
        wanted = next(walk)
        while True:
            wanted = walk.send(words(unit, 3, *wanted))
    except StopIteration as done:
        found: Chain = done.value
        return found


def planned(device: Device, unit: Unit, site: Site) -> DevicePlan:
    points = site.points_of(device.id)
    if points[0].profile.sunspec is None:
        return plan_device(device, points)
    return plan_sunspec(device, points, discovered(unit))


def read(device: Device) -> dict[str, tuple[float, int]]:
    """Value and quality of every point of a device, through the adapter's own planner and decoder."""
    assert device.modbus is not None
    unit = bench().lines[device.modbus.gateway][device.modbus.unit]
    plan = planned(device, unit, configured()[1])
    assert not plan.absent, device.id
    found: dict[str, tuple[float, int]] = {}
    for request in plan.reads:
        data = words(unit, FUNCTIONS[request.table], request.address, request.count)
        assert data is not None, f"{device.id} refuses {request.address}:{request.count}"
        values, quality = request.decoder.decode(data)
        found |= dict(zip(request.names, zip(values.tolist(), quality.tolist(), strict=True), strict=True))
    return found


def inside() -> list[Device]:
    return [d for d in configured()[0].devices if d.role is Role.UNIT and d.modbus is not None]


def test_every_device_of_the_bench_is_configured_at_its_address_and_no_other() -> None:
    simulated: dict[str, tuple[object, ...]] = {}
    for served in load_file(None, {}).served():
        device = served.device
        simulated[device.id] = (device.node, device.branch, device.gateway, device.unit, device.topic)
    ours: dict[str, tuple[object, ...]] = {}
    for mine in configured()[0].devices:
        if mine.sparkplug is not None:
            continue
        modbus = (mine.modbus.gateway, mine.modbus.unit) if mine.modbus is not None else (None, None)
        topic = mine.mqtt.topic if mine.mqtt is not None else None
        ours[mine.id] = (mine.node, mine.branch, *modbus, topic)
    assert len(ours) == 176
    assert ours == simulated


def test_every_gateway_of_the_bench_is_configured_at_its_port_and_follows_the_environment() -> None:
    ports = {gateway.id: gateway.port for gateway in load_file(None, {}).gateway}
    assert {gateway.id: gateway.port for gateway in configured()[0].settings.modbus.gateway} == ports
    moved = {
        f"GB_MODBUS_PORT_{name.upper().replace('-', '_')}": str(port + 200) for name, port in ports.items()
    }
    settings = load("corridor", moved).settings
    assert {gateway.id: gateway.port for gateway in settings.modbus.gateway} == {
        name: port + 200 for name, port in ports.items()
    }


@pytest.mark.parametrize("device", inside(), ids=lambda device: device.id)
def test_every_point_inside_a_plant_is_good_and_tells_the_truth(device: Device) -> None:
    found = read(device)
    names = {point.key.name for point in configured()[1].points_of(device.id)}
    assert found.keys() == names
    assert {name for name, (_, quality) in found.items() if quality} == set()
    for name, expected, tolerance in truths(bench().look(device.id), device.profile):
        if name in found:
            assert found[name][0] == pytest.approx(expected, abs=tolerance, rel=1e-5), name


def truths(seen: Generation, profile: str) -> Iterator[tuple[str, float, float]]:
    """What points must show, from the state of the world: name, value, resolution."""
    kilowatt, narrow_mwh = 1e-3, (1 << 32) * 1e-6
    yield "W", seen.p_mw, kilowatt
    yield "VAr", seen.q_mvar, kilowatt
    yield "AvlW", seen.available_mw, kilowatt
    yield "WRtg", seen.rated_mw, kilowatt
    # model 103 counts watt-hours in 32 bits, and starts again when they are full
    energy = seen.energy_wh * 1e-6
    yield "TotWh", energy % narrow_mwh if profile == "sunspec-inverter" else energy, 1e-3
    yield "OnlCnt", seen.online, 0
    yield "TurCnt", seen.units, 0
    yield "SetTurOp", seen.online, 0
    yield "HorWdSpd", seen.wind_m_s, 0.005
    yield "WdSpd", seen.wind_m_s, 0.005
    yield "HorWdDir", seen.wind_dir_deg, 0.5
    yield "WdDir", seen.wind_dir_deg, 0.5
    yield "EnvTmp", seen.air_c, 0.05
    yield "PPV", 0.66 * seen.v_pu, 1e-4
    yield "Hz", seen.f_hz, 0.005
    yield "DCW", max(0.0, seen.p_mw) / 0.985, 2 * kilowatt
    yield "DCW1", max(0.0, seen.p_mw) / 0.985 / 2, kilowatt
    yield "DCW2", max(0.0, seen.p_mw) / 0.985 / 2, kilowatt


def test_states_of_turbines_and_inverters_have_a_name_and_something_runs() -> None:
    running = 0
    for device in inside():
        found = read(device)
        for name in ("TurSt", "St", "InvSt"):
            if name in found:
                spec = configured()[0].profiles[device.profile].points[name]
                state = spec.states[f"{found[name][0]:.0f}"]
                running += state in {"running", "MPPT", "curtailed", "throttled"}
    assert running > 20


def test_a_device_with_its_words_the_other_way_round_would_not_be_believed() -> None:
    """The order of words is the device's own: read as its profile says, khizi's turbines give nonsense."""
    device = next(d for d in inside() if d.id == "khizi-wind-turbine-1")
    assert device.modbus is not None
    assert device.modbus.word_order is not None
    wrong = device.model_copy(update={"modbus": device.modbus.model_copy(update={"word_order": None})})
    right, misread = read(device), read(wrong)
    assert right["WRtg"][1] == 0
    assert misread["WRtg"][0] != right["WRtg"][0]
    assert misread["TotWh"][1] != 0
