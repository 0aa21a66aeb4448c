"""The load responder as a process of its own: prints its port, ends with its input.

``python -m benchmarks.modbus_responder [ANSWERING]``: with a number, only units up to it answer; the others
keep silent, as behind a gateway that says nothing of a device that is away.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

from simulators.load.answers import Answers
from simulators.load.config import ModbusLoad
from simulators.load.modbus import LoadResponder

_UNITS = 247
_REQUEST = 12


@contextmanager
def responder(answering: int | None = None) -> Iterator[int]:
    """The port of a responder that runs until the end of the block."""
    pipe = subprocess.PIPE
    arguments = [sys.executable, "-m", "benchmarks.modbus_responder"]
    if answering is not None:
        arguments.append(str(answering))
    with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a process without pipes")
        try:
            told = process.stdout.readline()
            if not told:
                raise RuntimeError("the responder ended at once; its message is above")
            yield int(told)
        finally:
            process.stdin.close()


class _HalfDead(asyncio.Protocol):
    """Answers whole requests of the units up to a number."""

    def __init__(self, answering: int) -> None:
        self._answering = answering
        self._answers = Answers(_UNITS)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        for at in range(0, len(data), _REQUEST):
            request = data[at : at + _REQUEST]
            if request[6] <= self._answering:
                self._transport.write(request[:2] + self._answers.read(request[2:]))


async def _serve(answering: int | None) -> None:
    if answering is None:
        async with LoadResponder(ModbusLoad(port=0)) as load:
            await _until_the_end(load.ports[0])
        return
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _HalfDead(answering), "127.0.0.1", 0)
    await _until_the_end(server.sockets[0].getsockname()[1])
    server.close()


async def _until_the_end(port: int) -> None:
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]) if len(sys.argv) > 1 else None))
