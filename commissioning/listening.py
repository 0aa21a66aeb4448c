"""Listens to a broker for a while; the one file of these probes that talks."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence

from adapters.broker import BrokerConnection
from adapters.broker_faults import PORT, TLS_PORT
from adapters.mqtt_client import ManualAckClient
from adapters.mqtt_session import Credentials, Received, Session, SubscriptionRefusedError
from adapters.tls import TlsSettings
from telemetry.clock import Clock
from telemetry.errors import ConfigError, GreenbridgeError, Problem

_AT_ONCE = 500


class BrokerNameError(GreenbridgeError):
    """What was given is no broker."""


def connection(
    broker: str,
    *,
    username: str | None = None,
    password_file: str | None = None,
    tls: TlsSettings | None = None,
) -> BrokerConnection:
    """Settings of a connection that no session remembers, for HOST[:PORT].

    Raises
    ------
    BrokerNameError
        It is not of that form.

    """
    host, colon, number = broker.rpartition(":")
    if not colon:
        host, number = broker, str(TLS_PORT if tls is not None else PORT)
    if not host or not number.isdecimal() or not 0 < int(number) < 65536:
        raise BrokerNameError(f"{broker} is no broker; give HOST or HOST:PORT, as 192.0.2.20:1883")
    return BrokerConnection(
        id="main",
        host=host.strip("[]"),
        port=int(number),
        client_id=f"greenbridge-probe-{secrets.token_hex(4)}",
        username=username,
        password_file=password_file,
        tls=tls,
    )


Heard = Callable[[Received], Mapping[str, bytes]]
"""Takes a message; returns what is to be published because of it, payloads by topic."""


class Listener:
    """Hears the topics of a broker for some seconds; publishes nothing but what ``heard`` asks for."""

    def __init__(
        self, settings: BrokerConnection, topics: Sequence[str], heard: Heard, clock: Clock, seconds: float
    ) -> None:
        self._settings, self._topics, self._heard = settings, topics, heard
        self._clock, self._seconds = clock, seconds

    async def run(self) -> None:
        """Listens until the time is up.

        Raises
        ------
        BrokerLostError
            The broker cannot be reached, or the connection ended.
        SubscriptionRefusedError
            It does not let us hear.
        ConfigError
            The password or a certificate cannot be read.

        """
        tls = self._settings.tls
        context = None if tls is None else tls.context("probe")
        credentials = Credentials(self._settings.password({}), context)
        client = ManualAckClient(self._settings, self._clock, credentials, Session())
        async with client:
            hearing = asyncio.create_task(self._hear(client), name="probe hear")
            waiting = asyncio.create_task(self._clock.sleep(self._seconds), name="probe wait")
            try:
                refused = await client.subscribe(self._topics)
                if refused:
                    raise SubscriptionRefusedError(
                        f"the broker refuses {', '.join(refused)}; let this user read it, or name another"
                    )
                await asyncio.wait({hearing, waiting}, return_when=asyncio.FIRST_COMPLETED)
                if hearing.done():
                    hearing.result()
            finally:
                for task in (hearing, waiting):
                    task.cancel()
                await asyncio.gather(hearing, waiting, return_exceptions=True)

    async def _hear(self, client: ManualAckClient) -> None:
        while True:
            messages = await client.take(_AT_ONCE)
            for message in messages:
                for topic, payload in self._heard(message).items():
                    await client.publish(topic, payload)
            client.acknowledge(messages)


def usable_level(name: str) -> str:
    """The name of one level of a topic as it is.

    Raises
    ------
    ConfigError
        It has several levels, or none.

    """
    if not name or "/" in name:
        fix = "name one group, as it stands between two slashes of a topic"
        raise ConfigError([Problem("probe", "--group", f'"{name}"', "not one level of a topic", fix)])
    return name


def usable_filter(topic: str) -> str:
    """A topic filter as it is.

    Raises
    ------
    ConfigError
        It is none (MQTT 3.1.1, 4.7.1).

    """
    levels = topic.split("/")
    wild = [level for level in levels if ("#" in level or "+" in level) and level not in {"#", "+"}]
    if not topic or "\x00" in topic or wild or "#" in levels[:-1]:
        fix = "write + for one whole level, # for all that follow at the end"
        raise ConfigError([Problem("probe", "TOPIC", f'"{topic}"', "not a topic filter", fix)])
    return topic
