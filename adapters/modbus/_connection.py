"""One connection to a gateway: closed or drained at the first doubt, so that no reply is mistaken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from itertools import cycle
from types import TracebackType
from typing import Protocol, Self

from adapters.modbus._receiver import (
    ConnectionGivenUpError,
    ConnectionLostError,
    Fault,
    Receiver,
    ReplyTimeoutError,
)
from adapters.modbus._serial import SerialTransport
from adapters.modbus.codec import DeviceRefusedError, Query, verified
from adapters.modbus.config import GatewaySettings
from adapters.modbus.debts import Debts, InDebtError
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

    def next_transaction(self) -> int:
        """A number for the next request."""
        ...

    async def ask(self, query: Query, timeout_s: float) -> bytes:
        """The verified content of the reply."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


Opener = Callable[[], Awaitable[Link]]
"""Connects; raises ConnectionLostError."""


class Connection:
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

    def next_transaction(self) -> int:
        """A transaction identifier that was not used for the last 65,535 requests to this gateway.

        Nor on an earlier connection: a gateway that still sends what it owes that one is not believed.
        """
        return next(self._numbers)

    async def ask(self, query: Query, timeout_s: float) -> bytes:
        """Sends a question and returns the content of its verified reply.

        After any error but a refusal, and after a cancellation, no later request can receive this one's
        reply: over TCP the connection is closed; with RTU framing it is drained, and the unit must first
        answer a question that no owed reply can be taken for.

        Raises
        ------
        ReplyTimeoutError
            No reply within ``timeout_s``.
        ConnectionLostError
            The other side closed the connection.
        ConnectionGivenUpError
            It was closed for another request's sake.
        ProtocolDoubtError
            What came is not provably the reply.
        DeviceRefusedError
            The device answered with an exception; the connection stays usable.

        """
        if self._rtu:
            return await self._ask_line(query, timeout_s)
        return await self._ask(query, timeout_s)

    async def _ask(self, query: Query, timeout_s: float) -> bytes:
        try:
            frame = await self._receiver.exchange(query, timeout_s)
            return verified(query, frame)
        except DeviceRefusedError:
            raise
        except BaseException as error:
            self._usable = False
            self._receiver.abandon(f"closed after unit {query.unit}: {str(error) or type(error).__name__}")
            raise

    async def _ask_line(self, query: Query, timeout_s: float) -> bytes:
        await self._settle(query.unit, timeout_s)
        return await self._ask_once(query, timeout_s)

    async def _settle(self, unit: int, timeout_s: float) -> None:
        """Asks a unit that owes replies until one answer proves that none of them can come any more."""
        try:
            while (question := self._debts.question(unit, self._now())) is not None:
                try:
                    await self._ask_once(question, timeout_s)
                except DeviceRefusedError:
                    self._debts.refused(question, self._now())
                else:
                    self._debts.answered(question)
        except InDebtError as error:
            raise ReplyTimeoutError(str(error)) from None

    async def _ask_once(self, query: Query, timeout_s: float) -> bytes:
        if self._receiver.doubtful or self._receiver.unread:
            await self._receiver.calm(self._quiet_s)
        elif self._pause_s:
            await self._receiver.calm(self._pause_s)
        try:
            frame = await self._receiver.exchange(query, timeout_s)
            return verified(query, frame)
        except DeviceRefusedError:
            raise
        except BaseException:
            self._debts.add(query, self._now())
            self._receiver.doubtful = True
            raise

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
            text = f"{settings.where} cannot be reached: {error.strerror or error}"
            raise ConnectionLostError(text) from None
        except UnicodeError:  # of the resolver, before it asks anybody
            raise ConnectionLostError(f"{settings.where} cannot be reached: no name of a host") from None
        return Connection(made, settings, debts, numbers)

    return connect
