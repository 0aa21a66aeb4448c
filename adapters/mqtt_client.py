"""An MQTT client that acknowledges only when told to, and holds a bounded number of messages."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import aiomqtt

from adapters.broker import BrokerConnection
from adapters.broker_faults import explained
from adapters.mqtt_session import BrokerLostError, Credentials, Received, Session
from adapters.mqtt_wire import WireClient
from telemetry.clock import Clock


class ManualAckClient:
    """One connection; messages are taken, made durable by the caller, and then acknowledged.

    At most ``max_unacknowledged`` messages are held between the socket and the acknowledgement. At that limit
    the socket is not read, so that the broker waits: nothing is dropped, QoS 0 included. With MQTT 5 the
    broker knows the limit too (Receive Maximum, MQTT 5.0, 3.1.2.11.3).
    """

    def __init__(
        self, settings: BrokerConnection, clock: Clock, credentials: Credentials, session: Session
    ) -> None:
        self._client = WireClient(settings, clock, credentials, session)
        self._address, self._tls = (settings.host, settings.port), settings.tls is not None
        self._timeout_s = settings.timeout_s

    async def __aenter__(self) -> Self:
        try:
            await self._client.dial()
            # from here on a thread is at work, which only the end of its connection interrupts
            attempt = asyncio.ensure_future(self._client.__aenter__())
            try:
                await asyncio.shield(attempt)
            except asyncio.CancelledError:
                self._client.hang_up()
                await asyncio.wait([attempt])
                if not attempt.cancelled():
                    attempt.exception()
                raise
        except BaseException as error:
            self._client.give_up()
            if isinstance(error, aiomqtt.MqttError):
                host, port = self._address
                raise BrokerLostError(explained(host, port, str(error), tls=self._tls)) from None
            raise
        finally:
            self._client.put_down()
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

    @property
    def ended(self) -> bool:
        """The connection is over; what is in memory can still be taken."""
        return self._client.ended

    async def subscribe(self, topics: Sequence[str]) -> list[str]:
        """Subscribes with QoS 1; returns those topics that the broker refused.

        Raises
        ------
        BrokerLostError
            No answer, or the connection ended.

        """
        try:
            async with asyncio.timeout(self._timeout_s):
                codes = await self._client.subscribe([(topic, 1) for topic in topics], timeout=math.inf)
        except (aiomqtt.MqttError, TimeoutError) as error:
            raise BrokerLostError(f"subscribe: {str(error) or 'no answer'}") from None
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
            async with asyncio.timeout(self._timeout_s):
                await self._client.unsubscribe(topic, timeout=math.inf)
        except (aiomqtt.MqttError, TimeoutError) as error:
            raise BrokerLostError(f"unsubscribe: {str(error) or 'no answer'}") from None

    async def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Publishes; with QoS 1 it returns when the broker has the message.

        Raises
        ------
        BrokerLostError
            No answer, or the connection ended.

        """
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._client.publish(topic, payload, qos, retain, timeout=math.inf)
        except (aiomqtt.MqttError, TimeoutError) as error:
            raise BrokerLostError(f"publish: {str(error) or 'no answer'}") from None

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


def _refused(code: object) -> bool:
    value = code if isinstance(code, int) else getattr(code, "value", math.nan)
    return not value < 0x80
