"""The Modbus responder for load: right answers however requests are cut, exceptions, bounds."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from pymodbus.client import AsyncModbusTcpClient

from simulators.load.answers import HOLDING, INPUT, word_at
from simulators.load.config import ModbusLoad
from simulators.load.modbus import LoadResponder
from telemetry.clock import settle
from telemetry.errors import UnavailableError

GUARD_S = 10


@pytest.fixture
async def responder() -> AsyncIterator[LoadResponder]:
    async with LoadResponder(ModbusLoad(port=0, ports=2, units=3, max_connections=4)) as running:
        yield running


def read(transaction: int, unit: int, function: int, address: int, count: int) -> bytes:
    return struct.pack(">HHHBBHH", transaction, 0, 6, unit, function, address, count)


def answer(transaction: int, unit: int, function: int, address: int, count: int) -> bytes:
    words = [word_at(function, unit, address + i) for i in range(count)]
    head = struct.pack(">HHHBBB", transaction, 0, 3 + 2 * count, unit, function, 2 * count)
    return head + struct.pack(f">{count}H", *words)


async def exchange(responder: LoadResponder, chunks: list[bytes], due: int) -> bytes:
    """What comes back for chunks that are written apart; empty if the connection is closed."""
    async with asyncio.timeout(GUARD_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", responder.ports[0])
        for chunk in chunks:
            writer.write(chunk)
            await settle(2)
        try:
            return await reader.readexactly(due)
        except asyncio.IncompleteReadError as error:
            return error.partial
        finally:
            writer.close()


READS = [
    (1, 1, HOLDING, 0, 1),
    (2, 1, INPUT, 0, 125),
    (0xFFFF, 3, HOLDING, 0xFFFF - 124, 125),
    (2, 1, INPUT, 0, 125),
    (7, 2, INPUT, 0xFFFF, 1),
]


@pytest.mark.parametrize("size", [1, 5, 12, 13, 1000])
async def test_pipelined_reads_are_answered_alike_however_they_are_cut(
    responder: LoadResponder, size: int
) -> None:
    asked = b"".join(read(*one) for one in READS)
    due = b"".join(answer(*one) for one in READS)

    got = await exchange(responder, [asked[i : i + size] for i in range(0, len(asked), size)], len(due))

    assert got == due
    assert (responder.requests, responder.exceptions) == (len(READS), 0)


async def test_an_independent_client_reads_values_that_tell_where_they_are_from(
    responder: LoadResponder,
) -> None:
    async with AsyncModbusTcpClient("127.0.0.1", port=responder.ports[1], timeout=GUARD_S) as client:
        holding = await client.read_holding_registers(1000, count=3, device_id=2)
        inputs = await client.read_input_registers(1000, count=2, device_id=2)

    assert holding.registers == [1512, 1513, 1514]
    assert inputs.registers == [0xFFFF - 1512, 0xFFFF - 1513]


@pytest.mark.parametrize(
    ("unit", "pdu", "code"),
    [
        (1, "0600010002", 1),
        (1, "2b0e0100", 1),
        (1, "07", 1),
        (1, "03ffff0002", 2),
        (1, "0400000000", 3),
        (1, "030000007e", 3),
        (1, "0300", 3),
        (0, "0300000001", 11),
        (4, "0300000001", 11),
    ],
)
async def test_everything_else_gets_its_exception_and_the_next_read_its_answer(
    responder: LoadResponder, unit: int, pdu: str, code: int
) -> None:
    body = bytes([unit]) + bytes.fromhex(pdu)
    asked = struct.pack(">HHH", 9, 0, len(body)) + body
    due = struct.pack(">HHHBBB", 9, 0, 3, unit, body[1] | 0x80, code) + answer(*READS[0])

    assert await exchange(responder, [asked + read(*READS[0])], len(due)) == due
    assert (responder.requests, responder.exceptions) == (2, 1)


@pytest.mark.parametrize("garbage", ["000100ff00060103", "0001000000010103", "0001000000ff0103", "0001ff"])
async def test_garbage_closes_its_connection_after_the_answers_before_it(
    responder: LoadResponder, garbage: str
) -> None:
    first = answer(*READS[0])

    got = await exchange(responder, [read(*READS[0]) + bytes.fromhex(garbage)], len(first) + 1)

    assert got == first
    assert responder.malformed == 1
    assert await exchange(responder, [read(*READS[1])], 259) == answer(*READS[1])


async def test_a_client_that_does_not_read_is_not_read_from(responder: LoadResponder) -> None:
    reads = b"".join(read(i, 1, HOLDING, 0, 125) for i in range(5000))
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", responder.ports[0])) as client:
        client.setblocking(False)
        sending = asyncio.create_task(loop.sock_sendall(client, reads * 500))
        async with asyncio.timeout(GUARD_S):
            while not (held := [t for t in responder.connections if not t.is_reading()]):
                await settle()
        served = responder.requests
        await settle(200)
        sending.cancel()
        assert responder.requests == served
        assert held[0].get_write_buffer_size() < 500_000


async def test_connections_beyond_the_limit_are_closed_and_counted(responder: LoadResponder) -> None:
    clients = [await asyncio.open_connection("127.0.0.1", responder.ports[i % 2]) for i in range(4)]
    while len(responder.connections) < 4:
        await settle()

    assert await exchange(responder, [], 1) == b""
    assert responder.refused == 1

    clients[0][1].write(read(*READS[0]))
    async with asyncio.timeout(GUARD_S):
        assert await clients[0][0].readexactly(11) == answer(*READS[0])
    for _, writer in clients:
        writer.close()


async def test_leaving_closes_every_connection() -> None:
    async with LoadResponder(ModbusLoad(port=0)) as responder:
        reader, writer = await asyncio.open_connection("127.0.0.1", responder.ports[0])
        writer.write(read(*READS[0]))
        await reader.readexactly(11)
    async with asyncio.timeout(GUARD_S):
        assert await reader.read() == b""
    writer.close()


def two_free_ports() -> int:
    """The first of two neighbours that nobody listens on."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as one:
            port: int = one.getsockname()[1]
            with suppress(OSError), socket.create_server(("127.0.0.1", port + 1)):
                return port


async def test_a_port_in_use_is_named_and_no_other_is_held() -> None:
    port = two_free_ports()
    with socket.create_server(("127.0.0.1", port + 1)):
        with pytest.raises(UnavailableError, match=rf"cannot listen on 127\.0\.0\.1:{port + 1}"):
            await LoadResponder(ModbusLoad(port=port, ports=2)).__aenter__()
        socket.create_server(("127.0.0.1", port)).close()
