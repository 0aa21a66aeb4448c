"""Polls the units behind one gateway and hands their readings over, one batch for each poll of a device."""

from __future__ import annotations

import asyncio
import math
import random
import zlib
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

import structlog

from adapters.link import LinkState
from adapters.modbus._connection import (
    ConnectionGivenUpError,
    ConnectionLostError,
    Link,
    Opener,
    opener,
)
from adapters.modbus._outlet import Outlet
from adapters.modbus._reader import Outcome, Reader, UnansweredError
from adapters.modbus._rejects import Rejects
from adapters.modbus._window import Window
from adapters.modbus.codec import ProtocolDoubtError
from adapters.modbus.config import GatewaySettings
from adapters.modbus.patience import Patience
from adapters.modbus.planner import planned
from adapters.modbus.schedule import Schedule, Taken
from adapters.modbus.sunspec.mapping import plan_sunspec
from adapters.modbus.unit import Answer, Unit
from ingest.ports import Intake
from telemetry.backoff import Backoff
from telemetry.batch import Columns, ReadingBatch
from telemetry.clock import Clock
from telemetry.quality import Quality
from telemetry.site import SitePoint

_log = structlog.get_logger(__name__)

_SHORT_S = 1.0
"""A rest so short [s] is not broken off when a device is added that is due sooner."""


class ModbusSource:
    """The units behind one gateway, polled over one connection.

    Parameters
    ----------
    gateway
        Settings of the gateway.
    points
        Every point of every device behind the gateway; the device and its profile come with the point.
    intake
        Where batches go. They are handed over concurrently but in order, at most
        ``gateway.max_pending_batches`` at a time.
    clock
        Time.
    uniform
        Numbers in [0, 1) for the jitter of pauses.
    connect
        Connects in place of the transport that the settings name.

    Raises
    ------
    ConfigError
        A device cannot be planned, or keys or certificates cannot be used.

    """

    def __init__(
        self,
        gateway: GatewaySettings,
        points: Sequence[SitePoint],
        intake: Intake,
        clock: Clock,
        *,
        uniform: random.Random | None = None,
        connect: Opener | None = None,
    ) -> None:
        self.name = f"modbus/{gateway.id}"
        self.state = LinkState(self.name)
        self._gateway = gateway
        self._intake = intake
        self._clock = clock
        self._uniform = (uniform or random.Random()).random  # noqa: S311 - jitter, not a secret
        self._connect = connect or opener(gateway)
        self._points = dict(enumerate(_by_device(points).values()))
        """Of each unit, by a number that no other will have."""
        self._units = {i: self._unit(members) for i, members in self._points.items()}
        self._next_unit = len(self._units)
        self._unknown = self._sunspec()
        self._patience = Patience(gateway.timeout_s)
        self._turns: Schedule | None = None
        self._reader = Reader(self.state, clock, Rejects(self.state, intake), gateway.retries)
        self._window = gateway.window
        self._changed = asyncio.Event()
        self._session = 0
        self._seq = 0
        self._lost = False

    async def run(self) -> None:
        """Polls until it is cancelled.

        Raises
        ------
        StorageError
            A batch could not be made durable. Its readings are missing, which the sequence numbers show; run
            it again, and whatever is wrong by then is told anew.

        """
        if not self._units:
            return
        self._begin_session()
        self._lost = False
        for unit in self._units.values():
            unit.forget()
        outlet = Outlet(self._intake, self._gateway.max_pending_batches, self.state)
        backoff = Backoff(self._gateway.backoff_first_s, self._gateway.backoff_max_s, self._uniform)
        schedule = self._turns = self._schedule()
        try:
            while True:
                try:
                    connection = await self._connect()
                except ConnectionLostError as error:
                    await self._link_lost(outlet, error)
                    await self._clock.sleep(backoff.next())
                    outlet.check()
                    schedule.resume(self._clock.monotonic())
                    continue
                async with connection:
                    self._connected()
                    backoff.reset()
                    await self._poll_all(connection, schedule, outlet)
                self.state.down()
                self.state.count("disconnects")
        finally:
            self._turns = None
            self.state.down()
            await outlet.close()

    def prepared(self, points: Sequence[SitePoint], changed: AbstractSet[str]) -> Callable[[], None]:
        """Plans other points; what is returned brings them into effect, at once and without fail.

        Only devices that are changed, new or gone are touched: the others keep their turns, what was told of
        them, and the connection. A reply that a touched device still owes is not made readings of.

        Parameters
        ----------
        points
            Every point of every device behind the gateway.
        changed
            Devices that are reached or understood otherwise than before.

        Raises
        ------
        ConfigError
            A device cannot be planned; nothing has changed.

        """
        wanted = _by_device(points)
        running = {members[0].key.device: i for i, members in self._points.items()}
        gone = [i for device, i in running.items() if device in changed or device not in wanted]
        fresh = [
            (members, self._unit(members))
            for device, members in wanted.items()
            if device in changed or device not in running
        ]

        def take_over() -> None:
            for i in gone:
                self._remove(i)
            for members, unit in fresh:
                self._add(members, unit)
            self._changed.set()

        return take_over

    def _unit(self, members: Sequence[SitePoint]) -> Unit:
        return Unit(planned(members, self._gateway.planning_cost))

    def _add(self, members: list[SitePoint], unit: Unit) -> None:
        i, self._next_unit = self._next_unit, self._next_unit + 1
        self._points[i], self._units[i] = members, unit
        if members[0].profile.sunspec is not None:
            self._unknown.add(i)
        if self._turns is not None:
            self._turns.add(i, unit.periods_s, self._backoff_of(unit), self._clock.monotonic())

    def _remove(self, i: int) -> None:
        del self._points[i], self._units[i]
        self._unknown.discard(i)
        self._patience.forget(i)
        if self._turns is not None:
            self._turns.remove(i)

    def _backoff_of(self, unit: Unit) -> Backoff:
        shortest = unit.periods_s[0]
        return Backoff(shortest, max(shortest, self._gateway.backoff_max_s), self._uniform)

    def _schedule(self) -> Schedule:
        periods = {i: unit.periods_s for i, unit in self._units.items()}
        backoffs = {i: self._backoff_of(unit) for i, unit in self._units.items()}
        shift = zlib.crc32(self.name.encode()) / 2**32
        return Schedule(periods, backoffs, self._clock.monotonic(), shift)

    async def _poll_all(self, connection: Link, schedule: Schedule, outlet: Outlet) -> None:
        """Polls units in turn; several at a time where several requests may be in flight."""
        window = Window(connection, self._window)
        if self._window == 1:
            await self._lane(window, schedule, outlet)
            return
        lanes = [
            asyncio.create_task(self._lane(window, schedule, outlet), name=f"{self.name} lane {i}")
            for i in range(self._window)
        ]
        try:
            await asyncio.gather(*lanes)
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)

    async def _lane(self, window: Window, schedule: Schedule, outlet: Outlet) -> None:
        """Polls one unit after the other until the connection cannot be used any more.

        Each connection sees a wait or a poll before it is given up, so a gateway that hangs up at once is not
        called in a tight loop: the units' own pauses bound it.
        """
        while True:
            outlet.check()
            wait_s = schedule.wait_s(self._clock.monotonic())
            if wait_s > 0:
                await self._idle(wait_s)
                if not window.connection.alive:
                    self._note_idle_end(window.connection)
                    return
                continue
            taken = schedule.take(self._clock.monotonic())
            if taken is not None:
                await self._turn(taken, window, schedule, outlet)
                self._changed.set()
            if not window.connection.alive:
                return

    async def _idle(self, wait_s: float) -> None:
        if wait_s <= _SHORT_S:
            await self._clock.sleep(wait_s)
            return
        self._changed.clear()
        waits: list[asyncio.Task[Any]] = [
            asyncio.create_task(self._changed.wait(), name=f"{self.name} changed")
        ]
        if math.isfinite(wait_s):
            waits.append(asyncio.create_task(self._clock.sleep(wait_s), name=f"{self.name} idle"))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _turn(self, taken: Taken, window: Window, schedule: Schedule, outlet: Outlet) -> None:
        """Polls a unit once, hands its batch over and plans its next turn."""
        turn, i, period_s = taken
        unit, now = self._units[i], self._clock.monotonic()
        failing = schedule.is_failing(i)
        free_s = schedule.free_s(now) if failing else 0.0
        patience_s = self._patience.of(i, failing=failing, period_s=unit.periods_s[0], free_s=free_s, now=now)
        outcome = Outcome()
        try:
            if i not in self._unknown or await self._located(i, window, patience_s, outcome):
                await self._reader.poll(window, unit, period_s, patience_s, outcome)
        except ConnectionGivenUpError:
            schedule.postponed(turn, self._clock.monotonic())
            if i in self._units:
                await self._hand_over(outcome.columns, outlet)
            return
        except asyncio.CancelledError:
            if i in self._units and (batch := self._made(outcome.columns)) is not None:
                outlet.leave(batch)
            raise
        if i not in self._units:
            self.state.count("polls_superseded")
            return
        if outcome.slowest_s:
            self._patience.heard(i, outcome.slowest_s)
        if outcome.failure is None:
            self._recovered(unit)
        else:
            self._note_failure(i, outcome.failure)
        await self._hand_over(outcome.columns, outlet)
        now = self._clock.monotonic()
        if outcome.failure is not None:
            schedule.failed(turn, now)
        elif missed := schedule.answered(turn, now):
            self.state.count("overruns", missed)

    async def _located(self, i: int, window: Window, patience_s: float, outcome: Outcome) -> bool:
        """Plans a SunSpec device anew from the models that it has now; False if it does not tell them."""
        unit, members = self._units[i], self._points[i]
        sunspec = members[0].profile.sunspec
        base = None if sunspec is None else sunspec.base
        chain = await self._reader.discover(window, unit, base, patience_s, outcome)
        now_ns = self._clock.now_ns()
        if chain is None:
            if outcome.failure is not None:
                quality = outcome.failure.quality
                outcome.columns += [state.failed(quality, now_ns) for state in unit.reads]
            return False
        if i not in self._units:
            return False
        plan = plan_sunspec(members[0].device, members, chain, self._gateway.planning_cost)
        absent = unit.replace(plan, now_ns)
        outcome.columns.append(absent)
        if len(absent):
            names = [want.name for want in plan.absent]
            _log.warning("modbus_points_absent", link=self.name, device=plan.device, points=names)
        self._unknown.discard(i)
        return True

    async def _link_lost(self, outlet: Outlet, error: ConnectionLostError) -> None:
        """Tells once that every point behind the gateway is out of reach."""
        if not self._lost:
            _log.warning("modbus_link_lost", link=self.name, error=str(error))
        self._lost = True
        self.state.count("connect_failures")
        now_ns = self._clock.now_ns()
        self.state.failed(now_ns, str(error))
        units = self._units.values()
        for unit in units:
            unit.failing = True
        await self._hand_over(
            [state.failed(Quality.LINK_LOST, now_ns) for unit in units for state in unit.reads], outlet
        )

    async def _hand_over(self, columns: Sequence[Columns | Answer], outlet: Outlet) -> None:
        batch = self._made(columns)
        if batch is not None:
            await outlet.put(batch)

    def _made(self, columns: Sequence[Columns | Answer]) -> Callable[[], ReadingBatch] | None:
        """What makes the batch of some readings; None without any."""
        rows = [part for part in columns if len(part)]
        if not rows:
            return None
        self._seq += 1
        return partial(_batch, self.name, self._session, self._seq, self._clock.now_ns(), rows)

    def _begin_session(self) -> None:
        self._session, self._seq = max(self._clock.now_ns(), self._session + 1), 0

    def _connected(self) -> None:
        self._begin_session()
        self._lost = False
        self._unknown = self._sunspec()
        self.state.up(self._clock.now_ns())
        self.state.count("connects")

    def _sunspec(self) -> set[int]:
        """The units whose models are not known yet: those of SunSpec devices."""
        return {i for i, members in self._points.items() if members[0].profile.sunspec is not None}

    def _note_idle_end(self, connection: Link) -> None:
        """The connection ended between two polls: no reading is affected, the next poll uses a new one."""
        self.state.count("doubts" if isinstance(connection.fault, ProtocolDoubtError) else "connections_lost")
        self.state.failed(self._clock.now_ns(), str(connection.fault))

    def _note_failure(self, i: int, failure: UnansweredError) -> None:
        unit = self._units[i]
        self.state.count(failure.event)
        text = f"{unit.plan.device}: {failure}"
        self.state.failed(self._clock.now_ns(), text)
        if failure.shared and self._window > 1:
            self._window = 1
            self.state.count("window_fallbacks")
            _log.warning("modbus_window_fell_back", link=self.name, device=unit.plan.device)
        if not unit.failing:
            _log.warning("modbus_device_failing", link=self.name, device=unit.plan.device, error=str(failure))
        unit.failing = True
        if self._points[i][0].profile.sunspec is not None:
            self._unknown.add(i)

    def _recovered(self, unit: Unit) -> None:
        if unit.failing:
            unit.failing = False
            unit.wake()
            _log.info("modbus_device_recovered", link=self.name, device=unit.plan.device)


def _by_device(points: Sequence[SitePoint]) -> dict[str, list[SitePoint]]:
    by_device: dict[str, list[SitePoint]] = {}
    for point in points:
        by_device.setdefault(point.key.device, []).append(point)
    return by_device


def _batch(
    source: str, session: int, seq: int, t_received: int, rows: Sequence[Columns | Answer]
) -> ReadingBatch:
    answers = [row for row in rows if isinstance(row, Answer)]
    if len(answers) == len(rows):
        whole = Answer.joined(answers)
    else:
        whole = Columns.joined([row.columns() if isinstance(row, Answer) else row for row in rows])
    return ReadingBatch(
        source, session, seq, t_received, whole.point, whole.t_source, whole.value, whole.quality
    )
