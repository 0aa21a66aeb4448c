"""A connection to the broker, with the settings that every publishing device shares."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiomqtt

from simulators.bench import Broker

FIRST_RETRY_S, LAST_RETRY_S = 0.25, 5.0
Address = tuple[str, int]
"""Host and port."""
KEEPALIVE_S = 10
"""Silence after which a client asks whether the broker is there [s]."""


@asynccontextmanager
async def connection(
    broker: Broker, will: aiomqtt.Will | None = None, via: Address | None = None
) -> AsyncIterator[aiomqtt.Client]:
    """Connects with a clean session, through a relay if there is one, and says DISCONNECT at the end.

    :func:`knock` first.

    The client waits without a limit of its own: aiomqtt would set one by ``asyncio.wait_for``, which until
    Python 3.12 loses a cancellation that comes in the same turn of the loop as the awaited answer, and the
    task would never end. Callers bound each wait with ``asyncio.timeout``.

    Raises
    ------
    aiomqtt.MqttError
        The broker cannot be reached or refuses.
    TimeoutError
        It does not answer in time.

    """
    client = aiomqtt.Client(
        *(via or (broker.host, broker.port)),
        username=broker.username or None,
        password=broker.password or None,
        tls_context=_tls(broker),
        keepalive=KEEPALIVE_S,
        timeout=math.inf,
        clean_session=True,
        max_inflight_messages=broker.in_flight,
        will=will,
    )
    client.pending_calls_threshold = broker.in_flight
    async with asyncio.timeout(broker.ack_timeout_s):
        await client.__aenter__()
    try:
        yield client
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(broker.ack_timeout_s):
                await client.__aexit__(None, None, None)


async def knock(broker: Broker, via: Address | None = None) -> None:
    """Finds out whether there is a broker at all, and the relay that leads to it, which stands without one.

    Raises
    ------
    aiomqtt.MqttError
        Nobody listens there.
    TimeoutError
        Nothing answers in time.

    """
    try:
        async with asyncio.timeout(broker.ack_timeout_s):
            for address in [*([via] if via else []), (broker.host, broker.port)]:
                _, writer = await asyncio.open_connection(*address)
                writer.close()
    except TimeoutError:
        raise
    except OSError as error:
        raise aiomqtt.MqttError(error.strerror or str(error)) from None


class _Context(ssl.SSLContext):
    """Expects the name of the broker, whatever the address that leads to it."""

    expected = ""

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """Wraps a socket as usual."""
        return super().wrap_socket(*arguments, **options | {"server_hostname": self.expected})


def _tls(broker: Broker) -> ssl.SSLContext | None:
    if not broker.ca_file:
        return None
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.expected = broker.host
    context.load_verify_locations(broker.ca_file)
    if broker.certificate_file:
        context.load_cert_chain(broker.certificate_file, broker.key_file or None)
    return context
