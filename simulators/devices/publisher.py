"""Publishes the messages of the MQTT devices: QoS 1, in order of age, through broker outages."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self

import aiomqtt
import msgspec
import structlog

from simulators.bench import Broker
from simulators.devices.connection import FIRST_RETRY_S, LAST_RETRY_S, Address, connection, knock
from simulators.devices.payloads import Message
from simulators.faults.link import LinkFaults
from simulators.metrics import BROKER_CONNECTED, PUBLISH_DROPPED, PUBLISH_PENDING, PUBLISHED
from telemetry.clock import Clock
from telemetry.errors import StorageError

_log = structlog.get_logger(__name__)


class Witness(Protocol):
    """Is told of every message that the broker acknowledged."""

    def acknowledged(self, message: Message) -> None:
        """Called once for each acknowledgement, right after it arrived."""
        ...


class Ledger:
    """A file with one line of JSON for each object of an acknowledged message: the topic and its members.

    Each message is flushed before the next is sent, so that a test can prove what the broker took over.

    Raises
    ------
    StorageError
        On entering: the file cannot be appended to.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._encoder = msgspec.json.Encoder()

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("ab")
        except OSError as error:
            raise StorageError(
                f"ledger {self._path}: cannot be written ({error}); choose another file"
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def acknowledged(self, message: Message) -> None:
        """Appends and flushes its lines.

        Raises
        ------
        StorageError
            The file cannot be written any more; a ledger with a hole would prove nothing.

        """
        if self._file is None:
            return
        try:
            for row in message.rows:
                self._file.write(self._encoder.encode({"topic": message.topic, **row}) + b"\n")
            self._file.flush()
        except OSError as error:
            raise StorageError(f"ledger {self._path}: cannot be written ({error}); make room") from None


class Publisher:
    """Sends what it is offered.

    The buffer is bounded: when it is full, the oldest message is dropped and counted. A message leaves the
    buffer only when the broker acknowledged it; after a lost connection whatever was in flight is sent again,
    which QoS 1 allows (MQTT 3.1.1, 4.3.2). ``link`` doubles and reorders what is offered, ``via`` is a relay
    that leads to the broker.
    """

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        witness: Witness | None = None,
        *,
        link: LinkFaults | None = None,
        via: Address | None = None,
    ) -> None:
        self._broker = broker
        self._via = via
        self._link = link or LinkFaults()
        self._clock = clock
        self._witness = witness
        self._encoder = msgspec.json.Encoder()
        self._waiting: deque[Message] = deque()
        self._offered = asyncio.Event()
        self._numbers = itertools.count()
        self._in_flight: dict[int, Message] = {}
        self.acknowledged = 0
        """Messages that the broker acknowledged."""
        self.dropped = 0
        """Messages dropped because the buffer was full."""
        self.connected = False

    @property
    def pending(self) -> int:
        """Messages offered and not yet acknowledged or dropped."""
        return len(self._waiting) + len(self._in_flight)

    def offer(self, message: Message) -> None:
        """Takes a message over; never waits."""
        for offered in self._link.deliver([message]):
            self._queue(offered)

    def _queue(self, message: Message) -> None:
        if self.pending >= self._broker.buffer and self._waiting:
            self._waiting.popleft()
            self.dropped += 1
            PUBLISH_DROPPED.inc()
        self._waiting.append(message)
        PUBLISH_PENDING.set(self.pending)
        self._offered.set()

    async def run(self) -> None:
        """Connects and sends until cancelled; comes back after every loss of the broker."""
        delay_s = FIRST_RETRY_S
        while True:
            acknowledged_before = self.acknowledged
            try:
                await self._session()
            except* (aiomqtt.MqttError, TimeoutError) as errors:
                _log.warning(
                    "broker_lost",
                    broker=f"{self._broker.host}:{self._broker.port}",
                    reason=str(errors.exceptions[0]) or "no answer in time",
                    pending=self.pending,
                    dropped=self.dropped,
                )
            delay_s = (
                FIRST_RETRY_S if self.acknowledged > acknowledged_before else min(2 * delay_s, LAST_RETRY_S)
            )
            await self._clock.sleep(delay_s)

    async def _session(self) -> None:
        await knock(self._broker)
        async with connection(self._broker, via=self._via) as client:
            self._connection(up=True)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_until_lost(client), name="sim-broker-watch")
                    for number in range(self._broker.in_flight):
                        group.create_task(self._send(client), name=f"sim-publish-{number}")
            finally:
                self._waiting.extendleft(reversed(self._in_flight.values()))
                self._in_flight.clear()
                self._connection(up=False)

    async def _send(self, client: aiomqtt.Client) -> None:
        while True:
            while not self._waiting:
                self._offered.clear()
                await self._offered.wait()
            number = next(self._numbers)
            message = self._in_flight[number] = self._waiting.popleft()
            async with asyncio.timeout(self._broker.ack_timeout_s):
                await client.publish(message.topic, self._encoder.encode(message.payload), qos=1)
            del self._in_flight[number]
            self.acknowledged += 1
            PUBLISHED.inc()
            PUBLISH_PENDING.set(self.pending)
            if self._witness is not None:
                self._witness.acknowledged(message)

    def _connection(self, *, up: bool) -> None:
        self.connected = up
        BROKER_CONNECTED.set(up)
        _log.info("broker_connection", broker=f"{self._broker.host}:{self._broker.port}", up=up)


async def _until_lost(client: aiomqtt.Client) -> None:
    """Raises ``MqttError`` when the connection is lost: nobody waits for an acknowledgement in vain."""
    async for _ in client.messages:
        continue
