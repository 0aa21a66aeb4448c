from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pymodbus.client import AsyncModbusTcpClient

from simulators.devices.meter_maps import PM5XXX, UMG
from simulators.devices.modbus import Gateway, Line, MappedUnit, Transport
from simulators.world.meters import Reading
from telemetry.errors import UnavailableError

READING = Reading(-322.125, -100.5, 501.25, 371.5, 50.0, 123_456_789_012_345, 7)
WATT = -322_124_992.0  # the float32 nearest to -322.125 MW


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    meter, check = MappedUnit(PM5XXX, lambda: READING), MappedUnit(UMG, lambda: READING)
    async with Gateway("SHY", Line(Transport.TCP), {2: meter, 3: check}) as gateway:
        yield gateway


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[AsyncModbusTcpClient]:
    client = AsyncModbusTcpClient("127.0.0.1", port=gateway.port, timeout=2, retries=0)
    assert await client.connect()
    yield client
    client.close()


async def test_units_answer_for_themselves(client: AsyncModbusTcpClient) -> None:
    kw = await client.read_holding_registers(3059, count=2, device_id=2)
    watt = await client.read_input_registers(19026, count=2, device_id=3)
    assert client.convert_from_registers(kw.registers, client.DATATYPE.FLOAT32) == -322_125.0
    assert client.convert_from_registers(watt.registers, client.DATATYPE.FLOAT32) == WATT


async def test_a_long_read_shows_one_moment(client: AsyncModbusTcpClient) -> None:
    answer = await client.read_holding_registers(2999, count=125, device_id=2)
    assert answer.registers == PM5XXX.encode(READING)[2999 - PM5XXX.start :][:125]


@pytest.mark.parametrize(
    ("unit", "address", "code"), [(2, 100, 2), (2, 3214, 2), (3, 3059, 2), (9, 3059, 11), (9, 65534, 11)]
)
async def test_wrong_address_and_wrong_unit_get_their_exception(
    client: AsyncModbusTcpClient, unit: int, address: int, code: int
) -> None:
    answer = await client.read_holding_registers(address, count=2, device_id=unit)
    assert answer.isError()
    assert answer.exception_code == code


async def test_nothing_can_be_written_and_no_coil_be_read(client: AsyncModbusTcpClient) -> None:
    for answer in (
        await client.write_register(3059, 1, device_id=2),
        await client.write_registers(3059, [1, 2], device_id=2),
        await client.read_coils(3059, count=1, device_id=2),
    ):
        assert answer.exception_code == 1
    kept = await client.read_holding_registers(3059, count=2, device_id=2)
    assert kept.registers == PM5XXX.encode(READING)[3059 - PM5XXX.start :][:2]


async def test_a_taken_port_names_the_gateway(gateway: Gateway) -> None:
    with pytest.raises(UnavailableError, match=f"gateway TAS.*{gateway.port}"):
        async with Gateway("TAS", Line(Transport.TCP, port=gateway.port), {}):
            pass
