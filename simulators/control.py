"""The control interface: a JSON API to see what the bench does, and to make things go wrong on it.

It has no sign-in: it belongs on loopback or a closed network, and takes no changes from a web page, which a
browser on the same machine might be showing. ``simulators/README.md`` lists the requests.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
import uvicorn
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from simulators.devices.payloads import Said
from simulators.devices.registers import Held
from simulators.exercise import Announcement, Exercise, FaultError, NoSuchFaultError
from simulators.faults.complaints import complaints
from simulators.faults.model import FAULT, parameters
from telemetry.clock import Clock, Pace, SystemClock
from telemetry.settings import nearest

SPEEDS = (0.1, 1000.0)
"""Limits of the time factor."""

MAX_BODY = 10_000
"""Largest accepted request [B]."""


NOTICE_S = 2.5
"""Real time from the request for another speed to the change, so that those who share the time follow [s]."""


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
    faults: list[dict[str, Any]]
    """Active ones and the latest that were cleared, oldest first."""
    pace: Pace | None = None
    """How time runs, or will run from a moment in the near future on; for those who share it."""


class Controlled(Protocol):
    """What the interface shows and changes."""

    @property
    def exercise(self) -> Exercise:
        """Faults and announcements."""
        ...

    @property
    def units(self) -> Mapping[str, object]:
        """Devices that answer on Modbus, by their id."""
        ...

    @property
    def publishers(self) -> Collection[str]:
        """Ids of the devices that publish over MQTT."""
        ...

    def status(self) -> Status:
        """What the bench does."""
        ...

    def registers(self, device_id: str) -> Sequence[Held]:
        """What every register of a device holds right now."""
        ...

    def said(self, device_id: str) -> Sequence[Said]:
        """What a publishing device said last on each of its topics."""
        ...

    def restore(self) -> None:
        """Energises again what has collapsed."""
        ...


class _ClockRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Asks for another time factor."""

    speed: float


class _NoSuchDeviceError(FaultError):
    """No device of that id."""


def application(bench: Controlled, clock: Clock) -> Starlette:
    """The API over a bench."""

    def status() -> Status:
        shown = bench.status()
        if isinstance(clock, SystemClock):
            shown.speed, shown.pace = clock.pace.speed, clock.upcoming
        return shown

    async def show(_request: Request) -> Response:
        return _json(200, status())

    async def kinds(_request: Request) -> Response:
        shown = {
            kind: {
                "what": entry.what,
                "target": entry.target,
                "targets": bench.exercise.targets(entry.where),
                "parameters": entry.parameters,
            }
            for kind, entry in parameters().items()
        }
        return _json(200, shown)

    async def faults(_request: Request) -> Response:
        return _json(200, [injected.document() for injected in bench.exercise.faults])

    async def inject(request: Request) -> Response:
        wanted = msgspec.json.decode(await _body(request), type=dict[str, Any])
        for_s = wanted.pop("for_s", None)
        if for_s is not None and (isinstance(for_s, bool) or not isinstance(for_s, int | float)):
            raise FaultError(f"for_s = {for_s!r} must be a number of seconds")
        injected = bench.exercise.inject(FAULT.validate_python(wanted), clock.now_ns(), for_s)
        return _json(201, injected.document())

    async def clear(request: Request) -> Response:
        return _json(200, bench.exercise.clear(request.path_params["id"], clock.now_ns()).document())

    async def clear_all(_request: Request) -> Response:
        cleared = bench.exercise.clear_all(clock.now_ns())
        return _json(200, [injected.document() for injected in cleared])

    async def devices(_request: Request) -> Response:
        return _json(200, sorted([*bench.units, *bench.publishers]))

    async def registers(request: Request) -> Response:
        device = request.path_params["id"]
        if device in bench.publishers:
            return _json(200, bench.said(device))
        if device not in bench.units:
            known = [*bench.units, *bench.publishers]
            raise _NoSuchDeviceError(f'no device "{device}" ({nearest(device, known)})')
        return _json(200, bench.registers(device))

    async def retime(request: Request) -> Response:
        if not isinstance(clock, SystemClock):
            raise FaultError("the clock of this bench cannot be changed")
        wanted = msgspec.json.decode(await _body(request), type=_ClockRequest)
        low, high = SPEEDS
        if not low <= wanted.speed <= high:
            raise FaultError(f"speed = {wanted.speed:g} must be {low:g} to {high:g}")
        clock.set_speed(wanted.speed, NOTICE_S)
        return _json(200, _pace(clock.upcoming))

    async def restore(_request: Request) -> Response:
        bench.restore()
        return _json(200, status())

    return Starlette(
        routes=[
            Route("/api/v1/status", show, methods=["GET"]),
            Route("/api/v1/faults", faults, methods=["GET"]),
            Route("/api/v1/faults", inject, methods=["POST"]),
            Route("/api/v1/faults", clear_all, methods=["DELETE"]),
            Route("/api/v1/faults/kinds", kinds, methods=["GET"]),
            Route("/api/v1/faults/{id}", clear, methods=["DELETE"]),
            Route("/api/v1/devices", devices, methods=["GET"]),
            Route("/api/v1/devices/{id}/registers", registers, methods=["GET"]),
            Route("/api/v1/clock", retime, methods=["PUT"]),
            Route("/api/v1/grid/restore", restore, methods=["POST"]),
        ],
        middleware=[Middleware(_NoWebPages)],
        exception_handlers={
            msgspec.DecodeError: _refused(400),
            msgspec.ValidationError: _refused(400),
            RecursionError: _too_deep,
            ValidationError: _invalid,
            FaultError: _refused(422),
            NoSuchFaultError: _refused(404),
            _NoSuchDeviceError: _refused(404),
            HTTPException: _http_error,
        },
    )


class _NoWebPages:
    """Refuses what only a browser sends for a page: a change with an ``Origin`` (Fetch standard, 3.2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] != "GET" and "origin" in Headers(scope=scope):
            refusal = _json(
                403, {"error": "a web page may not change the simulators; use greenbridge faults"}
            )
            await refusal(scope, receive, send)
        else:
            await self._app(scope, receive, send)


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


def _pace(pace: Pace) -> dict[str, Any]:
    """A pace, and the environment of a process that is to share it."""
    return {
        "speed": pace.speed,
        "wall_ns": pace.wall_ns,
        "epoch_ns": pace.epoch_ns,
        "environment": {
            "GREENBRIDGE_SPEED": f"{pace.speed:g}",
            "GREENBRIDGE_START": _iso(pace.wall_ns),
            "GREENBRIDGE_EPOCH": _iso(pace.epoch_ns),
        },
    }


def _iso(t_ns: int) -> str:
    return datetime.fromtimestamp(t_ns / 1e9, UTC).isoformat()


def _invalid(_request: Request, error: Exception) -> Response:
    told = complaints(error) if isinstance(error, ValidationError) else []
    return _json(400, {"error": "; ".join(told)})


def _too_deep(_request: Request, _error: Exception) -> Response:
    return _json(400, {"error": "the request is nested too deep"})


def _http_error(_request: Request, error: Exception) -> Response:
    known = error if isinstance(error, HTTPException) else HTTPException(500)
    return _json(known.status_code, {"error": known.detail})
