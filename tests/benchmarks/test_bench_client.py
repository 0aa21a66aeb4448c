"""The client that asks load servers counts right answers only."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.modbus_client import REGISTERS, ask
from simulators.load.config import ModbusLoad
from simulators.load.modbus import LoadResponder

ANSWER_BYTES = 9 + 2 * REGISTERS


@pytest.mark.parametrize("depth", [1, 8])
async def test_every_answered_request_is_counted(depth: int) -> None:
    async with LoadResponder(ModbusLoad(port=0)) as responder:
        told = await asyncio.to_thread(ask, responder.ports[0], 12, depth, 0.02)
    assert told["count"] == responder.requests >= 12 * depth
    assert responder.exceptions == 0


@pytest.mark.parametrize(
    ("answer", "message"),
    [(bytes(ANSWER_BYTES), "an answer is not the one that is due"), (b"", "the server closed a connection")],
)
async def test_a_wrong_answer_or_a_closed_connection_fails_the_run(answer: bytes, message: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(12)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(RuntimeError, match=message):
            await asyncio.to_thread(ask, port, 1, 1, 0.02)
