"""How commands reach a running greenbridge: a socket in its state directory that only its user can open.

One request and one answer for each connection, each a line of JSON.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import structlog

from telemetry.errors import GreenbridgeError, UnavailableError

log = structlog.get_logger(__name__)

SOCKET = "control.sock"
MAX_LINE = 1 << 22
"""Longest request and answer [bytes]."""
_TIMEOUT_S = 10.0
_CREDENTIALS = struct.Struct("3i")
"""struct ucred (unix(7), SO_PEERCRED): process, user and group."""


class CommandFailedError(GreenbridgeError):
    """A command ended in a fault of the program: what it has done is not known."""


Answer = Callable[[dict[str, Any], str], Awaitable[dict[str, Any]]]
"""Takes a request and who sent it."""


@contextmanager
def _short(directory: Path) -> Iterator[Path]:
    """The directory by a path short enough for a socket's address, which holds 108 bytes (unix(7))."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{handle}")
    finally:
        os.close(handle)


@asynccontextmanager
async def listening(state: Path, answer: Answer) -> AsyncIterator[None]:
    """Answers requests while the context is open; the caller holds the state directory.

    Raises
    ------
    GreenbridgeError
        The socket cannot be made.

    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        who = _peer(writer.get_extra_info("socket"))
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                line = await reader.readline()
            request = msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.DecodeError, ValueError, TimeoutError) as error:
            reply = {"error": f"the request cannot be understood: {str(error) or 'it does not come'}"}
        else:
            reply = await _reply(answer, request, who)
        try:
            writer.write(msgspec.json.encode(reply) + b"\n")
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        except ConnectionError as error:
            log.info("control_client_left", who=who, error=str(error))

    file = state / SOCKET
    file.unlink(missing_ok=True)  # left by a process that was killed
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(state) as directory:
            before = os.umask(0o177)
            try:
                listener.bind(str(directory / SOCKET))
            finally:
                os.umask(before)
    except OSError as error:
        listener.close()
        raise GreenbridgeError(f"the control socket {file} cannot be made: {error.strerror}") from error
    server = await asyncio.start_unix_server(serve, sock=listener, limit=MAX_LINE)
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()
        file.unlink(missing_ok=True)


async def _reply(answer: Answer, request: dict[str, Any], who: str) -> dict[str, Any]:
    """The answer, or why there is none; whatever went wrong is said, since somebody waits for it."""
    task = asyncio.ensure_future(answer(request, who))
    try:
        await asyncio.wait({task})
    finally:
        task.cancel()
    error = None if task.cancelled() else task.exception()
    if task.cancelled():
        return {"error": "greenbridge is ending; ask again when it runs"}
    if error is None:
        return task.result()
    if isinstance(error, GreenbridgeError):
        return {"error": str(error)}
    command = str(request.get("command"))[:80]
    log.error("control_command_failed", command=command, who=who, exc_info=error)
    said = f"{type(error).__name__}: {error}"
    return {"failed": f"{command!r} failed unexpectedly ({said}); what it has done is not known, see the log"}


async def routed(commands: Mapping[str, Answer], request: dict[str, Any], who: str) -> dict[str, Any]:
    """Answers a request by the part that its command names.

    Raises
    ------
    GreenbridgeError
        There is no such command, or it is refused.

    """
    answer = commands.get(str(request.get("command")))
    if answer is None:
        raise GreenbridgeError(f"there is no command {str(request.get('command'))[:80]!r}")
    return await answer(request, who)


def _peer(connection: socket.socket) -> str:
    """Who is at the other end, as the kernel says."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    process, user, _ = _CREDENTIALS.unpack(raw)
    try:
        name = f" ({pwd.getpwuid(user).pw_name})"
    except KeyError:
        name = ""
    return f"uid {user}{name}, process {process}"


async def ask(state: Path, request: dict[str, Any]) -> dict[str, Any]:
    """Asks the greenbridge that runs on a state directory.

    Raises
    ------
    UnavailableError
        None runs there, or it is another user's.
    CommandFailedError
        It did not get to the end.
    GreenbridgeError
        It refuses, with the reason.

    """
    try:
        with _short(state) as directory:
            reader, writer = await asyncio.open_unix_connection(str(directory / SOCKET), limit=MAX_LINE)
    except PermissionError:
        raise UnavailableError(
            f"the greenbridge on {state} belongs to another user; run this as that user"
        ) from None
    except OSError as error:
        raise UnavailableError(
            f"no greenbridge runs on the state directory {state} ({error.strerror})"
        ) from None
    try:
        writer.write(msgspec.json.encode(request) + b"\n")
        await writer.drain()
        line = await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()
    if not line:
        raise UnavailableError(f"the greenbridge on {state} ended before it answered")
    reply = msgspec.json.decode(line, type=dict[str, Any])
    if "failed" in reply:
        raise CommandFailedError(reply["failed"])
    if "error" in reply:
        raise GreenbridgeError(reply["error"])
    return reply
