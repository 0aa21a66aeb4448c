"""Polls the units behind one gateway and hands their readings over, one batch for each poll of a device."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence

import numpy as np
import structlog

from adapters import metrics
from adapters.backoff import Backoff
from adapters.link import LinkState
from adapters.modbus._connection import Connection, ConnectionLostError, ReplyTimeoutError
from adapters.modbus._outlet import Outlet
from adapters.modbus.codec import DeviceRefusedError, ProtocolDoubtError
from adapters.modbus.config import GatewaySettings
from adapters.modbus.plan import plan_device
from adapters.modbus.schedule import Schedule
from adapters.modbus.unit import Poll, ReadState, Unit
from ingest.ports import Intake
from telemetry.batch import Columns, ReadingBatch
from telemetry.clock import Clock
from telemetry.quality import Quality
from telemetry.site import SitePoint

_log = structlog.get_logger(__name__)


class _UnansweredError(Exception):
    """A unit could not be polled; ``quality`` says why, ``event`` is the counter."""

    def __init__(self, quality: Quality, event: str, error: Exception) -> None:
        super().__init__(str(error))
        self.quality = quality
        self.event = event


class ModbusSource:
    """The units behind one gateway, polled over one TCP connection with one request in flight.

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

    Raises
    ------
    ConfigError
        A device cannot be planned.

    """

    def __init__(
        self,
        gateway: GatewaySettings,
        points: Sequence[SitePoint],
        intake: Intake,
        clock: Clock,
        *,
        uniform: random.Random | None = None,
    ) -> None:
        self.name = f"modbus/{gateway.id}"
        self.state = LinkState(self.name)
        self._gateway = gateway
        self._intake = intake
        self._clock = clock
        self._uniform = (uniform or random.Random()).random  # noqa: S311 - jitter, not a secret
        by_device: dict[str, list[SitePoint]] = {}
        for point in points:
            by_device.setdefault(point.key.device, []).append(point)
        self._units = [Unit(plan_device(members[0].device, members)) for members in by_device.values()]
        self._session = 0
        self._seq = 0
        self._lost = False

    async def run(self) -> None:
        """Polls until it is cancelled.

        Raises
        ------
        StorageError
            A batch could not be made durable; its readings are missing, which the sequence numbers show.

        """
        if not self._units:
            return
        self._begin_session()
        outlet = Outlet(self._intake, self._gateway.max_pending_batches, self.state)
        backoff = Backoff(self._gateway.backoff_first_s, self._gateway.backoff_max_s, self._uniform)
        schedule = self._schedule()
        try:
            while True:
                try:
                    connection = await Connection.open(
                        self._gateway.host, self._gateway.port, self._gateway.connect_timeout_s
                    )
                except ConnectionLostError as error:
                    await self._link_lost(outlet, error)
                    await self._clock.sleep(backoff.next())
                    schedule.resume(self._clock.monotonic())
                    continue
                async with connection:
                    self._connected()
                    backoff.reset()
                    await self._poll_all(connection, schedule, outlet)
                self.state.down()
                self.state.count("disconnects")
        finally:
            self.state.down()
            await outlet.close()

    def _schedule(self) -> Schedule:
        periods = [unit.plan.period_s for unit in self._units]
        longest = self._gateway.backoff_max_s
        backoffs = [Backoff(period, max(period, longest), self._uniform) for period in periods]
        shift = zlib.crc32(self.name.encode()) / 2**32
        return Schedule(periods, backoffs, self._clock.monotonic(), shift)

    async def _poll_all(self, connection: Connection, schedule: Schedule, outlet: Outlet) -> None:
        """Polls units in turn until the connection cannot be used any more.

        Each connection sees a wait or a poll before it is given up, so a gateway that hangs up at once is not
        called in a tight loop: the units' own pauses bound it.
        """
        while True:
            turn, wait_s = schedule.next(self._clock.monotonic())
            if wait_s > 0:
                await self._clock.sleep(wait_s)
                if not connection.alive:
                    self._note_idle_end(connection)
                    return
                continue
            unit = self._units[turn]
            answered = await self._poll(unit, connection, outlet)
            now = self._clock.monotonic()
            if answered:
                self._recovered(unit)
                if missed := schedule.answered(turn, now):
                    self.state.count("overruns", missed)
            else:
                schedule.failed(turn, now)
            if not connection.alive:
                return

    async def _poll(self, unit: Unit, connection: Connection, outlet: Outlet) -> bool:
        """Reads a device once and hands its batch over; False when the unit did not answer soundly."""
        columns: list[Columns] = []
        poll = Poll(unit)
        failure: _UnansweredError | None = None
        while (state := poll.next()) is not None:
            try:
                columns.append(await self._read(state, unit, connection))
            except DeviceRefusedError as refusal:
                if parts := poll.refused(state, refusal):
                    _log.info("modbus_read_split", link=self.name, device=unit.plan.device, reads=len(parts))
                    continue
                self._note_refusal(unit, state, refusal)
                columns.append(state.failed(Quality.DEVICE_REFUSED, self._clock.now_ns()))
            except _UnansweredError as failed:
                failure = failed
                columns += poll.unanswered(state, failed.quality, self._clock.now_ns())
        if failure is not None:
            self._note_failure(unit, failure)
        await self._hand_over(columns, outlet)
        return failure is None

    async def _read(self, state: ReadState, unit: Unit, connection: Connection) -> Columns:
        request = state.read.request(connection.next_transaction(), unit.plan.unit)
        self.state.count("requests")
        asked = self._clock.monotonic()
        try:
            data = await connection.ask(request, self._gateway.timeout_s)
        except ReplyTimeoutError as error:
            raise _UnansweredError(Quality.DEVICE_TIMEOUT, "timeouts", error) from error
        except ProtocolDoubtError as error:
            raise _UnansweredError(Quality.PROTOCOL_DOUBT, "doubts", error) from error
        except ConnectionLostError as error:
            raise _UnansweredError(Quality.LINK_LOST, "connections_lost", error) from error
        except DeviceRefusedError as refusal:
            self.state.count("exceptions")
            if refusal.is_unreachable:
                raise _UnansweredError(Quality.DEVICE_TIMEOUT, "gateway_timeouts", refusal) from refusal
            raise
        metrics.ROUND_TRIP.labels(self.name).observe(self._clock.monotonic() - asked)
        self.state.count("replies")
        return state.answered(data, self._clock.now_ns())

    async def _link_lost(self, outlet: Outlet, error: ConnectionLostError) -> None:
        """Tells once that every point behind the gateway is out of reach."""
        if not self._lost:
            _log.warning("modbus_link_lost", link=self.name, error=str(error))
        self._lost = True
        self.state.count("connect_failures")
        now_ns = self._clock.now_ns()
        self.state.failed(now_ns, str(error))
        for unit in self._units:
            unit.failing = True
        await self._hand_over(
            [state.failed(Quality.LINK_LOST, now_ns) for unit in self._units for state in unit.reads], outlet
        )

    async def _hand_over(self, columns: Sequence[Columns], outlet: Outlet) -> None:
        rows = [part for part in columns if len(part)]
        if not rows:
            return
        self._seq += 1
        await outlet.put(
            ReadingBatch(
                self.name,
                self._session,
                self._seq,
                self._clock.now_ns(),
                np.concatenate([part.point for part in rows]),
                np.concatenate([part.t_source for part in rows]),
                np.concatenate([part.value for part in rows]),
                np.concatenate([part.quality for part in rows]),
            )
        )

    def _begin_session(self) -> None:
        self._session, self._seq = max(self._clock.now_ns(), self._session + 1), 0

    def _connected(self) -> None:
        self._begin_session()
        self._lost = False
        self.state.up(self._clock.now_ns())
        self.state.count("connects")

    def _note_idle_end(self, connection: Connection) -> None:
        """The connection ended between two polls: no reading is affected, the next poll uses a new one."""
        self.state.count("doubts" if isinstance(connection.fault, ProtocolDoubtError) else "connections_lost")
        self.state.failed(self._clock.now_ns(), str(connection.fault))

    def _note_failure(self, unit: Unit, failure: _UnansweredError) -> None:
        self.state.count(failure.event)
        text = f"{unit.plan.device}: {failure}"
        self.state.failed(self._clock.now_ns(), text)
        if not unit.failing:
            _log.warning("modbus_device_failing", link=self.name, device=unit.plan.device, error=str(failure))
        unit.failing = True

    def _note_refusal(self, unit: Unit, state: ReadState, refusal: DeviceRefusedError) -> None:
        first, last = state.read.address, state.read.address + state.read.count - 1
        text = f"{unit.plan.device}: registers {first}-{last}: {refusal}"
        self.state.failed(self._clock.now_ns(), text)
        if state.reported is not Quality.DEVICE_REFUSED:
            points = list(state.read.names)
            _log.warning(
                "modbus_read_refused", link=self.name, device=unit.plan.device, points=points, error=text
            )

    def _recovered(self, unit: Unit) -> None:
        if unit.failing:
            unit.failing = False
            _log.info("modbus_device_recovered", link=self.name, device=unit.plan.device)
