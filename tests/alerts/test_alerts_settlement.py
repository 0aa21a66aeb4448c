"""Energy from counters and power, and the accounts that it makes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from alerts.schedules import ScheduleBook
from alerts.settlement.accounts import Accounts, Metering, modulus_mwh
from alerts.settlement.buffer import Buffer, Touched
from alerts.settlement.curve import Readings, of_counter, of_power
from alerts.settlement.interval import MINUTE, AccountKind, EnergyQuality, Interval, begin_of
from alerts.settlement.running import running
from alerts.settlement.settle import BRIDGE_S, Meter, complement, joined, settle
from telemetry.batch import Columns, ReadingBatch
from telemetry.grid import Contract
from telemetry.profiles import parse_profile
from telemetry.site import Site
from tests.alerts.settlement_site import SECOND, T0, points, settled_site, steady

HOUR_S = 3600.0


def readings(pairs: list[tuple[float, float]], quality: int = 0) -> Readings:
    t = np.array([T0 + round(s * SECOND) for s, _ in pairs], np.int64)
    value = np.array([v for _, v in pairs], np.float64)
    return Readings(t, value, np.full(len(pairs), quality, np.uint8))


def at(seconds: float) -> int:
    return T0 + round(seconds * SECOND)


@given(
    st.lists(st.floats(0, 0.05), min_size=2, max_size=60),
    st.lists(st.integers(-50, 700), min_size=2, max_size=12, unique=True),
    st.data(),
)
def test_sums_over_intervals_are_the_difference_of_the_counter(
    steps: list[float], cuts: list[int], data: st.DataObject
) -> None:
    gaps = data.draw(st.lists(st.sampled_from([1, 2, 5, 30]), min_size=len(steps), max_size=len(steps)))
    seconds = np.cumsum(gaps)
    value = 1e5 + np.cumsum(steps)
    curve = of_counter(readings(list(zip(seconds.tolist(), value.tolist(), strict=True))), 1000, 5, BRIDGE_S)
    edges = sorted(cuts)
    total = sum(curve.share(at(a), at(b)).mwh for a, b in itertools.pairwise(edges))
    whole = curve.share(at(edges[0]), at(edges[-1]))
    assert total == pytest.approx(whole.mwh, abs=1e-7)
    inside = whole.measured_s + whole.bridged_s + whole.unknown_s
    assert inside == pytest.approx(edges[-1] - edges[0], abs=1e-5)
    everything = curve.share(at(float(seconds[0])), at(float(seconds[-1])))
    assert everything.mwh == pytest.approx(value[-1] - value[0], abs=1e-6)


def test_a_rollover_is_counted_and_a_reset_is_not() -> None:
    found = [(0.0, 4294.9), (1.0, 4294.967), (2.0, 0.15), (3.0, 0.3), (4.0, 9.9), (5.0, 0.2), (6.0, 0.4)]
    curve = of_counter(readings(found), 1000, 5, BRIDGE_S, 4294.967296)
    assert curve.share(at(0), at(3)).mwh == pytest.approx(0.3 + 4294.967296 - 4294.9)
    assert joined(curve.unknown(at(0), at(7))) == [(at(3), at(5)), (at(6), at(7))]
    # without a known modulus the same step is a reset
    assert of_counter(readings(found), 1000, 5, BRIDGE_S).unknown(at(0), at(3)) == [(at(1), at(2))]
    assert of_counter(readings(found[:1]), 1000, 5, BRIDGE_S).unknown(at(0), at(3)) == [(at(0), at(3))]


def meter(exported: Readings, power: Readings | None = None) -> Meter:
    flat = Readings(exported.t, np.zeros(len(exported)), exported.quality)
    found = {0: power or Readings.none(), 1: exported, 2: flat}
    return Meter(Metering("m", 0, 1, 2, 1000, 5.0), found)


def counting(*stretches: tuple[float, float], mw: float = 360.0, reset_s: float = 1e9) -> Readings:
    """A counter at a steady power, read once a second within stretches of time."""
    seconds = np.concatenate([np.arange(a, b + 0.5) for a, b in stretches])
    value = 500.0 + mw * seconds / HOUR_S
    value = np.where(seconds >= reset_s, value - value[0], value)
    return readings(list(zip(seconds.tolist(), value.tolist(), strict=True)))


def powering(*stretches: tuple[float, float], mw: float = 360.0) -> Readings:
    seconds = np.concatenate([np.arange(a, b + 0.5) for a, b in stretches])
    return readings([(s, mw) for s in seconds.tolist()])


@pytest.mark.parametrize(
    ("exported", "power", "mwh", "pct", "quality"),
    [
        (counting((-60, 960)), None, 90, 100, EnergyQuality.COUNTER),
        (counting((-60, 300), (600, 960)), None, 90, 66.7, EnergyQuality.BRIDGED),
        (counting((-60, -10), (910, 960)), None, 90, 0, EnergyQuality.BRIDGED),
        (counting((-60, 960), reset_s=450), powering((-60, 960)), 90, 100, EnergyQuality.SUBSTITUTED),
        (counting((-60, 960), reset_s=450), None, 89.9, 99.9, EnergyQuality.INCOMPLETE),
        (counting((-60, 450)), powering((-60, 960)), 90, 100, EnergyQuality.SUBSTITUTED),
        (counting((-60, 450)), None, 45, 50, EnergyQuality.INCOMPLETE),
        (Readings.none(), powering((-60, 960)), 90, 100, EnergyQuality.POWER),
        (Readings.none(), powering((-60, 300), (600, 960)), 60, 66.7, EnergyQuality.INCOMPLETE),
        (Readings.none(), None, None, 0, EnergyQuality.MISSING),
        (counting((2000, 2100)), powering((2000, 2100)), None, 0, EnergyQuality.MISSING),
        # a gap of more than two hours is not split: nobody knows its course
        (counting((-7200, -7100), (910, 960)), None, None, 0, EnergyQuality.MISSING),
    ],
)
def test_metered_energy_says_where_it_comes_from(
    exported: Readings, power: Readings | None, mwh: float | None, pct: float, quality: EnergyQuality
) -> None:
    found = meter(exported, power).energy(at(0), at(900))
    assert found.quality is quality
    assert found.mwh == (None if mwh is None else pytest.approx(mwh, abs=1e-3))
    assert 100 * found.measured_s / 900 == pytest.approx(pct, abs=0.12)


def checked(main: tuple[Readings, Readings], check: tuple[Readings, Readings]) -> Meter:
    """A meter and its check meter, each with its counter and its power."""
    found: dict[int, Readings] = {}
    for first, (exported, power) in ((0, main), (3, check)):
        flat = Readings(exported.t, np.zeros(len(exported)), exported.quality)
        found |= {first: power, first + 1: exported, first + 2: flat}
    return Meter(Metering("m", 0, 1, 2, 1000, 5.0, check=Metering("c", 3, 4, 5, 1000, 5.0)), found)


NONE, ALL = Readings.none(), (-60.0, 960.0)


@pytest.mark.parametrize(
    ("main", "check", "mwh", "pct", "quality"),
    [
        # as long as the main meter counts, the check meter says nothing
        ((counting(ALL), NONE), (counting(ALL, mw=99), NONE), 90, 100, EnergyQuality.COUNTER),
        ((NONE, NONE), (counting(ALL), NONE), 90, 100, EnergyQuality.SUBSTITUTED),
        ((counting((-60, 450)), NONE), (counting(ALL, mw=180), NONE), 67.5, 100, EnergyQuality.SUBSTITUTED),
        # the check meter's counter before the integral of the main meter's power
        ((NONE, powering(ALL, mw=1)), (counting(ALL), NONE), 90, 100, EnergyQuality.SUBSTITUTED),
        ((NONE, powering(ALL)), (NONE, powering(ALL, mw=1)), 90, 100, EnergyQuality.POWER),
        ((NONE, powering((-60, 450))), (NONE, powering(ALL)), 90, 100, EnergyQuality.SUBSTITUTED),
        ((NONE, NONE), (counting((-60, 450)), NONE), 45, 50, EnergyQuality.INCOMPLETE),
        ((NONE, NONE), (NONE, NONE), None, 0, EnergyQuality.MISSING),
    ],
)
def test_the_check_meter_stands_in(
    main: tuple[Readings, Readings],
    check: tuple[Readings, Readings],
    mwh: float | None,
    pct: float,
    quality: EnergyQuality,
) -> None:
    found = checked(main, check).energy(at(0), at(900))
    assert found.quality is quality
    assert found.mwh == (None if mwh is None else pytest.approx(mwh, abs=0.01))
    assert 100 * found.measured_s / 900 == pytest.approx(pct, abs=0.12)


def test_a_counter_that_is_bad_for_hours_is_the_check_meters() -> None:
    bad = counting((-9000, 9000))
    bad = Readings(bad.t, bad.value, np.full(len(bad), 135, np.uint8))
    found = checked((bad, NONE), (counting(ALL), NONE)).energy(at(0), at(900))
    assert (found.quality, round(found.mwh or 0.0, 2)) == (EnergyQuality.SUBSTITUTED, 90.0)


def test_bad_readings_are_no_energy() -> None:
    good, bad = counting((-60, 960)), counting((300, 310), mw=9999)
    quality = np.full(len(bad), 135, np.uint8)
    both = good.joined(Readings(bad.t, bad.value, quality))
    found = meter(both).energy(at(0), at(900))
    assert found.mwh == pytest.approx(90)
    assert found.quality is EnergyQuality.BRIDGED


@given(st.permutations(range(40)), st.integers(1, 6))
def test_the_order_of_arrival_makes_no_difference(order: list[int], pieces: int) -> None:
    buffer = Buffer([3, 5])
    t = np.array([at(s) for s in range(40)], np.int64)
    for part in np.array_split(np.array(order), pieces):
        point = np.where(part % 2 == 0, 3, 7)
        buffer.take(Columns.of(point, t[part], part.astype(float), np.zeros(len(part))))
        buffer.merge()
        assert buffer.merge() == []
    found = buffer.between(at(10), at(20))
    assert found[3].t.tolist() == [at(s) for s in (10, 12, 14, 16, 18)]
    assert not len(found[5])


def test_what_comes_late_touches_what_lies_between_its_neighbours() -> None:
    buffer = Buffer([1])

    def take(*pairs: tuple[float, float]) -> list[Touched]:
        buffer.take(
            Columns.of([1] * len(pairs), [at(s) for s, _ in pairs], [v for _, v in pairs], [0] * len(pairs))
        )
        return buffer.merge()

    assert take((0, 1), (10, 2), (100, 3)) == [Touched(at(0), at(100))]
    assert take((10, 2)) == [], "the same again"
    assert take((10, 2.5)) == [Touched(at(0), at(100))], "another value"
    assert take((50, 2.7)) == [Touched(at(10), at(100))]
    assert take((20, 2.6), (60, 2.8)) == [Touched(at(10), at(50)), Touched(at(50), at(100))]
    assert take((200, 4)) == [Touched(at(100), at(200))], "the end of a gap"
    buffer.drop(at(60))
    assert buffer.between(0, at(999))[1].t.tolist() == [at(60), at(100), at(200)]
    batch = ReadingBatch.of(
        "s", 1, 1, 0, point=[0, 1, 1, 9], t_source=[1, 5, 3, 9], value=[0] * 4, quality=[0] * 4
    )
    assert buffer.stretch(batch) == Touched(3, 5)
    assert Buffer([2]).stretch(batch) is None


def test_spans() -> None:
    assert joined([(5, 7), (0, 2), (6, 9), (2, 3)]) == [(0, 3), (5, 9)]
    assert complement([(0, 3), (5, 9)], -1, 12) == [(-1, 0), (3, 5), (9, 12)]
    assert complement([(0, 12)], 0, 12) == []
    assert begin_of(T0 + 59 * MINUTE, 15) == T0 + 45 * MINUTE


@pytest.fixture
def site() -> Site:
    return settled_site()


def accounts(site: Site, found: Mapping[int, Readings], minutes: int = 15) -> dict[str, Interval]:
    made = settle(Accounts.of(site), ScheduleBook(site.grid), found, [(T0, minutes)])
    return {interval.account: interval for interval in made}


def test_every_account_of_a_perfect_quarter(site: Site) -> None:
    made = accounts(site, steady(site))
    assert [(i.account, i.kind) for i in made.values()] == [
        *((tie, AccountKind.TIE) for tie in ("SHY-TAS", "MGC-SAM", "AKT-ALT")),
        *((area, AccountKind.AREA) for area in ("KZ", "UZ", "AZ")),
        ("UZ-AZ", AccountKind.CONTRACT),
    ]
    for name, scheduled in {"SHY-TAS": 80.75, "MGC-SAM": -155, "AKT-ALT": 200, "UZ": 80.75}.items():
        assert made[name].scheduled_mwh == pytest.approx(scheduled)
        assert made[name].metered_mwh == pytest.approx(scheduled, abs=1e-6)
        assert made[name].inadvertent_mwh == pytest.approx(0, abs=1e-6)
        assert (made[name].completeness_pct, made[name].quality) == (100, EnergyQuality.COUNTER)
    # export at SAM is export of AZ although the meter there reads -
    assert made["AZ"].metered_mwh == pytest.approx(155 - 200)
    assert made["KZ"].metered_mwh == pytest.approx(200 - 80.75)
    assert made["KZ"].wheeled_mwh == pytest.approx(80.75), "the smaller of what came and what left"
    assert made["AKT-ALT"].losses_mwh == pytest.approx(5), "20 MW stay in the link"
    contract = made["UZ-AZ"]
    assert contract.wheeled_mwh == pytest.approx(75)
    assert contract.losses_mwh == pytest.approx(2.25)
    assert contract.scheduled_mwh == pytest.approx(72.75)
    assert contract.metered_mwh == pytest.approx(72.75)
    assert contract.inadvertent_mwh == pytest.approx(0, abs=1e-6)
    assert made["SHY-TAS"].wheeled_mwh == pytest.approx(75)
    assert made["AKT-ALT"].wheeled_mwh == pytest.approx(72.75)


def test_what_does_not_come_in_cannot_be_wheeled(site: Site) -> None:
    made = accounts(site, steady(site, {("SHY-TAS", "TAS"): 223.0}))
    assert made["UZ"].inadvertent_mwh == pytest.approx(-25)
    contract = made["UZ-AZ"]
    came = 75 * 223 / 323
    assert contract.wheeled_mwh == pytest.approx(came)
    assert contract.inadvertent_mwh == pytest.approx(came * 0.97 - 72.75)


def test_what_is_not_metered_is_not_known(site: Site) -> None:
    found = dict(steady(site))
    for point in points(site, "SHY-TAS", "TAS"):
        found[point] = Readings.none()
    made = accounts(site, found)
    for name in ("SHY-TAS", "UZ", "KZ", "UZ-AZ"):
        assert made[name].inadvertent_mwh is None
    assert made["SHY-TAS"].quality is EnergyQuality.MISSING
    assert made["KZ"].quality is EnergyQuality.INCOMPLETE
    assert made["SHY-TAS"].losses_mwh is None
    assert made["AZ"].metered_mwh is not None
    record = made["SHY-TAS"].record()
    assert "metered_mwh" not in record.fields
    assert record.key == f"SHY-TAS-15-{T0}-0"


def test_the_projection_goes_on_as_the_last_five_minutes(site: Site) -> None:
    found = steady(site, {("AKT-ALT", "AKT"): 830.0})
    instant = T0 + 10 * MINUTE
    open_ = {
        (r.account, r.minutes): r for r in running(Accounts.of(site), ScheduleBook(site.grid), found, instant)
    }
    tie = open_["AKT-ALT", 15]
    assert tie.inadvertent_mwh == pytest.approx(5)
    assert tie.mean_mw == pytest.approx(30)
    assert tie.projected_mwh == pytest.approx(7.5)
    assert open_["AKT-ALT", 60].projected_mwh == pytest.approx(30)
    assert open_["KZ", 15].projected_mwh == pytest.approx(7.5)
    assert open_["AZ", 15].projected_mwh == pytest.approx(-7.5)
    early = {p: r.between(T0 - MINUTE, T0 + 7 * MINUTE) for p, r in found.items()}
    late = running(Accounts.of(site), ScheduleBook(site.grid), early, instant)
    assert "only 70 % of the interval so far" in late[0].fault
    assert late[0].projected_mwh is None


def test_a_contract_needs_a_schedule_in_its_direction(site: Site) -> None:
    (contract,) = site.grid.contract
    back = contract.model_copy(update={"entry": ("AKT-ALT",), "exit": ("SHY-TAS",)})
    assert isinstance(back, Contract)
    turned = replace(site, grid=site.grid.model_copy(update={"contract": (back,)}))
    assert accounts(turned, steady(site))["UZ-AZ"].wheeled_mwh is None


def test_two_revisions_say_the_same_or_not(site: Site) -> None:
    one = accounts(site, steady(site))["SHY-TAS"]
    assert one.says_as(replace(one, revision=4, closed_at=5, reason="late data"))
    assert not one.says_as(replace(one, metered_mwh=80.7))


@pytest.mark.parametrize(
    ("type_", "scale", "expected"),
    [("uint32", 1e-6, 4294.967296), ("uint64", 1e-6, 2**64 * 1e-6), ("float32", 1, None), ("int64", 1, None)],
)
def test_where_a_counter_begins_again(type_: str, scale: float, expected: float | None) -> None:
    text = f"""
        id = "m"
        title = "m"
        source = "test"
        [points]
        TotWhExp = {{ title = "e", unit = "MWh", kind = "counter" }}
        [modbus]
        table = "holding"
        [modbus.registers]
        TotWhExp = {{ address = 0, type = "{type_}", scale = {scale} }}
    """
    found = modulus_mwh(parse_profile(text, "m.toml"), "TotWhExp")
    assert found == (None if expected is None else pytest.approx(expected))
    assert modulus_mwh(parse_profile(text, "m.toml"), "TotWhImp") is None


def test_the_power_curve_knows_nothing_across_a_gap() -> None:
    curve = of_power(readings([(0, 360), (1, 360), (10, 360), (11, 720)]), 5)
    share = curve.share(at(0), at(11))
    assert share.mwh == pytest.approx(0.25)
    assert (share.measured_s, share.unknown_s) == (2, 9)
    spans: NDArray[np.int64] = np.array(curve.unknown(at(-1), at(12)))
    assert ((spans - T0) / SECOND).tolist() == [[-1, 0], [1, 10], [11, 12]]
