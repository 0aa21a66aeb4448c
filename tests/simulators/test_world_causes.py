"""Everything that can be done to the world: it shows in the next step, and its inverse takes it back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from simulators.world.schedules import REFERENCE_CONTRACTS, Schedules
from simulators.world.units import UnitState
from simulators.world.world import World

MakeWorld = Callable[..., World]
MINUTE_NS = 60 * 10**9


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    made = make_world()
    made.step()
    return made


def injection(world: World, node: str) -> float:
    return float(world.snapshot.node_p_mw[world.nodes.index(node)])


def ends_sum(world: World, node: str) -> float:
    at = [i for i, (_, name) in enumerate(world.ends) if name == node]
    return float(world.snapshot.end_p_mw[at].sum())


def run(world: World, seconds: int) -> None:
    for _ in range(seconds):
        world.step()


def test_theft_leaves_the_bus_and_not_its_meter(world: World) -> None:
    before, passing = injection(world, "TAS"), ends_sum(world, "TAS")
    assert passing == pytest.approx(before)
    world.set_theft("TAS", 40.0)
    world.step()
    assert injection(world, "TAS") == pytest.approx(before, abs=4)
    assert injection(world, "TAS") - ends_sum(world, "TAS") == pytest.approx(40.0)
    world.set_theft("TAS", 0.0)
    world.step()
    assert injection(world, "TAS") == pytest.approx(ends_sum(world, "TAS"))


def test_tap_shows_on_its_own_circuit(world: World) -> None:
    world.set_tap("SHY-TAS", 30.0)
    now = world.step()
    loss = [
        now.circuit_p_mw[world.circuit_end("SHY-TAS", "SHY", circuit)]
        + now.circuit_p_mw[world.circuit_end("SHY-TAS", "TAS", circuit)]
        for circuit in (1, 2)
    ]
    assert loss[0] == pytest.approx(30.6, abs=0.5)
    assert loss[1] == pytest.approx(0.6, abs=0.3)


def test_plant_trip_is_felt_at_the_border_until_control_has_it(world: World) -> None:
    i = world.fleet.index["mirny-wind"]
    lost = float(world.snapshot.plants.p_mw[i])
    assert lost > 100
    world.trip_plant("mirny-wind")
    now = world.step()
    assert now.plants.p_mw[i] == now.plants.online[i] == 0
    assert now.slack_mw[0] == pytest.approx(lost, rel=0.15)
    states = now.plants.unit_state[world.fleet.unit_plant == i]
    assert set(states) == {UnitState.OFF}
    run(world, 200)
    assert abs(world.snapshot.slack_mw[0]) < 80
    world.restore_plant("mirny-wind")
    run(world, 60)
    assert world.snapshot.plants.p_mw[i] == pytest.approx(world.snapshot.plants.available_mw[i], rel=0.02)


def test_conventional_plant_trips_and_is_regulated_again(world: World) -> None:
    i = world.fleet.index["tashkent-thermal"]
    world.trip_plant("tashkent-thermal")
    run(world, 30)
    assert world.snapshot.plants.p_mw[i] == 0
    assert world.snapshot.slack_mw[0] > 300
    world.restore_plant("tashkent-thermal")
    run(world, 600)
    assert world.snapshot.plants.p_mw[i] > 500
    assert abs(world.snapshot.slack_mw[0]) < 20


def test_curtailment_holds_and_is_lifted(world: World) -> None:
    i = world.fleet.index["zarafshan-wind"]
    available = float(world.snapshot.plants.available_mw[i])
    world.set_curtailment("zarafshan-wind", 0.3 * available)
    run(world, 30)
    assert world.snapshot.plants.p_mw[i] == pytest.approx(0.3 * available, rel=1e-6)
    assert world.snapshot.plants.available_mw[i] == pytest.approx(available, rel=0.1)
    codes = world.snapshot.plants.unit_state[world.fleet.unit_plant == i]
    assert UnitState.CURTAILED in codes
    world.set_curtailment("zarafshan-wind", None)
    run(world, 30)
    assert world.snapshot.plants.p_mw[i] > 0.9 * available


def test_hvdc_order_ramps_and_a_lost_pole_runs_back_at_once(world: World) -> None:
    def sent() -> float:
        return float(world.snapshot.end_p_mw[world.end("AKT-ALT", "AKT")])

    world.set_hvdc_order(600.0)
    world.step()
    assert sent() == 780
    run(world, 20)
    assert sent() == 600
    world.set_hvdc_order(None)
    run(world, 20)
    world.set_hvdc_poles(1)
    now = world.step()
    assert sent() == 500
    assert now.end_p_mw[world.end("AKT-ALT", "ALT")] == pytest.approx(
        -world.plan.corridor.hvdc.received_mw(500, 1)
    )
    assert now.circuit_p_mw[world.circuit_end("AKT-ALT", "AKT", 1)] == 500
    assert now.circuit_p_mw[world.circuit_end("AKT-ALT", "AKT", 2)] == 0
    world.set_hvdc_poles(0)
    world.step()
    assert sent() == 0
    world.set_hvdc_poles(2)
    run(world, 45)
    assert sent() == 800


def test_the_link_delivers_nothing_of_a_schedule_that_is_turned_round(world: World) -> None:
    world.set_schedule("AKT-ALT", [(world.t_ns - 600 * 10**9, -500.0)])
    run(world, 60)
    ends = [world.end("AKT-ALT", node) for node in ("AKT", "ALT")]
    assert [float(world.snapshot.end_p_mw[end]) for end in ends] == [0, 0], "power out of nothing"


def test_one_pole_loses_more_in_its_cables_than_two(world: World) -> None:
    link = world.plan.corridor.hvdc
    lost = [500 - link.received_mw(500, poles) for poles in (1, 2)]
    assert lost[0] > lost[1] + 1
    assert link.received_mw(0.5) == 0


@pytest.mark.parametrize(("weather", "kw_per_km"), [("dry_snow", 9.0), ("rain", 30.0), ("hoarfrost", 79.0)])
def test_weather_raises_the_loss_of_its_line(world: World, weather: str, kw_per_km: float) -> None:
    def loss() -> float:
        now = world.step()
        return float(now.end_p_mw[world.end("KUN-AKT", "KUN")] + now.end_p_mw[world.end("KUN-AKT", "AKT")])

    fair = loss()
    world.set_weather("KUN-AKT", weather)
    corona_mw = (kw_per_km - 2.4) * 720 * 2 / 1e3
    assert loss() - fair == pytest.approx(corona_mw, rel=0.08, abs=0.4)
    world.set_weather("all", "fair")
    assert loss() == pytest.approx(fair, abs=0.4)


def test_cloud_front_darkens_its_area_and_moves_on(make_world: MakeWorld) -> None:
    world = make_world(start_ns=1_782_026_000_000_000_000)  # a summer morning, 07:13 UTC
    solar = [world.fleet.index[name] for name in ("garadagh-solar", "bilasuvar-solar", "neftchala-solar")]
    other = world.fleet.index["saran-solar"]
    run(world, 30)
    before = world.snapshot.plants.p_mw
    world.cloud_front("AZ", 600)
    run(world, 300)
    under = world.snapshot.plants.p_mw
    assert under[solar].sum() < 0.5 * before[solar].sum()
    assert under[other] > 0.8 * before[other]
    run(world, 900)
    assert world.snapshot.plants.p_mw[solar].sum() > 0.8 * before[solar].sum()


def test_storm_cuts_turbines_out_and_calms_down(world: World) -> None:
    i = world.fleet.index["khizi-wind"]
    world.storm("ABS", 30.0, 600)
    run(world, 600)
    assert world.snapshot.plants.wind_m_s[i] > 29
    assert world.snapshot.plants.p_mw[i] == 0
    codes = world.snapshot.plants.unit_state[world.fleet.unit_plant == i]
    assert UnitState.STORM in codes
    run(world, 1500)
    codes = world.snapshot.plants.unit_state[world.fleet.unit_plant == i]
    assert UnitState.STORM not in codes


def test_frequency_dips_and_recovers(world: World) -> None:
    def hertz() -> float:
        return float(world.snapshot.node_f_hz.mean())

    world.frequency_event("IPS/UPS", 2000.0)
    run(world, 10)
    nadir = hertz()
    assert nadir < 49.9
    assert world.snapshot.slack_mw[0] < -80, "governors help the neighbour"
    run(world, 60)
    assert nadir + 0.01 < hertz() < 49.92
    run(world, 3000)
    assert abs(hertz() - 50) < 0.03
    world.frequency_event("IPS/UPS", 0.0)
    run(world, 10)
    assert hertz() > 50.1


def test_load_scale_is_an_off_take_over_schedule(world: World) -> None:
    before = injection(world, "TAS")
    load = float(world.snapshot.node_load_mw[world.nodes.index("TAS")])
    world.set_load_scale("TAS", 1.2)
    world.step()
    assert before - injection(world, "TAS") == pytest.approx(0.2 * load, rel=0.05)
    assert world.snapshot.node_load_mw[world.nodes.index("TAS")] == pytest.approx(1.2 * load, rel=0.01)
    world.set_load_scale("UZ", 1.0)
    world.step()
    assert injection(world, "TAS") > before - 10


def test_without_generation_control_nobody_follows_what_an_area_lacks(world: World) -> None:
    uz = next(r for r in world.plan.regulations if r.area == "UZ")
    plant = world.fleet.index[uz.plant]
    world.set_control("UZ", on=False)
    held = float(world.fleet.setpoint_mw[plant])
    run(world, 60)
    before = world.export_mw(uz)
    world.set_load_scale("UZ", 1.05)
    run(world, 600)
    lacking = before - world.export_mw(uz)
    assert lacking > 100
    assert float(world.fleet.setpoint_mw[plant]) == held
    world.set_control("UZ", on=True)
    run(world, 600)
    assert abs(world.export_mw(uz) - before) < 0.3 * lacking


def test_schedules_ramp_over_ten_minutes_and_contracts_reach_their_ties() -> None:
    schedules = Schedules(REFERENCE_CONTRACTS)
    hour = 60 * MINUTE_NS
    assert schedules.tie_mw("AKT-ALT", 0) == 800
    assert schedules.tie_mw("SHY-TAS", 0) == pytest.approx(323)
    assert schedules.tie_mw("KUN-AKT", 0) == pytest.approx(789)
    schedules.set("UZ-AZ-wheel", [(hour, 300.0)])
    seen = [schedules.tie_mw("AKT-ALT", hour + k * MINUTE_NS) for k in (-6, -5, -3, 0, 4, 5, 6)]
    assert seen == pytest.approx([800, 800, 760, 700, 620, 600, 600])
    uz = sum(schedules.tie_mw(tie, 2 * hour) for tie in ("SHY-TAS", "KUN-AKT"))
    assert uz == pytest.approx(1112 - 200 / 0.97)
    schedules.set("AKT-ALT", [(0, 750.0), (hour, 650.0)])
    assert schedules.tie_mw("AKT-ALT", 30 * MINUTE_NS) == 750
    assert schedules.tie_mw("AKT-ALT", 3 * hour) == 650
    schedules.set("AKT-ALT", None)
    schedules.set("UZ-AZ-wheel", [])
    assert schedules.tie_mw("AKT-ALT", 2 * hour) == 800
    with pytest.raises(ValueError, match="order"):
        schedules.set("AKT-ALT", [(hour, 1.0), (hour, 2.0)])


def test_the_grid_follows_a_changed_schedule(world: World) -> None:
    world.set_schedule("MGC-SAM", [(world.t_ns + 5 * MINUTE_NS, 560.0)])
    run(world, 900)
    assert world.snapshot.schedule_mw["MGC-SAM"] == 560
    assert world.snapshot.slack_mw[1] == pytest.approx(-560, abs=20)
    world.set_schedule("KZ-AZ", [(world.t_ns, 200.0)])
    run(world, 300)
    assert world.snapshot.end_p_mw[world.end("AKT-ALT", "AKT")] == pytest.approx(700, abs=1)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda w: w.set_tap("SHY-TAZ", 1), "SHY-TAZ"),
        (lambda w: w.set_theft("TAZ", 1), "TAZ"),
        (lambda w: w.set_theft("UZ", 1), "UZ"),
        (lambda w: w.set_circuits("X-Y", 1), "X-Y"),
        (lambda w: w.trip_plant("mirny"), "mirny"),
        (lambda w: w.restore_plant("mirny"), "mirny"),
        (lambda w: w.set_curtailment("mirny", 1), "mirny"),
        (lambda w: w.set_weather("X-Y", "rain"), "X-Y"),
        (lambda w: w.set_weather("SHY-TAS", "hail"), "hail"),
        (lambda w: w.cloud_front("XX", 1), "XX"),
        (lambda w: w.storm("XX", 30, 1), "XX"),
        (lambda w: w.set_schedule("XX", None), "XX"),
        (lambda w: w.frequency_event("XX", 1), "XX"),
        (lambda w: w.set_load_scale("XX", 1), "XX"),
        (lambda w: w.set_control("XX", on=False), "XX"),
    ],
)
def test_unknown_names_are_refused(world: World, call: Callable[[World], None], name: str) -> None:
    with pytest.raises(KeyError, match=name):
        call(world)


@pytest.mark.parametrize(
    "call",
    [
        lambda w: w.set_tap("SHY-TAS", -1),
        lambda w: w.set_circuits("SHY-TAS", 3),
        lambda w: w.set_hvdc_order(1001),
        lambda w: w.set_hvdc_poles(3),
        lambda w: w.step(0),
        lambda w: w.step(61),
    ],
)
def test_impossible_values_are_refused(world: World, call: Callable[[World], None]) -> None:
    with pytest.raises(ValueError, match=r"not"):
        call(world)


@pytest.mark.parametrize("dt_s", [0.5, 1.0, 10.0, 60.0])
def test_power_balances_at_every_step_whatever_is_done(make_world: MakeWorld, dt_s: float) -> None:
    world = make_world(seed=9)
    causes: list[Callable[[], None]] = [
        lambda: world.set_tap("NUR-SHU", 50.0),
        lambda: world.set_weather("all", "hoarfrost"),
        lambda: world.set_circuits("SHU-ALM", 1),
        lambda: world.trip_plant("kungrad-wind"),
        lambda: world.set_hvdc_poles(1),
        lambda: world.set_circuits("MGC-SAM", 0),
        lambda: world.set_theft("ABS", 30.0),
        lambda: world.set_circuits("KUN-AKT", 0),
        world.restore,
    ]
    for cause in causes:
        cause()
        for _ in range(5):
            now = world.step(dt_s)
            assert now.balance_pu < 1e-6
            assert unbalanced_pu(world) < 1e-6


def unbalanced_pu(world: World) -> float:
    """What goes into the lines and is neither lost in a section, nor in a reactor at a joint, nor tapped."""
    now, net, solution, corridor = world.snapshot, world.network, world.grid.solution, world.plan.corridor
    assert solution is not None
    a, b = solution.phasor[net.piece_from], solution.phasor[net.piece_to]
    section_pu = (a * np.conj(net.own * a + net.mutual * b) + b * np.conj(net.own * b + net.mutual * a)).real
    taken_mw = float(now.end_p_mw[:-2].sum()) - 100 * float(section_pu.sum())
    joints = {bus.id for bus in corridor.buses if not bus.metered}
    for units, reactor in zip(now.reactor_units, corridor.reactors, strict=True):
        if reactor.bus in joints and reactor.line is not None:
            kv = solution.voltage[net.index[reactor.bus]] * corridor.u_rated_kv
            part = world.grid.in_service(reactor.line) / corridor.line(reactor.line).circuits
            unit_mw = corridor.reactor_loss_kw / 1e3 * (kv / corridor.reactor_unit_kv) ** 2
            taken_mw -= float(units) * part * unit_mw
    tapped = [bus for bus in net.tap_bus if net.live[bus]]
    return abs(taken_mw - 50.0 * len(tapped)) / 100
