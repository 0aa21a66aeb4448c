"""Against pymodbus' server, an implementation that shares no code with this one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from adapters.modbus.config import GatewaySettings
from adapters.modbus.source import ModbusSource
from adapters.profiles import bundled_profiles
from ingest.fakes import FakeIntake
from telemetry.clock import SystemClock
from telemetry.site import SitePoint

Run = Callable[[Awaitable[None]], AbstractAsyncContextManager[asyncio.Task[None]]]


async def test_both_meters_are_read_in_the_units_of_their_points(
    make_points: Callable[..., list[SitePoint]], intake: FakeIntake, run_source: Run
) -> None:
    """The PM5xxx has no registers between its values: the reads across gaps are refused and split."""
    f32, i64 = DataType.FLOAT32, DataType.INT64
    schneider = SimDevice(
        id=1,
        simdata=[
            SimData(3010 - 1, values=412.5, datatype=f32),
            SimData(3026 - 1, values=511_250.0, datatype=f32),
            SimData(3060 - 1, values=-322_125.0, datatype=f32),
            SimData(3068 - 1, values=15_500.0, datatype=f32),
            SimData(3110 - 1, values=49.9375, datatype=f32),
            SimData(3204 - 1, values=123_456_789_000_000, datatype=i64),
            SimData(3208 - 1, values=1_000_000, datatype=i64),
        ],
    )
    values = {
        19006: 510_000.0,
        19012: 400.0,
        19026: -322e6,
        19042: 16e6,
        19050: 50.0,
        19068: 2e12,
        19076: 5e6,
    }
    janitza = SimDevice(
        id=3,
        simdata=[
            SimData(address, values=values.get(address, 0.0), datatype=f32)
            for address in range(19000, 19122, 2)
        ],
    )
    server = ModbusTcpServer([schneider, janitza], address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    assert isinstance(server.transport, asyncio.Server)
    port = server.transport.sockets[0].getsockname()[1]
    profiles = bundled_profiles()
    points = make_points(("pm", profiles["pm5xxx"], 1), ("umg", profiles["umg"], 3))
    settings = GatewaySettings(id="gw", host="127.0.0.1", port=port)
    source = ModbusSource(settings, points, intake, SystemClock())
    try:
        async with run_source(source.run()), asyncio.timeout(60):
            await intake.wait_for(batches=2)
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]
    got = {
        points[index].path: value
        for batch in intake.batches
        for index, value in zip(batch.point.tolist(), batch.value.tolist(), strict=True)
    }
    assert got == pytest.approx(
        {
            "pm/TotW": -322.125,
            "pm/TotVAr": 15.5,
            "pm/PPV": 511.25,
            "pm/A": 412.5,
            "pm/Hz": 49.9375,
            "pm/TotWhExp": 123_456_789.0,
            "pm/TotWhImp": 1.0,
            "umg/TotW": -322.0,
            "umg/TotVAr": 16.0,
            "umg/PPV": 510.0,
            "umg/A": 400.0,
            "umg/Hz": 50.0,
            "umg/TotWhExp": 2e6,
            "umg/TotWhImp": 5.0,
        }
    )
    assert not any(batch.quality.any() for batch in intake.batches)
