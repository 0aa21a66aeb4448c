"""Connections that cannot be held for nothing: a request comes whole in time, and one address has not all."""

from __future__ import annotations

import asyncio
from ipaddress import ip_address
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from console import metrics

_CLIENTS_TURN = frozenset({h11.IDLE, h11.SEND_BODY})


class Connection(H11Protocol):
    """uvicorn's protocol with two bounds more; what crosses one is let go, and counted.

    Parameters
    ----------
    request_s
        Longest time from the first byte of a request to its last [s]; what it takes to answer does not count.
    per_address
        Most connections of one address; None for any number. This machine's own addresses have no bound.

    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        request_s: float,
        per_address: int | None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._request_s = request_s
        self._per_address = per_address
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins with the time for the first request."""
        super().connection_made(transport)
        if self._per_address is not None and self._neighbours() > self._per_address:
            self._let_go("address")
            return
        self._deadline = self.loop.call_later(self._request_s, self._late)

    def data_received(self, data: bytes) -> None:
        """Takes a piece of a request; the time goes on until it is whole."""
        super().data_received(data)
        if self.conn.their_state not in _CLIENTS_TURN:
            self._stop()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self._request_s, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends with the connection."""
        self._stop()
        super().connection_lost(exc)

    def _neighbours(self) -> int:
        """Connections of the same address, this one included; 0 for an address of this machine."""
        if self.client is None or ip_address(self.client[0].partition("%")[0]).is_loopback:
            return 0
        others = [other for other in self.connections if isinstance(other, Connection)]
        return sum(other.client is not None and other.client[0] == self.client[0] for other in others)

    def _late(self) -> None:
        self._deadline = None
        if self.conn.their_state in _CLIENTS_TURN:
            self._let_go("slow")

    def _let_go(self, reason: str) -> None:
        metrics.REFUSED.labels(reason).inc()
        self.transport.abort()

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
