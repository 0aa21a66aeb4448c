"""The control interface: a JSON API to see what the bench does and to inject and clear faults.

``GET /api/v1/status``, ``POST /api/v1/faults`` with ``{"kind": "tap", "line": ..., "mw": ...}``, and
``DELETE /api/v1/faults/{id}``. It has no sign-in: it belongs on loopback or a closed network.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Generator
from typing import Any, Literal

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from simulators.exercise import Announcement, Exercise, Fault, FaultError, NoSuchFaultError
from telemetry.clock import Clock

MAX_BODY = 10_000
"""Largest accepted request [B]."""


class TapRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Asks for a load in the middle of a line."""

    kind: Literal["tap"]
    line: str
    mw: float


class Status(msgspec.Struct):
    """What the bench does."""

    started_ns: int
    speed: float
    """Simulated seconds per second."""
    steps: int
    collapse: str | None
    """Why the simulated grid is down, if it is."""
    announcements: tuple[Announcement, ...]
    """Newest last."""
    faults: tuple[Fault, ...]


def application(exercise: Exercise, clock: Clock, status: Callable[[], Status]) -> Starlette:
    """The API over an exercise."""

    async def show(_request: Request) -> Response:
        return _json(200, status())

    async def inject(request: Request) -> Response:
        wanted = msgspec.json.decode(await _body(request), type=TapRequest)
        return _json(201, exercise.tap(wanted.line, wanted.mw, clock.now_ns()))

    async def clear(request: Request) -> Response:
        return _json(200, exercise.clear(request.path_params["id"], clock.now_ns()))

    return Starlette(
        routes=[
            Route("/api/v1/status", show, methods=["GET"]),
            Route("/api/v1/faults", inject, methods=["POST"]),
            Route("/api/v1/faults/{id}", clear, methods=["DELETE"]),
        ],
        exception_handlers={
            msgspec.DecodeError: _refused(400),
            FaultError: _refused(422),
            NoSuchFaultError: _refused(404),
            HTTPException: _http_error,
        },
    )


class ControlServer(uvicorn.Server):
    """Serves the API in the bench's own event loop; signals are left to the process that owns the loop."""

    def __init__(self, app: Starlette) -> None:
        super().__init__(
            uvicorn.Config(
                app, lifespan="off", ws="none", access_log=False, log_config=None, timeout_graceful_shutdown=1
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Installs no signal handler."""
        yield

    async def run_on(self, listener: socket.socket) -> None:
        """Serves on a bound socket until :attr:`should_exit` is set; closes the socket."""
        await self.serve(sockets=[listener])


async def _body(request: Request) -> bytes:
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise HTTPException(413, f"the request is larger than {MAX_BODY} bytes")
    except ClientDisconnect:
        raise HTTPException(400, "the request ended early") from None
    return body


def _json(status: int, content: Any) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def _refused(status: int) -> Callable[[Request, Exception], Response]:
    def handler(_request: Request, error: Exception) -> Response:
        return _json(status, {"error": str(error)})

    return handler


def _http_error(_request: Request, error: Exception) -> Response:
    known = error if isinstance(error, HTTPException) else HTTPException(500)
    return _json(known.status_code, {"error": known.detail})
