"""A TCP proxy in front of a real port, a device's or a broker's: plays the faults of a link on answers."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from simulators.faults.frames import FrameCutter
from simulators.faults.link import LinkFaults
from telemetry.clock import Clock
from telemetry.errors import UnavailableError

_CHUNK = 65536


class LinkProxy:
    """Listens where clients expect the device. ``async with`` listens, leaving closes every connection.

    ``faults`` is shared with its owner, who changes it at any time; :meth:`refresh` makes the change of
    whether connections are accepted take effect.

    Raises
    ------
    UnavailableError
        On entering: the port cannot be listened on.

    """

    def __init__(
        self, name: str, listen: tuple[str, int], device: tuple[str, int], faults: LinkFaults, clock: Clock
    ) -> None:
        self.name = name
        self.faults = faults
        self._listen = listen
        self._device = device
        self._clock = clock
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()
        self.connections = 0
        """Connections accepted so far."""

    @property
    def port(self) -> int:
        """Port that is, or was last, listened on."""
        return self._listen[1]

    @property
    def address(self) -> tuple[str, int]:
        """Host and port where it listens."""
        return self._listen

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def refresh(self) -> None:
        """Closes the port and breaks off every connection if the link is down, listens again if it is not."""
        if not self.faults.accepts:
            await self._close()
        elif self._server is None:
            await self._open()

    async def _open(self) -> None:
        try:
            self._server = await asyncio.start_server(self._accept, *self._listen)
        except OSError as error:
            raise UnavailableError(
                f"link {self.name}: cannot listen on {self._listen[0]}:{self._listen[1]} "
                f"({error.strerror or error}); stop what holds the port or choose another"
            ) from None
        self._listen = (self._listen[0], int(self._server.sockets[0].getsockname()[1]))

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for session in self._sessions:
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = asyncio.current_task()
        if session is None or self._server is None:
            writer.transport.abort()  # accepted in the very moment in which the port was closed
            return
        self._sessions.add(session)
        session.add_done_callback(self._sessions.discard)
        self.connections += 1
        try:
            await self._relay(reader, writer)
        except (OSError, asyncio.CancelledError):
            # the client, the device or the owner ended it: for the others it is over too
            return
        finally:
            writer.transport.abort()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        device_reader, device_writer = await asyncio.open_connection(*self._device)
        answers = asyncio.create_task(self._answer(device_reader, writer), name=f"link-{self.name}")
        try:
            while data := await reader.read(_CHUNK):
                device_writer.write(data)
                await device_writer.drain()
        finally:
            answers.cancel()
            device_writer.transport.abort()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await answers

    async def _answer(self, device: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        cutter = FrameCutter(self.faults.framing)
        while data := await device.read(_CHUNK):
            for frame in cutter.feed(data):
                for piece in self.faults.answer(frame):
                    if piece.after_s > 0:
                        await self._clock.sleep(piece.after_s)
                    client.write(piece.data)
                    await client.drain()
        client.transport.abort()
