"""What lies below aiomqtt's interface: reading that can pause, acknowledging by hand, and a watched socket.

aiomqtt acknowledges a QoS 1 message as soon as it enters its queue: a crash before the commit loses it. This
file, and no other, reaches below aiomqtt's interface to change that. Written against aiomqtt 2.5.1 over
paho-mqtt 2.x; what it relies on that neither documents:

- ``aiomqtt.Client._client``: the paho client (``manual_ack_set``, ``ack``, ``loop_read``, ``loop_write``,
  ``disconnect`` and ``connect_timeout`` of it are documented);
- ``aiomqtt.Client._on_message``, ``_on_socket_open``, ``_on_socket_close`` and ``_on_socket_register_write``
  are the callbacks given to paho, so overriding them works; those of the socket may run in the connecting
  thread;
- ``paho.mqtt.client.Client._registered_write``: paho waits for the socket to take more;
- ``paho.mqtt.client.Client._create_socket_connection`` makes the TCP connection and may be replaced;
- ``paho.mqtt.client.Client._sock_recv`` is all that reads, a byte or a packet at a time, and may be replaced;
  ``_packet_queue`` sends bytes as they are, several packets in one piece too;
- ``aiomqtt.Client._connected`` and ``_disconnected``: futures that are done once the broker has answered and
  once the connection has ended; ``_loop``: the loop; ``_misc_loop`` and ``_misc_task``: keep-alive.

The test that kills a subscriber with SIGKILL proves that the acknowledgement waits for the commit.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import struct
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt import MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from adapters.broker import BrokerConnection
from adapters.mqtt_session import BrokerLostError, Credentials, Received, Session
from telemetry.clock import Clock

_UNHEARD = logging.getLogger(f"{__name__}.paho")
"""What paho tells its log comes as an error too."""
_UNHEARD.addHandler(logging.NullHandler())
_UNHEARD.propagate = False
_CHUNK = 65_536
"""Bytes that are read at once at most."""
_PUBACK = struct.Struct(">BBH")
"""Type, remaining length and packet identifier (MQTT 3.1.1, 3.4)."""


class WireClient(aiomqtt.Client):
    """aiomqtt's client, whose messages are taken and acknowledged by hand; dial before entering it."""

    def __init__(
        self, settings: BrokerConnection, clock: Clock, credentials: Credentials, session: Session
    ) -> None:
        newer = settings.version == "5"
        super().__init__(
            settings.host,
            settings.port,
            identifier=settings.client_id,
            username=settings.username,
            password=credentials.password,
            protocol=aiomqtt.ProtocolVersion.V5 if newer else aiomqtt.ProtocolVersion.V311,
            clean_session=None if newer else session.keep_s == 0,
            clean_start=session.keep_s == 0 if newer else paho.MQTT_CLEAN_START_FIRST_ONLY,
            properties=_properties(settings, session) if newer else None,
            tls_context=credentials.tls,
            will=session.will,
            keepalive=settings.keepalive_s,
            timeout=settings.timeout_s,
            logger=_UNHEARD,
            # small acknowledgements must not wait for each other (Nagle): 40 ms a piece otherwise
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        if credentials.tls is not None:
            credentials.tls.sslsocket_class = _ClosingSocket
        self._client.manual_ack_set(True)
        self._client.connect_timeout = settings.timeout_s
        self._client._create_socket_connection = self._dialled  # type: ignore[method-assign]
        self._client._sock_recv = self._receive  # type: ignore[method-assign]
        self._fault = ""
        """Why the socket could not be read any more."""
        self._ahead = b""
        self._ahead_at = 0
        self._address = (settings.host, settings.port)
        self._dial_s = settings.timeout_s
        self._wire: socket.socket | None = None
        self._handle: socket.socket | None = None
        self._clock = clock
        self._limit = settings.max_unacknowledged
        self._inbox: deque[Received] = deque()
        self._taken = 0
        self._paused = False
        self._news = asyncio.Event()

    @property
    def held(self) -> int:
        """Messages that are received and not acknowledged."""
        return len(self._inbox) + self._taken

    @property
    def ended(self) -> bool:
        """The connection is over; what is in memory can still be taken."""
        return self._disconnected.done()

    async def dial(self) -> None:
        """Makes the connection itself, which paho would do where nobody can interrupt it.

        Raises
        ------
        aiomqtt.MqttError
            No address of the broker answers in time.

        """
        loop = asyncio.get_running_loop()
        host, port = self._address
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise aiomqtt.MqttError(f"{host} cannot be found: {error.strerror or error}") from None
        except UnicodeError:  # of the resolver, before it asks anybody
            raise aiomqtt.MqttError(f"{host} is no name of a host") from None
        fault = f"{host} has no address"
        for family, kind, protocol, _, address in found:
            wire = socket.socket(family, kind, protocol)
            wire.setblocking(False)
            self._wire = wire
            try:
                async with asyncio.timeout(self._dial_s):
                    await loop.sock_connect(wire, address)
            except OSError as error:  # TimeoutError is one
                reason = os.strerror(error.errno) if error.errno else f"no answer within {self._dial_s:g} s"
                fault = f"{host}:{port} cannot be reached: {reason}"
                wire.close()
                continue
            wire.settimeout(self._dial_s)
            self._handle = wire.dup()
            return
        raise aiomqtt.MqttError(fault)

    def _dialled(self) -> socket.socket:
        if self._wire is None:
            raise ConnectionError("not dialled")
        return self._wire

    def hang_up(self) -> None:
        """Ends the connection under an attempt that is under way in a thread."""
        if self._handle is not None:
            with suppress(OSError):
                self._handle.shutdown(socket.SHUT_RDWR)

    def put_down(self) -> None:
        """The attempt is over: it need not be interrupted any more."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def watch(self) -> None:
        """Wakes the taker when the connection ends."""
        self._disconnected.add_done_callback(self._ended)

    def give_up(self) -> None:
        """Closes what a failed or cancelled connection attempt left open."""
        # not by a DISCONNECT, which would be written to a socket that is closed by then
        self._client._sock_close()
        if self._wire is not None:
            self._wire.close()

    async def take(self, limit: int) -> list[Received]:
        """Up to ``limit`` messages, as soon as there is one; BrokerLostError when none can come any more."""
        while not self._inbox:
            if self._disconnected.done():
                raise BrokerLostError(str(self._disconnected.exception() or "the connection was closed"))
            self._news.clear()
            await self._news.wait()
        taken = [self._inbox.popleft() for _ in range(min(limit, len(self._inbox)))]
        self._taken += len(taken)
        return taken

    def acknowledge(self, messages: Sequence[Received]) -> None:
        """Acknowledges messages, and reads on where that was paused."""
        self._taken -= len(messages)
        if self._disconnected.done():
            return
        acknowledgements = [_PUBACK.pack(0x40, 2, message.mid) for message in messages if message.qos]
        if acknowledgements:
            # in one piece: each alone would wake the broker, which costs both more than a message does
            self._client._packet_queue(0x40, b"".join(acknowledgements), 0, 0)
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
                bool(message.dup),
            )
        )
        self._news.set()
        sock = self._client.socket()
        if self._full and not self._paused and sock is not None:
            self._paused = True
            self._loop.remove_reader(sock)

    def _on_socket_open(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        # in place of aiomqtt's: the same reader can be set again after a pause, and a socket that is closed
        # by then is left alone, because its number may belong to another one
        self._loop.call_soon_threadsafe(self._opened, sock)

    def _opened(self, sock: Any) -> None:
        number: int = sock.fileno()
        if self._client.socket() is sock:
            self._loop.add_reader(number, self._read)
            self._misc_task = self._loop.create_task(self._misc_loop())

    def _on_socket_register_write(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        # in place of aiomqtt's, for the same reason
        self._loop.call_soon_threadsafe(self._watch_room, sock)

    def _watch_room(self, sock: Any) -> None:
        number: int = sock.fileno()
        if self._client.socket() is sock and self._client._registered_write:
            self._loop.add_writer(number, self._write)

    def _write(self) -> None:
        try:
            self._client.loop_write()
        except (OSError, ValueError, MQTTException) as error:
            if not self._disconnected.done():
                self._disconnected.set_exception(aiomqtt.MqttError(f"cannot be written to: {error}"))

    def _on_socket_close(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        super()._on_socket_close(client, userdata, sock)
        self._loop.call_soon_threadsafe(self._closed)

    def _closed(self) -> None:
        if not self._connected.done():
            # aiomqtt would wait for the answer until the timeout
            why = f" ({self._fault})" if self._fault else ""
            self._connected.set_exception(aiomqtt.MqttError(f"the broker hung up instead of an answer{why}"))
            self._connected.exception()

    def _receive(self, bufsize: int) -> bytes:
        """In place of paho's, which would ask the system four times for each message."""
        if self._ahead_at == len(self._ahead):
            try:
                self._ahead, self._ahead_at = paho.Client._sock_recv(self._client, _CHUNK), 0
            except BlockingIOError:
                raise
            except OSError as error:
                self._fault = str(error)
                raise
        found = self._ahead[self._ahead_at : self._ahead_at + bufsize]
        self._ahead_at += len(found)
        return found

    def _read(self) -> None:
        try:
            sound = self._client.loop_read() == paho.MQTT_ERR_SUCCESS
            # what was read already does not make the socket readable again
            while sound and self._read_already and not self._paused:
                sound = self._client.loop_read() == paho.MQTT_ERR_SUCCESS
        except (OSError, ValueError, LookupError, struct.error, MQTTException) as error:
            # paho's parser trusts the broker; what is not MQTT ends the connection
            if not self._disconnected.done():
                self._disconnected.set_exception(aiomqtt.MqttError(f"unreadable packet: {error}"))

    @property
    def _read_already(self) -> bool:
        """There are bytes that nobody has looked at: read ahead, or decrypted by TLS."""
        sock = self._client.socket()
        decrypted = sock.pending() if isinstance(sock, ssl.SSLSocket) else 0
        return self._ahead_at < len(self._ahead) or decrypted > 0

    def _resume(self) -> None:
        sock = self._client.socket()
        if self._paused and not self._full and sock is not None:
            self._paused = False
            self._loop.add_reader(sock, self._read)
            if self._read_already:
                self._loop.call_soon(self._read)

    def _ended(self, disconnected: asyncio.Future[None]) -> None:
        if not disconnected.cancelled():
            disconnected.exception()
        self._news.set()

    @property
    def _full(self) -> bool:
        return self.held >= self._limit


class _ClosingSocket(ssl.SSLSocket):
    """Closed when its handshake fails: paho forgets it then."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _properties(settings: BrokerConnection, session: Session) -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = session.keep_s
    properties.ReceiveMaximum = settings.max_unacknowledged
    return properties
