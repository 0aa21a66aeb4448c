"""An MQTT publisher for load: messages are encoded beforehand, many go out in one write."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from typing import cast

from simulators.load import packets
from simulators.load.config import MqttLoad
from simulators.load.packets import Received, Template
from telemetry.clock import Clock
from telemetry.errors import UnavailableError

CHUNK = 100
"""Messages in one write."""
_SIZES: dict[int, int] = {Received.CONNACK: 4, Received.PUBACK: 4, Received.PINGRESP: 2}
_MAX_IDENTIFIER = 0xFFFF
_ROUNDING = 1e-6
"""A message is due although its time is missed by this part of a message."""


class LoadPublisher:
    """Publishes over one connection; ``run`` connects, sends and disconnects.

    Each device speaks in turn, each time at least a millisecond later than before, so that no two messages of
    a device carry the same time. At QoS 1 each message must be acknowledged, in order (MQTT 3.1.1, 4.6).
    """

    def __init__(self, settings: MqttLoad, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._templates = [
            Template.of(settings.topic, device, settings.values, settings.qos)
            for device in range(1, settings.devices + 1)
        ]
        self._link = _Link()
        self.sent = 0
        """Messages written."""
        self.confirmed = 0
        """Messages that the broker is known to have; at QoS 0 those before an answered ping."""

    @property
    def acknowledged(self) -> int:
        """Messages acknowledged by the broker; always 0 at QoS 0."""
        return self._link.acknowledged

    async def run(self, for_s: float = float("inf")) -> None:
        """Publishes for a time [s] or up to the number of messages in the settings, and waits for the broker.

        Raises
        ------
        UnavailableError
            The broker cannot be reached, refuses, is lost or keeps silent.

        """
        where = f"{self._settings.host}:{self._settings.port}"
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await loop.create_connection(lambda: self._link, self._settings.host, self._settings.port)
                self._link.write(
                    packets.connect(
                        self._settings.client_id, self._settings.username, self._settings.password
                    )
                )
                await self._link.until(lambda: self._link.accepted)
            await self._publish(self._clock.monotonic() + for_s)
            await self._confirm()
        except (OSError, TimeoutError, _LostError) as error:
            reason = str(error) or "no answer"
            raise UnavailableError(
                f"broker {where}: {reason}; is it running, and open to this client?"
            ) from None
        finally:
            self.confirmed = max(self.confirmed, self.acknowledged)
            self._link.close()

    async def _publish(self, end: float) -> None:
        messages = self._messages()
        begin = self._clock.monotonic()
        while (now := self._clock.monotonic()) < end:
            take = min(CHUNK, self._left(), self._due(now - begin))
            if self._settings.qos:
                take = min(take, self._settings.in_flight - (self.sent - self.acknowledged))
            if self._left() == 0:
                return
            if take > 0:
                self._link.write(b"".join(itertools.chain.from_iterable(itertools.islice(messages, take))))
                self.sent += take
                await self._turn()
            elif self._due(now - begin) <= 0:
                await self._clock.sleep(min(end, begin + self.sent / self._settings.rate_per_s) - now)
            else:
                await self._progress()

    async def _turn(self) -> None:
        """Lets acknowledgements in, and waits while the connection takes no more."""
        await self._clock.sleep(0)
        self._link.check()
        if self._link.blocked:
            async with asyncio.timeout(self._settings.timeout_s):
                await self._link.until(lambda: not self._link.blocked)

    async def _progress(self) -> None:
        """Waits for the next acknowledgements."""
        before = self.acknowledged
        async with asyncio.timeout(self._settings.timeout_s):
            await self._link.until(lambda: self.acknowledged > before)

    async def _confirm(self) -> None:
        """Waits until the broker has everything: it works on what a client sends in the order of sending."""
        async with asyncio.timeout(self._settings.timeout_s):
            if self._settings.qos:
                await self._link.until(lambda: self.acknowledged == self.sent)
            self._link.write(packets.PINGREQ)
            await self._link.until(lambda: self._link.answered)
        self.confirmed = self.sent

    def _left(self) -> int:
        return self._settings.messages - self.sent if self._settings.messages else CHUNK

    def _due(self, elapsed_s: float) -> int:
        rate = self._settings.rate_per_s
        return int(rate * elapsed_s + _ROUNDING) + 1 - self.sent if rate else CHUNK

    def _messages(self) -> Iterator[tuple[bytes, ...]]:
        """The pieces of one PUBLISH after the other, without end."""
        numbers = itertools.cycle([n.to_bytes(2, "big") for n in range(1, _MAX_IDENTIFIER + 1)])
        now_ms = 0
        while True:
            now_ms = max(self._clock.now_ns() // 1_000_000, now_ms + 1)
            stamp = packets.stamp(now_ms)
            if self._settings.qos:
                for template in self._templates:
                    yield template.head, next(numbers), stamp, template.tail
            else:
                for template in self._templates:
                    yield template.head, stamp, template.tail


class _LostError(Exception):
    """The connection is of no use any more."""


class _Link(asyncio.Protocol):
    """The connection: takes bytes, understands the few packets that come back."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._fault = ""
        self._waiter: asyncio.Future[None] | None = None
        self.accepted = False
        self.answered = False
        """A ping was answered."""
        self.blocked = False
        """The transport holds as much as it may."""
        self.acknowledged = 0

    def check(self) -> None:
        """Raises what is wrong with the connection, if anything is."""
        if self._fault:
            raise _LostError(self._fault)

    def write(self, data: bytes) -> None:
        """Sends bytes."""
        self.check()
        if self._transport is not None:
            self._transport.write(data)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for a condition, which is looked at whenever something happened."""
        while not condition():
            self.check()
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def close(self) -> None:
        """Disconnects (3.14) if there is a connection."""
        if self._transport is not None:
            if not self._fault:
                self._transport.write(packets.DISCONNECT)
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._failed(f"connection lost ({exc})" if exc else "connection closed by the broker")

    def pause_writing(self) -> None:
        self.blocked = True

    def resume_writing(self) -> None:
        self.blocked = False
        self._happened()

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        at = 0
        while at < len(data):
            size = _SIZES.get(data[at])
            if size is None:
                self._failed(f"unexpected packet of type 0x{data[at]:02x}")
                return
            if at + size > len(data):
                break
            if data[at] == Received.PUBACK:
                self._acknowledge(data[at + 2] << 8 | data[at + 3])
            elif data[at] == Received.CONNACK:
                self._accept(data[at + 3])
            else:
                self.answered = True
            at += size
        self._rest = data[at:]
        self._happened()

    def _acknowledge(self, number: int) -> None:
        expected = self.acknowledged % _MAX_IDENTIFIER + 1
        if number == expected:
            self.acknowledged += 1
        else:
            self._failed(f"acknowledgement of message {number} where {expected} is due")

    def _accept(self, code: int) -> None:
        if code:
            self._failed(f"refused: {packets.REFUSALS.get(code, f'return code {code}')}")
        self.accepted = not code

    def _failed(self, fault: str) -> None:
        self._fault = self._fault or fault
        self._happened()

    def _happened(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
