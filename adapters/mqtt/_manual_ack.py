"""An MQTT client that acknowledges only when told to, and holds a bounded number of messages.

aiomqtt acknowledges a QoS 1 message as soon as it enters its queue: a crash before the commit loses it. This
file, and no other, reaches below aiomqtt's interface to change that. Written against aiomqtt 2.5.1 over
paho-mqtt 2.x; what it relies on that neither documents:

- ``aiomqtt.Client._client``: the paho client (``manual_ack_set``, ``ack``, ``loop_read``, ``disconnect`` and
  ``connect_timeout`` of it are documented);
- ``aiomqtt.Client._on_message`` and ``_on_socket_open`` are the callbacks given to paho, so overriding them
  works; they run in the event loop, but for ``_on_socket_open``, which runs in the connecting thread;
- ``aiomqtt.Client._disconnected``: a future that is done once the connection has ended; ``_loop``: the loop.

The test that kills a subscriber with SIGKILL proves that the acknowledgement waits for the commit.
"""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiomqtt
import paho.mqtt.client as paho

from adapters.mqtt.config import BrokerSettings
from telemetry.clock import Clock
from telemetry.errors import UnavailableError


class BrokerLostError(UnavailableError):
    """The broker cannot be reached, refused the connection, or the connection ended."""


class SubscriptionRefusedError(UnavailableError):
    """The broker accepted the connection but none of the subscriptions."""


@dataclass(frozen=True, slots=True)
class Received:
    """One message and what its acknowledgement needs."""

    topic: str
    """Empty when it is not valid UTF-8."""
    payload: bytes
    qos: int
    mid: int
    retained: bool
    received_ns: int
    """Wall time of receipt [ns, UTC]."""


class ManualAckClient:
    """One connection; messages are taken, made durable by the caller, and then acknowledged.

    At most ``max_unacknowledged`` messages are held between the socket and the acknowledgement. At that limit
    the socket is not read, so that the broker waits: nothing is dropped, QoS 0 included.
    """

    def __init__(self, settings: BrokerSettings, password: str | None, clock: Clock) -> None:
        self._client = _Client(settings, password, clock)

    async def __aenter__(self) -> Self:
        # the attempt runs in a thread that cannot be interrupted; left alone it would leave a socket behind
        attempt = asyncio.ensure_future(self._client.__aenter__())
        try:
            await asyncio.shield(attempt)
        except aiomqtt.MqttError as error:
            self._client.give_up()
            raise BrokerLostError(str(error)) from None
        except asyncio.CancelledError:
            await asyncio.wait([attempt])
            if not attempt.cancelled():
                attempt.exception()
            self._client.give_up()
            raise
        self._client.watch()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # an error while leaving must not take the place of a cancellation
        with suppress(aiomqtt.MqttError):
            await self._client.__aexit__(kind, error, trace)

    @property
    def held(self) -> int:
        """Messages that are received and not acknowledged."""
        return self._client.held

    async def subscribe(self, topics: Sequence[str]) -> list[str]:
        """Subscribes to exact topics with QoS 1; returns those that the broker refused.

        Raises
        ------
        BrokerLostError
            No answer, or the connection ended.

        """
        try:
            codes = await self._client.subscribe([(topic, 1) for topic in topics])
        except aiomqtt.MqttError as error:
            raise BrokerLostError(f"subscribe: {error}") from None
        if len(codes) != len(topics):
            raise BrokerLostError(f"subscribe: {len(codes)} answers for {len(topics)} topics")
        return [topic for topic, code in zip(topics, codes, strict=True) if _refused(code)]

    async def unsubscribe(self, topic: str) -> None:
        """Ends a subscription that the session remembers.

        Raises
        ------
        BrokerLostError
            No answer, or the connection ended.

        """
        try:
            await self._client.unsubscribe(topic)
        except aiomqtt.MqttError as error:
            raise BrokerLostError(f"unsubscribe: {error}") from None

    async def take(self, limit: int) -> list[Received]:
        """Up to ``limit`` messages, in order of receipt, as soon as there is one.

        Raises
        ------
        BrokerLostError
            The connection ended; whatever is unacknowledged will be sent again.

        """
        return await self._client.take(limit)

    def acknowledge(self, messages: Sequence[Received]) -> None:
        """Acknowledges messages in the order of receipt (MQTT 3.1.1, 4.6.0-2).

        After the end of the connection it does nothing: the broker sends the messages again.
        """
        self._client.acknowledge(messages)


class _Client(aiomqtt.Client):
    def __init__(self, settings: BrokerSettings, password: str | None, clock: Clock) -> None:
        super().__init__(
            settings.host,
            settings.port,
            identifier=settings.client_id,
            username=settings.username,
            password=password,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=False,
            keepalive=settings.keepalive_s,
            timeout=settings.timeout_s,
            # small acknowledgements must not wait for each other (Nagle): 40 ms a piece otherwise
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        self._client.manual_ack_set(True)
        self._client.connect_timeout = settings.timeout_s
        self._clock = clock
        self._limit = settings.max_unacknowledged
        self._inbox: deque[Received] = deque()
        self._taken = 0
        self._paused = False
        self._news = asyncio.Event()

    @property
    def held(self) -> int:
        return len(self._inbox) + self._taken

    def watch(self) -> None:
        """Wakes the taker when the connection ends."""
        self._disconnected.add_done_callback(self._ended)

    def give_up(self) -> None:
        """Closes what a failed or cancelled connection attempt left open."""
        self._client.disconnect()

    async def take(self, limit: int) -> list[Received]:
        while not self._inbox:
            if self._disconnected.done():
                raise BrokerLostError(str(self._disconnected.exception() or "the connection was closed"))
            self._news.clear()
            await self._news.wait()
        taken = [self._inbox.popleft() for _ in range(min(limit, len(self._inbox)))]
        self._taken += len(taken)
        return taken

    def acknowledge(self, messages: Sequence[Received]) -> None:
        self._taken -= len(messages)
        if self._disconnected.done():
            return
        for message in messages:
            if message.qos:
                self._client.ack(message.mid, message.qos)
        self._resume()

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        self._inbox.append(
            Received(
                topic,
                bytes(message.payload),
                message.qos,
                message.mid,
                message.retain,
                self._clock.now_ns(),
            )
        )
        self._news.set()
        sock = self._client.socket()
        if self._full and not self._paused and sock is not None:
            self._paused = True
            self._loop.remove_reader(sock)

    def _on_socket_open(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        super()._on_socket_open(client, userdata, sock)
        # replaces the reader that aiomqtt has just set, so that the same one can be set again after a pause
        self._loop.call_soon_threadsafe(self._loop.add_reader, sock.fileno(), self._read)

    def _read(self) -> None:
        try:
            self._client.loop_read()
        except (OSError, ValueError, LookupError, struct.error) as error:
            # paho's parser trusts the broker; what is not MQTT ends the connection
            if not self._disconnected.done():
                self._disconnected.set_exception(aiomqtt.MqttError(f"unreadable packet: {error}"))

    def _resume(self) -> None:
        sock = self._client.socket()
        if self._paused and not self._full and sock is not None:
            self._paused = False
            self._loop.add_reader(sock, self._read)

    def _ended(self, disconnected: asyncio.Future[None]) -> None:
        if not disconnected.cancelled():
            disconnected.exception()
        self._news.set()

    @property
    def _full(self) -> bool:
        return self.held >= self._limit


def _refused(code: object) -> bool:
    value = code if isinstance(code, int) else getattr(code, "value", math.nan)
    return not value < 0x80
