"""Asks one unit for its reads, and tells what became of each."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from adapters import metrics
from adapters.link import LinkState
from adapters.modbus._connection import ConnectionLostError, Link, ReplyTimeoutError
from adapters.modbus._rejects import Rejects
from adapters.modbus.codec import DeviceRefusedError, ProtocolDoubtError, Request
from adapters.modbus.sunspec.chain import BASES, Chain, NotSunSpecError, survey
from adapters.modbus.unit import Answer, Poll, ReadState, Unit
from telemetry.batch import Columns
from telemetry.clock import Clock
from telemetry.profiles import RegisterTable
from telemetry.quality import Quality

_log = structlog.get_logger(__name__)


class UnansweredError(Exception):
    """A unit could not be read; ``quality`` says why, ``event`` is the counter."""

    def __init__(self, quality: Quality, event: str, error: Exception) -> None:
        super().__init__(str(error))
        self.quality = quality
        self.event = event
        self.shared = isinstance(error, ReplyTimeoutError | ConnectionLostError) and error.shared
        """Whether it may be due to several requests in flight."""


@dataclass(slots=True)
class Outcome:
    """What came of one poll."""

    columns: list[Columns | Answer] = field(default_factory=list)
    failure: UnansweredError | None = None
    slowest_s: float = 0.0
    """Longest round trip of a sound reply [s]; 0 without any."""


class Reader:
    """Reads units over whatever connection there is, repeating what a line lost.

    Parameters
    ----------
    link
        State and counters of the link.
    clock
        Time.
    rejects
        Where rejected replies are kept.
    retries
        Repeats of a request without a sound reply while the connection stays open.

    """

    def __init__(self, link: LinkState, clock: Clock, rejects: Rejects, retries: int) -> None:
        self._link = link
        self._clock = clock
        self._rejects = rejects
        self._retries = retries
        self._round_trip = metrics.ROUND_TRIP.labels(link.name)

    async def poll(
        self, connection: Link, unit: Unit, period_s: float, patience_s: float, outcome: Outcome
    ) -> None:
        """Reads what is due of a unit into ``outcome``.

        Raises
        ------
        ConnectionGivenUpError
            The connection was closed for another unit's sake; what was read until then is in ``outcome``.

        """
        poll = Poll(unit, period_s)
        while (state := poll.next()) is not None:
            request = state.read.request(0, unit.plan.unit)
            try:
                data = await self._ask(connection, unit, request, patience_s, outcome)
                outcome.columns.append(state.answered(data, self._clock.now_ns()))
            except DeviceRefusedError as refusal:
                if parts := poll.refused(state, refusal):
                    _log.info(
                        "modbus_read_split", link=self._link.name, device=unit.plan.device, reads=len(parts)
                    )
                    continue
                self._note_refusal(unit, state, refusal)
                outcome.columns.append(state.failed(Quality.DEVICE_REFUSED, self._clock.now_ns()))
            except UnansweredError as failed:
                outcome.failure = failed
                outcome.columns += poll.unanswered(state, failed.quality, self._clock.now_ns())

    async def discover(
        self, connection: Link, unit: Unit, base: int | None, patience_s: float, outcome: Outcome
    ) -> Chain | None:
        """Walks the models of a SunSpec device; None, with the failure in ``outcome``, if it cannot."""
        walk = survey(BASES if base is None else (base,))
        try:
            address, count = next(walk)
            while True:
                request = Request(0, unit.plan.unit, RegisterTable.HOLDING, address, count)
                answer: bytes | None
                try:
                    answer = await self._ask(connection, unit, request, patience_s, outcome)
                except DeviceRefusedError:
                    answer = None
                address, count = walk.send(answer)
        except StopIteration as end:
            chain: Chain = end.value
            return chain
        except NotSunSpecError as error:
            outcome.failure = UnansweredError(Quality.DEVICE_REFUSED, "not_sunspec", error)
        except UnansweredError as failed:
            outcome.failure = failed
        return None

    async def _ask(
        self, connection: Link, unit: Unit, request: Request, patience_s: float, outcome: Outcome
    ) -> bytes:
        repeats = self._retries
        while True:
            numbered = request.numbered(connection.next_transaction())
            self._link.count("requests")
            asked = self._clock.monotonic()
            try:
                data = await connection.ask(numbered, patience_s)
            except ReplyTimeoutError as error:
                failed = UnansweredError(Quality.DEVICE_TIMEOUT, "timeouts", error)
            except ProtocolDoubtError as error:
                await self._rejects.add(self._clock.now_ns(), unit.plan.device, str(request), error)
                failed = UnansweredError(Quality.PROTOCOL_DOUBT, "doubts", error)
            except ConnectionLostError as error:
                failed = UnansweredError(Quality.LINK_LOST, "connections_lost", error)
            except DeviceRefusedError as refusal:
                self._link.count("exceptions")
                if refusal.is_unreachable:
                    raise UnansweredError(Quality.DEVICE_TIMEOUT, "gateway_timeouts", refusal) from refusal
                raise
            else:
                took = self._clock.monotonic() - asked
                outcome.slowest_s = max(outcome.slowest_s, took)
                self._round_trip.observe(took)
                self._link.count("replies")
                return data
            if not repeats or not connection.alive:
                raise failed
            repeats -= 1
            self._link.count("retries")

    def _note_refusal(self, unit: Unit, state: ReadState, refusal: DeviceRefusedError) -> None:
        first, last = state.read.address, state.read.end - 1
        text = f"{unit.plan.device}: registers {first}-{last}: {refusal}"
        self._link.failed(self._clock.now_ns(), text)
        if state.reported is not Quality.DEVICE_REFUSED:
            _log.warning(
                "modbus_read_refused",
                link=self._link.name,
                device=unit.plan.device,
                points=list(state.read.names),
                table=state.read.table.value,
                first=first,
                last=last,
                error=text,
            )
