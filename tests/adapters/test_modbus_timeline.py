"""Who is polled when, in virtual time: the whole source, on links that take time and lose replies."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from types import TracebackType
from typing import Self

import pytest

from adapters.modbus._connection import ConnectionLostError, Link, ReplyTimeoutError
from adapters.modbus.burst import Burst, Fault
from adapters.modbus.codec import Query, Request
from adapters.modbus.config import GatewaySettings
from adapters.modbus.patience import FULL_EVERY_S
from adapters.modbus.source import ModbusSource
from ingest.fakes import FakeIntake
from telemetry.clock import ManualClock
from telemetry.profiles import DeviceProfile, parse_profile
from telemetry.quality import Quality
from telemetry.site import SitePoint
from tests.adapters.modbus_rig import Run

MakePoints = Callable[..., list[SitePoint]]
SILENT = float("inf")


class Line:
    """Links on which each unit takes its own time [s]; a silent one takes the time-out and the connection."""

    def __init__(self, clock: ManualClock, takes_s: Mapping[int, float], *, keeps: bool = False) -> None:
        self.clock = clock
        self.takes_s = dict(takes_s)
        self.keeps = keeps
        """A time-out does not end the connection, as on a line."""
        self.asked: list[tuple[float, int, int]] = []
        """When, unit, first address."""
        self.up = True
        self.in_flight: dict[int, int] = {}
        self.overlaps = 0
        self.flying = 0
        self.most_flying = 0

    async def connect(self) -> VirtualLink:
        await self.clock.sleep(0.002)
        if not self.up:
            raise ConnectionLostError("nobody is there")
        return VirtualLink(self)

    def times(self, unit: int, address: int | None = None) -> list[float]:
        return [t for t, asked, at in self.asked if asked == unit and address in {None, at}]


class VirtualLink(Link):
    """One connection of a line."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._usable = True

    @property
    def alive(self) -> bool:
        return self._usable and self._line.up

    @property
    def fault(self) -> Fault | None:
        return None

    async def exchange(self, queries: Sequence[Query], timeout_s: float) -> Burst:
        """The replies come one after the other; each takes the unit's time."""
        line, unit, clock = self._line, queries[0].unit, self._line.clock
        burst = Burst(queries, clock.monotonic())
        line.overlaps += line.in_flight.get(unit, 0)
        line.in_flight[unit] = 1
        line.flying += len(queries)
        line.most_flying = max(line.most_flying, line.flying)
        line.asked += [(burst.asked, unit, query.address) for query in queries if isinstance(query, Request)]
        for i, query in enumerate(queries):
            assert isinstance(query, Request)
            await clock.sleep(min(line.takes_s[unit], timeout_s))
            burst.over_at = clock.monotonic()
            if not line.up:
                burst.fault = ConnectionLostError("gone")
                break
            if line.takes_s[unit] > timeout_s:
                self._usable = line.keeps
                burst.fault = ReplyTimeoutError("silent")
                break
            burst.answer(i, struct.pack(">H", 1) * query.count, clock.monotonic())
        line.in_flight[unit] = 0
        line.flying -= len(queries)
        return burst

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._usable = False


def profile(max_gap: int = 0, **periods_s: float) -> DeviceProfile:
    """A register for each name, at 10 more each, with its own period [s]."""
    lines = ['id = "p"', 'title = "t"', 'source = "test"', "period_s = 1.0"]
    for name in periods_s:
        lines += [f"[points.{name}]", 'title = "t"', 'unit = "1"']
    lines += ["[modbus]", f"max_gap = {max_gap}", "[modbus.registers]"]
    for i, (name, period_s) in enumerate(periods_s.items()):
        lines.append(f'{name} = {{ address = {10 * i}, type = "uint16", period_s = {period_s} }}')
    return parse_profile("\n".join(lines), "p.toml")


class Timeline:
    """A source on such a line; reads span gaps of ``max_gap`` registers."""

    def __init__(
        self,
        make_points: MakePoints,
        takes_s: Mapping[int, float],
        *,
        keeps: bool = False,
        periods_s: Mapping[str, float] | None = None,
        max_gap: int = 0,
        **changes: object,
    ) -> None:
        self.clock = ManualClock()
        self.line = Line(self.clock, takes_s, keeps=keeps)
        self.intake = FakeIntake()
        made = profile(max_gap, **(periods_s or {"A": 1.0}))
        self.points = make_points(*((f"d{unit}", made, unit) for unit in takes_s))
        settings = GatewaySettings.model_validate({"id": "gw", "host": "x", "timeout_s": 0.5} | changes)
        self.source = ModbusSource(settings, self.points, self.intake, self.clock, connect=self.line.connect)


def strays(times: list[float], period_s: float) -> list[float]:
    """How far each pause between two polls is from the period [s]."""
    return [abs(two - one - period_s) for one, two in pairwise(times)]


UNITS = range(1, 11)
DEAD = {2, 5, 8}


@pytest.mark.parametrize("keeps", [False, True], ids=["tcp", "line"])
@pytest.mark.parametrize("window", [1, 4])
async def test_openems_6_three_dead_units_of_ten_move_no_healthy_one_by_a_tenth_of_its_period(
    keeps: bool, window: int, make_points: MakePoints, run_source: Run
) -> None:
    takes = {unit: SILENT if unit in DEAD else 0.01 for unit in UNITS}
    timeline = Timeline(make_points, takes, keeps=keeps, window=window)
    async with run_source(timeline.source.run()):
        await timeline.clock.advance(120)
    for unit in set(UNITS) - DEAD:
        settled = [t for t in timeline.line.times(unit) if t > 10]
        assert max(strays(settled, 1.0)) < 0.1, "after the first rounds, in which no unit is known yet"
        assert len(settled) >= 108
    for unit in DEAD:
        assert 6 < len(timeline.line.times(unit)) < 24
    assert timeline.line.overlaps == 0


async def test_a_unit_that_was_never_heard_is_given_the_full_time_now_and_then_and_costs_little(
    make_points: MakePoints, run_source: Run
) -> None:
    """It might be slow. For one unit of a gateway in five minutes the others wait for it."""
    takes = {unit: SILENT if unit in DEAD else 0.01 for unit in UNITS}
    timeline = Timeline(make_points, takes)
    async with run_source(timeline.source.run()):
        await timeline.clock.advance(FULL_EVERY_S + 40)
    for unit in set(UNITS) - DEAD:
        settled = [t for t in timeline.line.times(unit) if t > 10]
        moved = [stray for stray in strays(settled, 1.0) if stray > 0.1]
        assert len(moved) <= 2, "one poll came late, the next was in time again"
        assert max(moved, default=0.0) < 0.6


async def test_a_slow_unit_costs_the_others_of_its_line_no_more_than_its_answers_take(
    make_points: MakePoints, run_source: Run
) -> None:
    takes = {unit: 0.3 if unit == 4 else 0.01 for unit in UNITS}
    timeline = Timeline(make_points, takes)
    async with run_source(timeline.source.run()):
        await timeline.clock.advance(120)
    for unit in UNITS:
        settled = [t for t in timeline.line.times(unit) if t > 3]
        assert max(strays(settled, 1.0)) < 0.1
        assert len(settled) >= 115
    assert timeline.source.state.counts["overruns"] == 0


async def test_a_gateway_that_does_not_accept_delays_no_other(
    make_points: MakePoints, run_source: Run
) -> None:
    healthy = Timeline(make_points, {1: 0.01})
    dead = Timeline(make_points, {1: 0.01})
    dead.line.up = False
    dead.line.clock = dead.clock = healthy.clock
    other = ModbusSource(
        GatewaySettings(id="other", host="x"),
        dead.points,
        dead.intake,
        healthy.clock,
        connect=dead.line.connect,
    )
    async with run_source(healthy.source.run()), run_source(other.run()):
        await healthy.clock.advance(60)
    assert max(strays(healthy.line.times(1), 1.0)) < 1e-6
    assert dead.line.times(1) == []


async def test_points_of_one_device_keep_their_own_periods(make_points: MakePoints, run_source: Run) -> None:
    periods = {"fast": 1.0, "slow": 10.0, "rare": 900.0}
    timeline = Timeline(make_points, {1: 0.02, 2: 0.02}, periods_s=periods)
    async with run_source(timeline.source.run()):
        await timeline.clock.advance(1800)
    for unit in (1, 2):
        for address, period in ((0, 1.0), (10, 10.0), (20, 900.0)):
            times = timeline.line.times(unit, address)
            assert len(times) == 1800 / period
            assert max(strays(times, period), default=0.0) < 0.1
    assert timeline.line.overlaps == 0
    assert timeline.source.state.counts["overruns"] == 0
    every = [point for batch in timeline.intake.batches for point in batch.point.tolist()]
    assert [every.count(p.index) for p in timeline.points] == [1800, 180, 2] * 2


async def test_polls_that_take_longer_than_the_period_do_not_overlap_and_are_counted(
    make_points: MakePoints, run_source: Run
) -> None:
    timeline = Timeline(make_points, {1: 1.4, 2: 0.01}, timeout_s=2.0, window=2)
    async with run_source(timeline.source.run()):
        await timeline.clock.advance(60.5)
    slow = timeline.line.times(1)
    assert timeline.line.overlaps == 0
    assert strays(slow, 2.0) == pytest.approx([0.0] * (len(slow) - 1)), "every second slot of its own grid"
    assert timeline.source.state.counts["overruns"] == len(slow) - 1
    assert len(timeline.line.times(2)) >= 60, "the other lane goes on"


async def test_thingsboard_2132_polling_comes_back_after_a_long_outage(
    make_points: MakePoints, run_source: Run
) -> None:
    outage = 6 * 3600.0
    timeline = Timeline(make_points, dict.fromkeys((1, 2, 3), 0.01), backoff_max_s=15.0)
    async with run_source(timeline.source.run()):
        await timeline.clock.advance(10)
        phases = {unit: timeline.line.times(unit)[-1] % 1.0 for unit in (1, 2, 3)}
        timeline.line.up = False
        await timeline.clock.advance(outage)
        during = len(timeline.intake.batches)
        timeline.line.up = True
        back = timeline.clock.monotonic()
        await timeline.clock.advance(30)
    for unit in (1, 2, 3):
        times = [t for t in timeline.line.times(unit) if t > back]
        assert times[0] - back < 17
        # the first is late by what the link came back after its turn
        assert max(strays(times[1:], 1.0)) < 1e-6
        assert times[-1] % 1.0 == pytest.approx(phases[unit], abs=1e-3), "in its own phase"
    lost = [b for b in timeline.intake.batches[:during] if Quality.LINK_LOST in b.quality]
    assert sum(len(batch) for batch in lost) == 3, "told once for each point, however long it takes"
    attempts = timeline.source.state.counts["connect_failures"]
    assert outage / 16 < attempts < outage / 7


async def test_thingsboard_799_gateways_and_units_do_not_poll_in_step(
    make_points: MakePoints, run_source: Run
) -> None:
    clock = ManualClock()
    lines = []
    async with asyncio.TaskGroup() as group:
        tasks = []
        for i in range(20):
            line = Line(clock, dict.fromkeys((1, 2, 3, 4), 0.001))
            points = make_points(*((f"d{unit}", profile(A=1.0), unit) for unit in line.takes_s))
            gateway = GatewaySettings(id=f"g{i}", host="x")
            source = ModbusSource(gateway, points, FakeIntake(), clock, connect=line.connect)
            tasks.append(group.create_task(source.run()))
            lines.append(line)
        await clock.advance(10)
        for task in tasks:
            task.cancel()
    at = sorted(t % 1.0 for line in lines for t, _, _ in line.asked if t > 5)
    tenths = [sum(k / 10 <= t < (k + 1) / 10 for t in at) for k in range(10)]
    assert max(tenths) < 3 * len(at) / 10
    assert min(tenths) > 0
