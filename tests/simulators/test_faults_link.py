"""What a bad link makes of bytes, and of the readings of a source behind it."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.config import GatewaySettings
from adapters.modbus.source import ModbusSource
from ingest.fakes import FakeIntake
from simulators.faults.frames import FrameCutter
from simulators.faults.link import LinkFaults, Piece
from simulators.faults.model import FAULT, LinkFault
from simulators.faults.proxy import LinkProxy
from telemetry.clock import ManualClock, SystemClock, settle
from telemetry.devices import Device, ModbusAddress, Role
from telemetry.points import PointKey
from telemetry.profiles import parse_profile
from telemetry.quality import Quality
from telemetry.site import SitePoint

REPLY = struct.pack(">HHHBBB4H", 7, 0, 11, 1, 3, 8, 1, 2, 3, 4)


def fault(kind: str, **parameters: Any) -> LinkFault:
    made = FAULT.validate_python({"kind": kind, "target": "gw", **parameters})
    assert isinstance(made, LinkFault)
    return made


def link(*active: LinkFault) -> LinkFaults:
    faults = LinkFaults(seed=3)
    faults.follow(active)
    return faults


def test_each_fault_on_one_reply() -> None:
    assert link().answer(REPLY) == [Piece(0.0, REPLY)]
    assert link(fault("half_open")).answer(REPLY) == []
    assert link(fault("slow", delay_s=0.5)).answer(REPLY) == [Piece(0.5, REPLY)]
    trickled = link(fault("trickle", bytes_per_s=10.0)).answer(REPLY)
    assert b"".join(piece.data for piece in trickled) == REPLY
    assert {piece.after_s for piece in trickled} == {0.1}
    (short,) = link(fault("short_frame")).answer(REPLY)
    assert short.data == struct.pack(">HHHBBB3H", 7, 0, 9, 1, 3, 6, 1, 2, 3)
    shifted = link(fault("wrong_transaction"))
    (renumbered,) = shifted.answer(REPLY)
    assert (renumbered.data[:2], renumbered.data[2:]) == (b"\0\6", REPLY[2:])
    assert shifted.answer(b"\0\x08" + REPLY[2:]) == [Piece(0.0, REPLY)]
    (refused,) = link(fault("exception_storm", code=6)).answer(REPLY)
    assert refused.data == struct.pack(">HHHBBB", 7, 0, 3, 1, 0x83, 6)
    (garbage,) = link(fault("garbage")).answer(REPLY)
    assert len(garbage.data) == len(REPLY)
    assert garbage.data != REPLY


def test_one_in_every_and_faults_together() -> None:
    faults = link(fault("half_open"), fault("slow", delay_s=1.0))
    assert faults.answer(REPLY) == []
    faults = link(fault("wrong_transaction", every=3), fault("slow", delay_s=1.0))
    frames = [bytes([0, n]) + REPLY[2:] for n in range(6)]
    arrived = [faults.answer(frame)[0] for frame in frames]
    assert [piece.data for piece in arrived] == [frames[n] for n in (0, 1, 1, 3, 4, 4)]
    assert {piece.after_s for piece in arrived} == {1.0}


def test_down_and_broker_restart_accept_nobody() -> None:
    assert link(fault("slow", delay_s=1.0)).accepts
    assert not link(fault("down")).accepts
    assert not link(fault("broker_restart")).accepts


@given(st.lists(st.binary(max_size=30).map(lambda body: b"\0\1\0\0" + struct.pack(">H", len(body)) + body)),
       st.lists(st.integers(1, 20), min_size=1))  # fmt: skip
def test_frames_are_the_same_for_any_cut(frames: list[bytes], sizes: list[int]) -> None:
    stream, cutter, found, at, k = b"".join(frames), FrameCutter(), list[bytes](), 0, 0
    while at < len(stream):
        size = sizes[k % len(sizes)]
        found += cutter.feed(stream[at : at + size])
        at, k = at + size, k + 1
    assert found == frames


@given(st.integers(1, 60), st.integers(1, 5), st.integers(2, 5), st.integers(1, 20))
def test_disorder_loses_no_message(count: int, double: int, overtaken: int, by: int) -> None:
    faults = link(fault("duplicate", every=double), fault("out_of_order", every=overtaken, by=by))
    delivered = faults.deliver(range(count))
    faults.follow([])
    delivered += faults.deliver([])
    assert set(delivered) == set(range(count))


ADDRESSES = (100, 102, 300, 302)
"""Two reads of one size, so that the answer to the one looks like that to the other."""


class Meter:
    """A device whose registers hold their own address, as float32."""

    def __init__(self) -> None:
        self.port = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        writers: set[asyncio.StreamWriter] = set()
        sessions: set[asyncio.Task[None]] = set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.add(writer)
            session = asyncio.current_task()
            assert session is not None
            sessions.add(session)
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    tid, _, _, unit, code, address, count = struct.unpack(
                        ">HHHBBHH", await reader.readexactly(12)
                    )
                    data = b"".join(struct.pack(">f", address + i) for i in range(0, count, 2))
                    writer.write(struct.pack(">HHHBBB", tid, 0, 3 + len(data), unit, code, len(data)) + data)

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            await settle()
            for writer in writers:
                writer.transport.abort()
            await asyncio.gather(*sessions)
            await server.wait_closed()


def points() -> list[SitePoint]:
    lines = ['id = "own"', 'title = "own"', 'source = "test"', "period_s = 0.02"]
    for address in ADDRESSES:
        lines += [f"[points.R{address}]", 'title = "own address"', 'unit = "1"']
    lines += ["[modbus]", "[modbus.registers]"]
    lines += [f'R{address} = {{ address = {address}, type = "float32" }}' for address in ADDRESSES]
    profile = parse_profile("\n".join(lines), "own.toml")
    device = Device(
        id="m", profile="own", node="SHY", role=Role.INJECTION, modbus=ModbusAddress(gateway="gw", unit=1)
    )
    return [
        SitePoint(i, PointKey("m", name, spec.unit.value), spec, device, profile)
        for i, (name, spec) in enumerate(profile.points.items())
    ]


WIRE_FAULTS = [
    fault("late_reply", delay_s=0.08, every=2),
    fault("wrong_transaction", every=2),
    fault("garbage", every=2),
    fault("short_frame", every=2),
    fault("exception_storm", every=2),
    fault("trickle", bytes_per_s=1e6),
]


@pytest.mark.parametrize("broken", WIRE_FAULTS, ids=lambda f: f.kind)
async def test_no_wrong_value_is_marked_good(broken: LinkFault) -> None:
    clock, intake = SystemClock(), FakeIntake()
    faults = link(broken)
    async with (
        Meter().serving() as port,
        LinkProxy("gw", ("127.0.0.1", 0), ("127.0.0.1", port), faults, clock) as proxy,
    ):
        gateway = GatewaySettings(
            id="gw",
            host="127.0.0.1",
            port=proxy.port,
            timeout_s=0.05,
            backoff_first_s=0.01,
            backoff_max_s=0.02,
        )
        task = asyncio.create_task(ModbusSource(gateway, points(), intake, clock).run())
        async with asyncio.timeout(10):
            while sum(len(batch) for batch in intake.batches) < 30:
                await intake.journal.wait(len(intake.batches))
        task.cancel()
        await asyncio.wait([task])
    values = [
        (int(point), float(value))
        for batch in intake.batches
        for point, value, quality in zip(batch.point, batch.value, batch.quality, strict=True)
        if quality == Quality.GOOD
    ]
    assert values, "good readings come through between the faults"
    assert {value for point, value in values if value != ADDRESSES[point]} == set()


async def test_a_link_that_goes_down_and_comes_back(clock: ManualClock) -> None:
    faults = link()
    async with (
        Meter().serving() as port,
        LinkProxy("gw", ("127.0.0.1", 0), ("127.0.0.1", port), faults, clock) as proxy,
        asyncio.timeout(10),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        request = struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 100, 2)
        writer.write(request)
        assert len(await reader.readexactly(13)) == 13
        faults.follow([fault("down")])
        await proxy.refresh()
        with suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        faults.follow([])
        await proxy.refresh()
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(request)
        assert len(await reader.readexactly(13)) == 13
        writer.close()
