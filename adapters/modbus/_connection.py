"""One connection to a gateway: closed or drained at the first doubt, so that no reply is mistaken."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from itertools import cycle, islice
from types import TracebackType
from typing import Any, Protocol, Self

from adapters.modbus._receiver import Receiver
from adapters.modbus._serial import SerialTransport
from adapters.modbus.burst import (
    Burst,
    ConnectionGivenUpError,
    ConnectionLostError,
    Fault,
    ReplyTimeoutError,
)
from adapters.modbus.codec import DeviceRefusedError, ProtocolDoubtError, Query
from adapters.modbus.config import GatewaySettings
from adapters.modbus.debts import MOST_QUESTIONS, Debts, InDebtError
from adapters.modbus.rtu import silence_s

__all__ = [
    "Connection",
    "ConnectionGivenUpError",
    "ConnectionLostError",
    "Link",
    "Opener",
    "ReplyTimeoutError",
    "opener",
]


class Link(Protocol):
    """What a source needs of a connection."""

    @property
    def alive(self) -> bool:
        """True while the next request may be sent."""
        ...

    @property
    def fault(self) -> Fault | None:
        """What ended the connection, if it was not a time-out."""
        ...

    def exchange(self, queries: Sequence[Query], timeout_s: float) -> Coroutine[Any, Any, Burst]:
        """Asks in one piece; what came of it."""
        ...

    async def exchange_in_turn(self, burst: Burst, timeout_s: float) -> None:
        """Asks one question after the other, from the first without a reply on, until one is not answered.

        Whoever made the burst also finds there what was answered before a cancellation.
        """
        burst.begin(burst.asked)
        while not burst.done and burst.fault is None:
            burst.take(await self.exchange((burst.queries[burst.next],), timeout_s))

    async def ask(self, query: Query, timeout_s: float) -> bytes:
        """The verified content of the reply to one question; raises as :meth:`Burst.content`."""
        return (await self.exchange((query,), timeout_s)).content()

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


Opener = Callable[[], Awaitable[Link]]
"""Connects; raises ConnectionLostError."""


class Connection(Link):
    """An open connection; use it as ``async with await opener(settings)():``."""

    def __init__(
        self, receiver: Receiver, settings: GatewaySettings, debts: Debts, numbers: Iterator[int]
    ) -> None:
        self._receiver = receiver
        self._rtu = settings.is_rtu
        self._quiet_s = settings.quiet_s
        self._pause_s = 0.0 if settings.serial is None else silence_s(settings.serial.baudrate)
        self._debts = debts
        self._numbers = numbers
        self._usable = True

    @property
    def alive(self) -> bool:
        """True while the next request may be sent."""
        return self._usable and self._receiver.fault is None

    @property
    def fault(self) -> Fault | None:
        """What ended the connection, if it was not a time-out."""
        return self._receiver.fault

    def exchange(self, queries: Sequence[Query], timeout_s: float) -> Coroutine[Any, Any, Burst]:
        """Sends questions in one piece and returns what came of them when nothing more is to come.

        Each gets a number that was not used for the last 65,535 requests to this gateway, nor on an earlier
        connection: a gateway that still sends what it owes that one is not believed.

        After any fault, and after a cancellation, no later request can receive a reply to one of these: over
        TCP the connection is closed; with RTU framing it is drained, and the unit must first answer a
        question that no owed reply can be taken for. After refusals it stays usable.

        Parameters
        ----------
        queries
            To units behind the gateway; with RTU framing one.
        timeout_s
            Longest wait for the first reply, and from each to the next [s].

        """
        if self._rtu:
            (query,) = queries
            return self._exchange_on_line(query, timeout_s)
        numbers = list(islice(self._numbers, len(queries)))
        return self._receiver.exchange(queries, numbers, timeout_s)

    async def exchange_in_turn(self, burst: Burst, timeout_s: float) -> None:
        """As :meth:`exchange`, but each question is sent where the reply to the one before arrives."""
        if self._rtu:
            await super().exchange_in_turn(burst, timeout_s)
        else:
            numbers = list(islice(self._numbers, len(burst.queries)))
            await self._receiver.exchange_in_turn(burst, numbers, timeout_s)

    async def _exchange_on_line(self, query: Query, timeout_s: float) -> Burst:
        try:
            await self._settle(query.unit, timeout_s)
            return await self._exchange_once(query, timeout_s)
        except (ReplyTimeoutError, ProtocolDoubtError, ConnectionLostError, ConnectionGivenUpError) as fault:
            burst = Burst((query,))
            burst.fault = fault
            return burst

    async def _settle(self, unit: int, timeout_s: float) -> None:
        """Asks a unit that owes replies until one answer proves that none of them can come any more."""
        try:
            for _ in range(MOST_QUESTIONS):
                question = self._debts.question(unit, self._now())
                if question is None:
                    return
                try:
                    (await self._exchange_once(question, timeout_s)).content()
                except DeviceRefusedError:
                    self._debts.refused(question, self._now())
                else:
                    self._debts.answered(question)
            if self._debts.question(unit, self._now()) is not None:
                raise ReplyTimeoutError(
                    f"unit {unit} refused {MOST_QUESTIONS} questions, and still owes replies"
                )
        except InDebtError as error:
            raise ReplyTimeoutError(str(error)) from None

    async def _exchange_once(self, query: Query, timeout_s: float) -> Burst:
        if self._receiver.doubtful or self._receiver.unread:
            await self._receiver.calm(self._quiet_s)
        elif self._pause_s:
            await self._receiver.calm(self._pause_s)
        answered = False
        try:
            burst = await self._receiver.exchange((query,), (), timeout_s)
            answered = burst.fault is None
            return burst
        finally:
            if not answered:
                self._debts.add(query, self._now())
                self._receiver.doubtful = True

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._usable = False
        self._receiver.abandon("closed")
        await self._receiver.closed()


def _words(error: OSError) -> str:
    """What a system or OpenSSL says of a failed connection, without the event loop's own way of saying it."""
    if error.errno and (error.strerror or "").startswith("Connect call failed"):
        return os.strerror(error.errno)
    return error.strerror or str(error)


def opener(settings: GatewaySettings) -> Opener:
    """What connects to a gateway, as often as it is called.

    Raises
    ------
    ConfigError
        Keys or certificates cannot be used.

    """
    context = None if settings.tls is None else settings.tls.context(f"gateway {settings.id}")
    debts = Debts()
    numbers = cycle(range(1, 0x10000))

    async def connect() -> Connection:
        loop = asyncio.get_running_loop()

        def receiver() -> Receiver:
            return Receiver(rtu=settings.is_rtu)

        try:
            if settings.serial is not None:
                line = receiver()
                SerialTransport(settings.serial, line)
                return Connection(line, settings, debts, numbers)
            async with asyncio.timeout(settings.connect_timeout_s):
                _, made = await loop.create_connection(
                    receiver, settings.host or "", settings.tcp_port, ssl=context
                )
        except TimeoutError:
            text = f"{settings.where} did not accept within {settings.connect_timeout_s:g} s"
            raise ConnectionLostError(text) from None
        except OSError as error:  # refused, unreachable, no such line, certificate not accepted
            text = f"{settings.where} cannot be reached: {_words(error)}"
            raise ConnectionLostError(text) from None
        except UnicodeError:  # of the resolver, before it asks anybody
            raise ConnectionLostError(f"{settings.where} cannot be reached: no name of a host") from None
        return Connection(made, settings, debts, numbers)

    return connect
