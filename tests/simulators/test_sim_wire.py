"""Modbus lines other than plain TCP, identification, refusals, and clients that misbehave."""

from __future__ import annotations

import asyncio
import os
import struct
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusIOException
from pymodbus.framer import FramerType
from pymodbus.pdu.mei_message import ReadDeviceInformationResponse

from simulators.devices.identification import Identification, Refusal
from simulators.devices.meter_maps import PM5XXX, UMG, four_quadrant
from simulators.devices.modbus import Gateway, Line, MappedUnit, Transport, Unit
from simulators.devices.registers import WordOrder
from simulators.world.meters import Reading
from telemetry.clock import settle

READING = Reading(-322.125, -100.5, 501.25, 371.5, 50.0, 123_456_789_012_345, 7)
IDENTITY = Identification({0: "Vendor", 1: "Code", 2: "1.0", 5: "Model", 0x80: "SN-1"})
Client = AsyncModbusTcpClient | AsyncModbusSerialClient


def meter(
    order: WordOrder = WordOrder.ABCD, offset: int = 0, identification: Identification = IDENTITY
) -> MappedUnit[Reading]:
    return MappedUnit(PM5XXX, lambda: READING, word_order=order, offset=offset, identification=identification)


@pytest.fixture
def units() -> dict[int, Unit]:
    return {2: meter(), 3: MappedUnit(UMG, lambda: READING)}


@pytest.fixture
async def gateway(units: dict[int, Unit]) -> AsyncIterator[Gateway]:
    async with Gateway("SHY", Line(Transport.TCP), units) as gateway:
        yield gateway


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[AsyncModbusTcpClient]:
    client = AsyncModbusTcpClient("127.0.0.1", port=gateway.port, timeout=2, retries=0)
    assert await client.connect()
    yield client
    client.close()


async def kilowatts(client: Client, unit: int = 2, address: int = 3059, order: str = "big") -> float:
    answer = await client.read_holding_registers(address, count=2, device_id=unit)
    assert not answer.isError(), answer
    value = client.convert_from_registers(answer.registers, client.DATATYPE.FLOAT32, word_order=order)  # type: ignore[arg-type]
    assert isinstance(value, float)
    return value


def forward(source: int, target: int) -> None:
    os.write(target, os.read(source, 4096))


async def nobody_answers(client: Client) -> None:
    assert await client.connect()
    with pytest.raises(ModbusIOException):
        await client.read_holding_registers(3059, count=2, device_id=9)
    client.close()


async def information(client: Client, code: int, first: int = 0) -> ReadDeviceInformationResponse:
    told = await client.read_device_information(read_code=code, object_id=first, device_id=2)
    assert isinstance(told, ReadDeviceInformationResponse)
    return told


@pytest.fixture
async def serial_pair() -> AsyncIterator[tuple[str, str]]:
    """The two ends of a serial line: pseudo terminals whose far sides are tied together."""
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        names, masters = [], []
        for _ in range(2):
            master, slave = os.openpty()
            tty.setraw(slave)
            stack.callback(os.close, master)
            stack.callback(os.close, slave)
            names.append(os.ttyname(slave))
            masters.append(master)
        for here, there in (masters, masters[::-1]):
            loop.add_reader(here, forward, here, there)
            stack.callback(loop.remove_reader, here)
        yield names[0], names[1]


async def test_a_serial_line_serves_its_units_and_stays_silent_for_others(
    serial_pair: tuple[str, str], units: dict[int, Unit]
) -> None:
    line = Line(Transport.SERIAL, serial_port=serial_pair[0], baudrate=9600, parity="N")
    async with Gateway("bus", line, units):
        client = AsyncModbusSerialClient(serial_pair[1], baudrate=9600, timeout=2, retries=0)
        assert await client.connect()
        try:
            assert await kilowatts(client) == -322_125.0
            answer = await client.read_holding_registers(100, count=2, device_id=2)
            assert answer.exception_code == Refusal.ILLEGAL_ADDRESS
        finally:
            client.close()
        await nobody_answers(AsyncModbusSerialClient(serial_pair[1], baudrate=9600, timeout=0.2, retries=0))


async def test_rtu_over_tcp_carries_the_frames_of_a_serial_line(units: dict[int, Unit]) -> None:
    async with Gateway("SHY", Line(Transport.RTU_OVER_TCP), units) as gateway:
        client = AsyncModbusTcpClient(
            "127.0.0.1", port=gateway.port, framer=FramerType.RTU, timeout=2, retries=0
        )
        assert await client.connect()
        try:
            assert await kilowatts(client) == -322_125.0
            assert (await information(client, 1)).information == {0: b"Vendor", 1: b"Code", 2: b"1.0"}
            assert (await client.write_register(3059, 1, device_id=2)).exception_code == 1
        finally:
            client.close()
        await nobody_answers(
            AsyncModbusTcpClient(
                "127.0.0.1", port=gateway.port, framer=FramerType.RTU, timeout=0.2, retries=0
            )
        )


@pytest.mark.parametrize(
    ("code", "first", "numbers"),
    [(1, 0, [0, 1, 2]), (2, 0, [0, 1, 2, 5]), (3, 0, [0, 1, 2, 5, 0x80]), (3, 5, [5, 0x80]), (4, 5, [5])],
)
async def test_identification_streams_and_single_objects(
    client: AsyncModbusTcpClient, code: int, first: int, numbers: list[int]
) -> None:
    told = await information(client, code, first)
    assert sorted(told.information) == numbers
    assert told.conformity == 0x83
    assert told.information[numbers[-1]] == IDENTITY.objects[numbers[-1]].encode()


async def test_identification_that_is_not_there(client: AsyncModbusTcpClient) -> None:
    missing = await client.read_device_information(read_code=4, object_id=6, device_id=2)
    assert missing.exception_code == Refusal.ILLEGAL_ADDRESS
    without = await client.read_device_information(read_code=1, device_id=3)
    assert without.exception_code == Refusal.ILLEGAL_FUNCTION
    nobody = await client.read_device_information(read_code=1, device_id=9)
    assert nobody.exception_code == Refusal.TARGET_FAILED


@pytest.mark.parametrize(("last", "level"), [(2, 0x81), (6, 0x82), (0x7F, 0x82), (0x80, 0x83)])
def test_conformity_says_how_far_the_identification_goes(last: int, level: int) -> None:
    assert Identification({0: "a", last: "b"}).level == level


def test_a_stream_from_an_object_that_is_not_there_begins_anew() -> None:
    """V1.1b3, 6.21: as if object 0 had been asked for."""
    identity = Identification({0: "a", 1: "b", 2: "c", 4: "d"})
    assert identity.answer(b"\x0e\x02\x01") == b"\x0e\x02\x82\x00\x00\x03\x01\x01b\x02\x01c\x04\x01d"
    assert identity.answer(b"\x0e\x02\x03") == identity.answer(b"\x0e\x02\x00")


def test_a_long_identification_comes_in_pieces() -> None:
    texts = {n: f"{n:03d}" * 33 for n in range(0x80, 0x85)}
    identity, first, seen, rounds = Identification(texts), 0, {}, 0
    while True:
        answer = identity.answer(bytes([0x0E, 3, first]))
        assert isinstance(answer, bytes)
        assert len(answer) + 1 <= 253
        _, _, _, more, following, count = answer[:6]
        body, rounds = answer[6:], rounds + 1
        for _ in range(count):
            number, size = body[0], body[1]
            seen[number], body = body[2 : 2 + size].decode(), body[2 + size :]
        if not more:
            break
        first = following
    assert seen == texts
    assert rounds == 3


def adu(unit: int, pdu: bytes, transaction: int = 7) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


@pytest.mark.parametrize(
    ("pdu", "answer"),
    [
        (b"\x03\x0b\xf3\x00\x00", b"\x83\x03"),  # no register
        (b"\x03\x0b\xf3\x00\x7e", b"\x83\x03"),  # 126 registers
        (b"\x03\xff\xff\x00\x02", b"\x83\x02"),  # beyond the address space
        (b"\x03\x0b\xf3\x00", b"\x83\x03"),  # cut off
        (b"\x41\x00\x00", b"\xc1\x01"),  # a function that nobody has
        (b"\x08\x00\x00\x12\x34", b"\x88\x01"),  # diagnostics
        (b"\x11", b"\x91\x01"),  # report server id
        (b"\x2b\x0d\x00\x00", b"\xab\x01"),  # another encapsulated interface
        (b"\x2b\x0e\x07\x00", b"\xab\x03"),  # no such read code
    ],
)
async def test_what_a_device_does_not_understand(gateway: Gateway, pdu: bytes, answer: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(adu(2, pdu))
    async with asyncio.timeout(5):
        assert await reader.readexactly(9) == adu(2, answer)
    writer.close()


@pytest.mark.parametrize("refusal", Refusal)
async def test_an_exception_can_be_set_and_lifted(
    client: AsyncModbusTcpClient, units: dict[int, Unit], refusal: Refusal
) -> None:
    units[2].exception = refusal
    answer = await client.read_holding_registers(3059, count=2, device_id=2)
    assert answer.exception_code == refusal
    assert not (await client.read_holding_registers(19026, count=2, device_id=3)).isError()
    units[2].exception = None
    assert await kilowatts(client) == -322_125.0


@pytest.mark.parametrize("order", WordOrder)
def test_word_orders(order: WordOrder) -> None:
    unit = meter(order)
    words = unit.read(3, 3203, 4)
    assert isinstance(words, list)
    raw = struct.pack(">4H", *words)
    abcd = {
        WordOrder.ABCD: raw,
        WordOrder.CDAB: b"".join(raw[i : i + 2] for i in (6, 4, 2, 0)),
        WordOrder.BADC: b"".join(raw[i : i + 2][::-1] for i in (0, 2, 4, 6)),
        WordOrder.DCBA: raw[::-1],
    }[order]
    assert struct.unpack(">q", abcd) == (READING.export_wh,)
    held = {h.name: h for h in unit.registers()}
    assert held["active energy delivered"].value == READING.export_wh
    assert held["active energy delivered"].words == tuple(words)


def test_an_offset_moves_every_address() -> None:
    unit = meter(offset=1)
    assert unit.read(3, 3060, 2) == meter().read(3, 3059, 2)
    assert unit.read(3, 2999, 1) is Refusal.ILLEGAL_ADDRESS
    assert next(h.address for h in unit.registers() if h.name == "active power total") == 3060
    with pytest.raises(ValueError, match="not all within 0 to 65535"):
        meter(offset=-3000)


@pytest.mark.parametrize(
    ("p", "q", "shown"), [(3, 4, 0.6), (3, -4, 1.4), (-3, -4, -0.6), (-3, 4, -1.4), (5, 0, 1), (-5, 0, -1)]
)
def test_power_factor_in_four_quadrants(p: float, q: float, shown: float) -> None:
    assert four_quadrant(Reading(p, q, 500, 1, 50, 0, 0)) == pytest.approx(shown)


def garbage() -> Iterator[bytes]:
    """Ten thousand frames that no client should send, each kind in turn."""
    for n in range(2500):
        noise = struct.pack(">Q", (n * 0x9E3779B97F4A7C15) & (2**64 - 1))
        yield noise * 2
        yield struct.pack(">HHHB", n, 0, 0xFFFF, 2) + noise  # a length that never comes
        yield struct.pack(">HHHB", n, n | 1, 6, 2) + b"\x03\x0b\xf3\x00\x02"  # another protocol
        yield adu(n % 256, bytes([n % 256]) + noise)


async def test_ten_thousand_garbage_frames_disturb_nobody_else(
    gateway: Gateway, client: AsyncModbusTcpClient, units: dict[int, Unit]
) -> None:
    del units

    async def spoil(frames: list[bytes]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        drained = asyncio.create_task(reader.read(-1))
        for frame in frames:
            writer.write(frame)
            await writer.drain()
            await settle(1)
        writer.close()
        await drained

    frames = list(garbage())
    assert len(frames) == 10_000
    spoilers = [asyncio.create_task(spoil(frames[k::4])) for k in range(4)]
    reads = 0
    async with asyncio.timeout(30):
        while not all(task.done() for task in spoilers):
            assert await kilowatts(client) == -322_125.0
            reads += 1
        await asyncio.gather(*spoilers)
    assert reads > 10
    assert await kilowatts(client) == -322_125.0
