"""A raw pipelined Modbus TCP client, run as a process of its own: asks, compares every byte, counts.

``python -m benchmarks.modbus_client PORT CONNECTIONS DEPTH SECONDS`` prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import cast

from simulators.load.answers import HOLDING, word_at

REGISTERS = 100
"""Registers in one read."""
_VARIANTS = 50
"""Different bursts of a connection, so that answers differ from one to the next."""
GIVE_UP_S = 10.0
"""Silence after which a run is failed [s]."""


UNITS = 10
Burst = tuple[bytes, bytes]
"""Requests, and all their answers."""


def burst(unit: int, number: int, depth: int) -> Burst:
    """A burst of reads of one unit."""
    requests, answers = [], []
    for i in range(depth):
        transaction = (number * depth + i) % 0x10000
        address = (number * depth + i) * 7 % 1000
        words = [word_at(HOLDING, unit, address + k) for k in range(REGISTERS)]
        requests.append(struct.pack(">HHHBBHH", transaction, 0, 6, unit, HOLDING, address, REGISTERS))
        answers.append(
            struct.pack(">HHHBBB", transaction, 0, 3 + 2 * REGISTERS, unit, HOLDING, 2 * REGISTERS)
            + struct.pack(f">{REGISTERS}H", *words)
        )
    return b"".join(requests), b"".join(answers)


class Asker(asyncio.Protocol):
    """One connection: a burst goes out when all answers of the last one came back as they should."""

    def __init__(self, bursts: Sequence[Burst], depth: int, end: float) -> None:
        self._bursts = bursts
        self._depth = depth
        self._end = end
        self._number = 0
        self._got = b""
        self.answered = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"connection lost: {exc}")

    def data_received(self, data: bytes) -> None:
        self._got = self._got + data if self._got else data
        due = self._bursts[self._number][1]
        if len(self._got) < len(due):
            return
        if self._got != due:
            self._fail("an answer is not the one that is due")
            return
        self._got = b""
        self.answered += self._depth
        self._number = (self._number + 1) % _VARIANTS
        if time.perf_counter() < self._end:
            self._ask()
        elif not self.done.done():
            self.done.set_result(None)
            self._transport.close()

    def _ask(self) -> None:
        self._transport.write(self._bursts[self._number][0])

    def _fail(self, reason: str) -> None:
        if not self.done.done():
            self.done.set_exception(RuntimeError(reason))
        self._transport.abort()


def _same(asker: Asker) -> Asker:
    return asker


async def ask(port: int, connections: int, depth: int, seconds: float) -> dict[str, float]:
    """Asks for a time; the clock runs from the first request to the last answer."""
    bursts = [[burst(unit, n, depth) for n in range(_VARIANTS)] for unit in range(1, UNITS + 1)]
    loop = asyncio.get_running_loop()
    begin = time.perf_counter()
    askers: list[Asker] = []
    for connection in range(connections):
        asker = Asker(bursts[connection % UNITS], depth, begin + seconds)
        await loop.create_connection(partial(_same, asker), "127.0.0.1", port)
        askers.append(asker)
    async with asyncio.timeout(seconds + GIVE_UP_S):
        await asyncio.gather(*(asker.done for asker in askers))
    return {"count": sum(asker.answered for asker in askers), "seconds": time.perf_counter() - begin}


if __name__ == "__main__":
    port, connections, depth = map(int, sys.argv[1:4])
    print(json.dumps(asyncio.run(ask(port, connections, depth, float(sys.argv[4])))))
