"""A raw pipelined Modbus TCP client, run as a process of its own: asks, compares every byte, counts.

``python -m benchmarks.modbus_client PORT CONNECTIONS DEPTH SECONDS`` prints one JSON object.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from simulators.load.answers import HOLDING, word_at

REGISTERS = 100
"""Registers in one read."""
_READ = 1 << 16
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


class Asker:
    """One connection: a burst goes out when all answers of the last one came back as they should."""

    def __init__(self, port: int, bursts: Sequence[Burst]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._bursts = bursts
        self._number = 0
        self._got = b""

    def ask(self) -> None:
        """Sends the next burst."""
        self.socket.sendall(self._bursts[self._number][0])

    def take(self) -> bool:
        """Reads what is there; True when the burst is answered in full and right."""
        data = self.socket.recv(_READ)
        if not data:
            raise RuntimeError("the server closed a connection")
        got = self._got + data if self._got else data
        due = self._bursts[self._number][1]
        if len(got) < len(due):
            self._got = got
            return False
        if got != due:
            raise RuntimeError("an answer is not the one that is due")
        self._got = b""
        self._number = (self._number + 1) % _VARIANTS
        return True


def ask(port: int, connections: int, depth: int, seconds: float) -> dict[str, float]:
    """Asks for a time; the clock runs from the first request to the last answer."""
    bursts = [[burst(unit, n, depth) for n in range(_VARIANTS)] for unit in range(1, UNITS + 1)]
    with ExitStack() as stack:
        askers = [Asker(port, bursts[i % UNITS]) for i in range(connections)]
        for asker in askers:
            stack.callback(asker.socket.close)
        begin = time.perf_counter()
        for asker in askers:
            asker.ask()
        count = sum(_answered(askers, begin + seconds)) * depth
        spent = time.perf_counter() - begin
    return {"count": count, "seconds": spent}


def _answered(askers: Sequence[Asker], end: float) -> Iterator[int]:
    """A one for each burst that was answered; ends when all were, after the end of asking."""
    waiting = {asker.socket.fileno(): asker for asker in askers}
    with select.epoll() as events:
        for number in waiting:
            events.register(number, select.EPOLLIN)
        while waiting:
            ready = events.poll(GIVE_UP_S)
            if not ready:
                raise RuntimeError(f"{len(waiting)} connections got no answer for {GIVE_UP_S:g} s")
            more = time.perf_counter() < end
            for number, _ in ready:
                asker = waiting[number]
                if not asker.take():
                    continue
                yield 1
                if more:
                    asker.ask()
                else:
                    events.unregister(number)
                    del waiting[number]


if __name__ == "__main__":
    port, connections, depth = map(int, sys.argv[1:4])
    print(json.dumps(ask(port, connections, depth, float(sys.argv[4]))))
