"""Asks a device politely: one question at a time, pauses between, an end after several without answer."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from adapters.modbus.codec import DeviceRefusedError, ProtocolDoubtError, Query
from adapters.modbus.config import GatewaySettings
from adapters.modbus.connection import ConnectionLostError, Link, Opener, ReplyTimeoutError, opener
from adapters.modbus.identification import identification
from commissioning.modbus.faults import doubt_text, silent_text, unreachable_text
from commissioning.modbus.round_trips import RoundTrips, statistics
from commissioning.modbus.walk import Noted, Reply, T, Walk
from commissioning.modbus.wish import Manners
from telemetry.clock import Clock
from telemetry.errors import UnavailableError

BUSY = frozenset({5, 6})
"""Exceptions after which the same question may be answered: acknowledge, server device busy."""


class ProbeError(UnavailableError):
    """The device cannot be probed; the message says why and what to do."""


class Prober:
    """One gateway that is asked questions. ``async with`` connects, leaving closes.

    Parameters
    ----------
    gateway
        How it is reached.
    clock
        Time.
    manners
        How politely.
    connect
        Connects in place of the transport that the settings name.

    Raises
    ------
    ConfigError
        Keys or certificates cannot be used.

    """

    def __init__(
        self, gateway: GatewaySettings, clock: Clock, manners: Manners, connect: Opener | None = None
    ) -> None:
        self.gateway = gateway
        self.listeners: list[Noted] = []
        self._clock = clock
        self._manners = manners
        self._connect = connect or opener(gateway)
        self._link: Link | None = None
        self._took_s: list[float] = []
        self._exceptions = 0
        self._unanswered = 0
        self._in_a_row = 0
        self._latest_fault = ""
        self._asked = False

    @property
    def round_trips(self) -> RoundTrips:
        """Statistics of everything that was asked."""
        return statistics(self._took_s, self._exceptions, self._unanswered)

    def require_answers(self) -> None:
        """Raises :class:`ProbeError` when nothing that was asked had a sound reply."""
        if self._unanswered and not self._took_s:
            raise ProbeError(f"no sound reply at all: {self._latest_fault}")

    async def __aenter__(self) -> Self:
        await self._connected()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def walk(self, walk: Walk[T], *, patient: bool = False) -> T:
        """Asks the questions of a walk, one after the other, and returns what it found.

        Parameters
        ----------
        walk
            Yields questions, is sent replies.
        patient
            Silence is an answer too: units that are not there do not end the probe.

        Raises
        ------
        ProbeError
            There is no connection, or no sound reply several times in a row.

        """
        try:
            query = next(walk)
            while True:
                query = walk.send(await self.ask(query, patient=patient))
        except StopIteration as end:
            found: T = end.value
            return found

    async def ask(self, query: Query, *, patient: bool = False) -> Reply:
        """Asks one question; raises as :meth:`walk`."""
        reply = await self._once(query, patient=patient)
        pause_s = self._manners.pause_s
        for _ in range(self._manners.busy_retries):
            if reply.code not in BUSY:
                break
            pause_s *= 10
            await self._clock.sleep(pause_s)
            reply = await self._once(query, patient=patient)
        for note in self.listeners:
            note(query, reply)
        return reply

    async def identify(self, unit: int) -> dict[int, str]:
        """What a device says of itself, by object (function 43/14); empty if it does not tell."""
        told = identification(unit)
        question = next(told)
        try:
            while True:
                reply = await self.ask(question)
                question = told.send(reply.data if reply.ok else None)
        except StopIteration as end:
            objects: dict[int, str] = end.value
            return objects

    async def _once(self, query: Query, *, patient: bool) -> Reply:
        if self._asked:
            await self._clock.sleep(self._manners.pause_s)
        self._asked = True
        link = await self._connected()
        asked = self._clock.monotonic()
        try:
            data = await link.ask(query, self.gateway.timeout_s)
        except DeviceRefusedError as refusal:
            self._exceptions += 1
            return Reply(code=refusal.code, took_s=self._answered(asked))
        except ReplyTimeoutError as error:
            return self._unheard(f"{error}; {silent_text(self.gateway, query.unit)}", patient=patient)
        except ProtocolDoubtError as doubt:
            return self._unheard(doubt_text(self.gateway, doubt), patient=False)
        except ConnectionLostError as error:
            text = f"{error}; does it speak Modbus, take one more client, and like the question: {query}?"
            return self._unheard(text, patient=patient)
        return Reply(data, took_s=self._answered(asked))

    def _answered(self, asked: float) -> float:
        self._took_s.append(self._clock.monotonic() - asked)
        self._in_a_row = 0
        return self._took_s[-1]

    def _unheard(self, text: str, *, patient: bool) -> Reply:
        self._unanswered += 1
        self._in_a_row += 1
        self._latest_fault = text
        if not patient and self._in_a_row >= self._manners.patience:
            times = f"{self._in_a_row} times in a row" if self._in_a_row > 1 else "once"
            raise ProbeError(f"no sound reply {times}: {text}")
        return Reply(silent=True)

    async def _connected(self) -> Link:
        if self._link is not None and self._link.alive:
            return self._link
        await self._close()
        try:
            self._link = await self._connect()
        except ConnectionLostError as error:
            raise ProbeError(unreachable_text(self.gateway, error)) from error
        return self._link

    async def _close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.__aexit__(None, None, None)
