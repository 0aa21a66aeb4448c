"""Server-sent events (WHATWG HTML, section 9.2): one open page.

The response ends by itself when the client leaves, when its session ends and when the server stops: uvicorn
would wait for an open stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from starlette.types import Receive, Scope, Send

from console import metrics
from console.feed import Feed, Snapshot, changes

SEND_TIMEOUT_S = 15.0
"""A client that takes no bytes for so long is let go [s]."""

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


def frame(name: str, data: object) -> bytes:
    """One event on the wire; JSON has no raw line breaks, so that one data line is enough."""
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"


class EventStream:
    """An ASGI response that follows the feed.

    Arguments
    ---------
    feed
        Where the snapshots come from.
    entitled
        Asked before every event whether the session still holds.

    """

    def __init__(self, feed: Feed, entitled: Callable[[], bool]) -> None:
        self._feed = feed
        self._entitled = entitled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Streams until one of the three sides ends it."""
        metrics.STREAMS.inc()
        following = asyncio.create_task(self._follow(send), name="console stream")
        leaving = asyncio.create_task(_left(receive), name="console stream watch")
        try:
            done, _ = await asyncio.wait({following, leaving}, return_when=asyncio.FIRST_COMPLETED)
            reason = following.result() if following in done else "client left"
        finally:
            metrics.STREAMS.dec()
            for task in (following, leaving):
                task.cancel()
            await asyncio.gather(following, leaving, return_exceptions=True)
        metrics.STREAMS_ENDED.labels(reason).inc()

    async def _follow(self, send: Send) -> str:
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
                # the page may try again soon: this server is on the same machine or network
                await _write(send, b"retry: 1000\n\n")
            sent: Snapshot | None = None
            number = 0
            while (turn := await self._feed.next(number)) is not None:
                if not self._entitled():
                    reason = "session over"
                    break
                number, snapshot = turn
                events = changes(sent, snapshot)
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await _write(send, b"".join(frame(name, data) for name, data in events))
                for name, _ in events:
                    metrics.EVENTS.labels(name).inc()
                sent = snapshot
            else:
                reason = "server stops"
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            return "client too slow"
        return reason


async def _write(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
