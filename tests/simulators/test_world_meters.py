from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from simulators.world.clocks import clock_of
from simulators.world.meters import (
    CLASS_LIMIT,
    NOTHING,
    Instrument,
    MeterBank,
    Observes,
    class_errors,
)
from simulators.world.world import World

MakeWorld = Callable[..., World]


def test_class_error_belongs_to_the_serial_number_and_keeps_its_class() -> None:
    assert class_errors("a") == class_errors("a") != class_errors("b")
    power = np.array([sum(class_errors(str(n))) for n in range(3000)])
    assert np.abs(power).max() <= CLASS_LIMIT + 1e-12
    assert power.std() == pytest.approx(CLASS_LIMIT / 3, rel=0.05)
    assert abs(power.mean()) < CLASS_LIMIT / 30


def test_readings_scatter_around_truth_times_the_class_error(make_world: MakeWorld) -> None:
    world = make_world()
    k = world.end("KUN-AKT", "KUN")
    bank = MeterBank(world, [Instrument("m", Observes.END, k)], 1)
    now, shown = world.snapshot, []
    for _ in range(2000):
        bank.observe(now, 1.0)
        shown.append(bank.readings()[0])
    gain = 1 + sum(class_errors("m"))
    p = np.array([reading.p_mw for reading in shown])
    assert p.mean() == pytest.approx(now.end_p_mw[k] * gain, rel=5e-5)
    assert p.std() == pytest.approx(now.end_p_mw[k] * 0.0005, rel=0.1)
    assert np.mean([r.v_kv for r in shown]) == pytest.approx(now.end_v_kv[k], rel=2e-3)
    assert np.mean([r.i_a for r in shown]) == pytest.approx(now.end_i_a[k], rel=2e-3)


def test_counters_integrate_the_truth_in_two_directions(make_world: MakeWorld) -> None:
    world = make_world()
    ends = [("SHY-TAS", "SHY"), ("SHY-TAS", "TAS")]
    bank = MeterBank(world, [Instrument(n, Observes.END, world.end(b, n)) for b, n in ends], 1)
    first = bank.readings()
    true_wh = np.zeros(2)
    for _ in range(600):
        now = world.step()
        bank.observe(now, 1.0)
        true_wh += [now.end_p_mw[world.end(b, n)] * 1e6 / 3600 for b, n in ends]
    last = bank.readings()
    assert last[0].import_wh - first[0].import_wh == pytest.approx(-true_wh[0], abs=2)
    assert last[0].export_wh == first[0].export_wh
    assert last[1].export_wh - first[1].export_wh == pytest.approx(true_wh[1], abs=2)
    assert last[1].import_wh == first[1].import_wh
    assert isinstance(last[0].import_wh, int)


def test_node_and_plant_instruments_see_theirs(make_world: MakeWorld) -> None:
    world = make_world()
    node, plant = world.nodes.index("ALM"), world.fleet.index["mirny-wind"]
    bank = MeterBank(world, [Instrument("n", Observes.NODE, node), Instrument("p", Observes.PLANT, plant)], 1)
    bank.observe(world.snapshot, 1.0)
    alm, mirny = bank.readings()
    assert alm.p_mw == pytest.approx(world.snapshot.node_p_mw[node], rel=0.005)
    assert alm.v_kv == pytest.approx(world.snapshot.node_v_kv[node], rel=0.005)
    assert mirny.p_mw == pytest.approx(world.snapshot.plants.p_mw[plant], rel=0.005)
    assert mirny.p_mw > 50


def test_a_dark_grid_reads_zero_and_counts_nothing(make_world: MakeWorld) -> None:
    world = make_world()
    bank = MeterBank(world, [Instrument("n", Observes.NODE, 0)], 1)
    before = bank.readings()[0]
    world.set_tap("SHY-TAS", 6000.0)
    bank.observe(world.step(), 1.0)
    after = bank.readings()[0]
    same = {"export_wh": 0, "import_wh": 0, "t_ns": 0}
    assert after._replace(**same) == before._replace(**same)
    assert (after.p_mw, after.v_kv, after.f_hz) == (0.0, 0.0, 0.0)
    assert after.export_wh == before.export_wh


def test_circuits_and_units_are_observed_like_the_rest(make_world: MakeWorld) -> None:
    world = make_world()
    circuit = world.circuit_end("KUN-AKT", "KUN", 2)
    unit = world.fleet.units.index(("kungrad-wind", 7))
    watched = [Instrument("c", Observes.CIRCUIT, circuit), Instrument("u", Observes.UNIT, unit)]
    bank = MeterBank(world, watched, 1)
    bank.observe(world.snapshot, 1.0)
    line, turbine = bank.readings()
    half = world.snapshot.end_p_mw[world.end("KUN-AKT", "KUN")] / 2
    assert line.p_mw == pytest.approx(half, rel=0.005)
    assert line.i_a == pytest.approx(world.snapshot.circuit_i_a[circuit], rel=0.005)
    assert turbine.p_mw == pytest.approx(world.snapshot.plants.unit_p_mw[unit], rel=0.005)
    assert turbine.v_kv == pytest.approx(world.snapshot.node_v_kv[world.nodes.index("KUN")], rel=0.005)


def test_narrow_counters_roll_over() -> None:
    reading = NOTHING._replace(export_wh=2**32 + 5, import_wh=10 * 2**32 + 25)
    assert reading.acc32() == (5, 25)
    assert reading.acc32(10) == ((2**32 + 5) // 10, 2)


def test_clocks_are_nearly_right_each_in_its_own_way(make_world: MakeWorld) -> None:
    world = make_world()
    bank = MeterBank(world, [Instrument(str(n), Observes.NODE, 0) for n in range(200)], 1)
    bank.observe(world.step(), 1.0)
    shown = [reading.t_ns for reading in bank.readings()]
    assert shown == [clock_of(str(n)).at(world.t_ns) for n in range(200)]


def test_readings_keep_their_moment(make_world: MakeWorld) -> None:
    world = make_world()
    bank = MeterBank(world, [Instrument(str(n), Observes.NODE, n) for n in range(5)], 1)
    bank.observe(world.step(), 1.0)
    early, copy = bank.readings(), list(bank.readings())
    bank.observe(world.step(), 60.0)
    assert list(early) == copy, "looked at after the next observation"
    assert list(bank.readings()) != copy
    assert (len(early), early[-1], early[1:3]) == (5, copy[4], copy[1:3])
    with pytest.raises(IndexError):
        _ = early[5]
