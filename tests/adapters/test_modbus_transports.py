"""TLS, RTU over TCP, serial lines and windows: every true value is 1000 * unit + its own address."""

from __future__ import annotations

import asyncio
import os
import pty
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from adapters.modbus._connection import ConnectionLostError, Link, ReplyTimeoutError, opener
from adapters.modbus.codec import Doubt, ProtocolDoubtError, Request
from adapters.modbus.config import GatewaySettings
from adapters.modbus.identification import identification
from adapters.modbus.rtu import RtuFramer, checksum
from adapters.modbus.source import ModbusSource
from adapters.tls import TlsSettings
from ingest.fakes import FakeIntake
from simulators.devices.identification import Identification
from simulators.devices.modbus import Gateway as Simulated
from simulators.devices.modbus import Line, MappedUnit, Transport
from simulators.devices.wind_maps import TURBINE
from telemetry.clock import ManualClock, SystemClock
from telemetry.errors import ConfigError
from telemetry.profiles import DeviceProfile, RegisterTable
from telemetry.quality import Quality
from telemetry.settings import parse
from telemetry.site import SitePoint
from tests.adapters.conftest import honest

Run = Callable[[Awaitable[None]], AbstractAsyncContextManager[asyncio.Task[None]]]
MakePoints = Callable[..., list[SitePoint]]


def settings(**values: object) -> GatewaySettings:
    return GatewaySettings.model_validate({"id": "gw", "timeout_s": 0.1, "quiet_s": 0.05} | values)


def read(unit: int, address: int, count: int = 4, transaction: int = 1) -> Request:
    return Request(transaction, unit, RegisterTable.HOLDING, address, count)


def truth(request: Request) -> bytes:
    return honest(struct.pack(">HHHB", 0, 0, 6, request.unit) + request.pdu())[9:]


def rtu_reply(frame: bytes) -> bytes:
    """The right answer of a serial device to a frame of 8 bytes."""
    body = honest(struct.pack(">HHH", 0, 0, 6) + frame[:6])[6:]
    return body + checksum(body)


class SerialDevices:
    """All units of a line; ``late`` holds back the answer of so many requests until the next one comes."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.change: Callable[[bytes, bytes], list[bytes]] = lambda request, reply: [reply]

    def answers(self, request: bytes) -> list[bytes]:
        self.requests.append(request)
        assert request[-2:] == checksum(request[:-2])
        return self.change(request, rtu_reply(request))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                for part in self.answers(await reader.readexactly(8)):
                    writer.write(part)
        writer.close()


@pytest.fixture
def devices() -> SerialDevices:
    return SerialDevices()


@pytest.fixture
async def over_tcp(devices: SerialDevices) -> AsyncIterator[GatewaySettings]:
    server = await asyncio.start_server(devices.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield settings(transport="rtu_over_tcp", host="127.0.0.1", port=port)
    server.close()
    await server.wait_closed()


@pytest.fixture
async def over_a_line(devices: SerialDevices) -> AsyncIterator[GatewaySettings]:
    master, slave = pty.openpty()
    loop = asyncio.get_running_loop()
    pending = bytearray()

    def readable() -> None:
        pending.extend(os.read(master, 4096))
        while len(pending) >= 8:
            request = bytes(pending[:8])
            del pending[:8]
            for part in devices.answers(request):
                os.write(master, part)

    loop.add_reader(master, readable)
    yield settings(transport="serial", serial={"device": os.ttyname(slave), "baudrate": 115200})
    loop.remove_reader(master)
    os.close(master)
    os.close(slave)


@pytest.fixture(params=["over_tcp", "over_a_line"])
def line(request: pytest.FixtureRequest) -> GatewaySettings:
    made = request.getfixturevalue(request.param)
    assert isinstance(made, GatewaySettings)
    return made


async def test_registers_are_read_with_rtu_framing(line: GatewaySettings, devices: SerialDevices) -> None:
    async with await opener(line)() as link:
        for unit, address in ((1, 100), (2, 300), (1, 300)):
            assert await link.ask(read(unit, address), 1.0) == truth(read(unit, address))
    assert [request[0] for request in devices.requests] == [1, 2, 1]


@pytest.mark.parametrize(
    "lateness", ["in the next request's time", "during the silence", "with the next reply"]
)
async def test_pymodbus_rtu_a_late_reply_of_the_same_length_is_never_taken_for_the_next(
    line: GatewaySettings, devices: SerialDevices, lateness: str
) -> None:
    """Over a line nothing but unit, function and length tells replies apart: here they are all alike."""
    held: list[bytes] = []

    def late(request: bytes, reply: bytes) -> list[bytes]:
        if len(devices.requests) == 1:
            held.append(reply)
            return []
        parts = [*held, reply]
        held.clear()
        return parts if lateness == "in the next request's time" else [b"".join(parts)]

    devices.change = late
    got: list[tuple[Request, bytes]] = []
    async with await opener(line)() as link:
        with pytest.raises(ReplyTimeoutError):
            await link.ask(read(1, 100), line.timeout_s)
        if lateness == "during the silence":
            devices.change = lambda request, reply: [reply]
        for query in [read(1, 300), read(1, 100), read(1, 300), read(1, 100)]:
            with suppress(ProtocolDoubtError, ReplyTimeoutError):
                got.append((query, await link.ask(query, line.timeout_s)))
    assert len(got) >= 2
    for query, data in got:
        assert data == truth(query)


async def test_pymodbus_rtu_replies_that_are_each_one_request_late_are_never_taken(
    over_tcp: GatewaySettings, devices: SerialDevices
) -> None:
    queue: list[bytes] = []

    def shifted(request: bytes, reply: bytes) -> list[bytes]:
        queue.append(reply)
        return [queue.pop(0)] if len(queue) > 1 else []

    devices.change = shifted
    wrong = 0
    async with await opener(over_tcp)() as link:
        for k in range(12):
            query = read(1, 100 if k % 2 else 300)
            with suppress(ProtocolDoubtError, ReplyTimeoutError):
                wrong += await link.ask(query, over_tcp.timeout_s) != truth(query)
    assert wrong == 0


async def test_after_lies_that_leave_every_table_owed_the_first_true_reply_is_good(
    line: GatewaySettings, devices: SerialDevices
) -> None:
    """Whatever was refused, which may have been owed, too."""

    def lies(request: bytes, reply: bytes) -> list[bytes]:
        refusal = bytes([request[0], request[1] | 0x80, 2])
        told = refusal if request[1] == 3 and len(devices.requests) > 1 else bytes([99]) + reply[1:-2]
        return [told + checksum(told)]

    devices.change = lies
    patient = 30.0
    async with await opener(line)() as link:
        for _ in range(5):
            with suppress(ProtocolDoubtError, ReplyTimeoutError):
                await link.ask(read(1, 100), patient)
        assert {request[1] for request in devices.requests} == {1, 2, 3, 4}
        devices.change = lambda request, reply: [reply]
        assert await link.ask(read(1, 100), patient) == truth(read(1, 100))


async def test_a_wrong_checksum_is_a_doubt_and_the_line_recovers(
    line: GatewaySettings, devices: SerialDevices
) -> None:
    devices.change = lambda request, reply: [reply[:-1] + bytes([reply[-1] ^ 1])]
    async with await opener(line)() as link:
        with pytest.raises(ProtocolDoubtError) as caught:
            await link.ask(read(1, 100), 1.0)
        assert caught.value.reason is Doubt.CHECKSUM
        assert len(caught.value.received) == 13
        devices.change = lambda request, reply: [reply]
        assert link.alive
        assert await link.ask(read(1, 300), 1.0) == truth(read(1, 300))


async def test_a_lost_frame_is_asked_for_again(
    over_a_line: GatewaySettings,
    devices: SerialDevices,
    make_points: MakePoints,
    address_profile: DeviceProfile,
    intake: FakeIntake,
    run_source: Run,
) -> None:
    devices.change = lambda request, reply: [] if len(devices.requests) == 2 else [reply]
    points = make_points(("d1", address_profile, 1), ("d2", address_profile, 2))
    gateway = over_a_line.model_copy(update={"retries": 1})
    source = ModbusSource(gateway, points, intake, SystemClock())
    async with run_source(source.run()), asyncio.timeout(60):
        await intake.wait_for(batches=2)
    assert source.state.counts["retries"] == 1
    assert not any(batch.quality.any() for batch in intake.batches)


def test_any_cut_of_a_line_s_stream_gives_the_same_frames() -> None:
    stream = b"".join(
        [
            rtu_reply(bytes([1, 3]) + struct.pack(">HH", 100, 4) + b"\0\0"),
            b"\x02\x83\x02" + checksum(b"\x02\x83\x02"),
        ]
    )
    for step in range(1, len(stream) + 1):
        framer, frames = RtuFramer(), []
        for at in range(0, len(stream), step):
            framer.feed(stream[at : at + step])
            while (frame := framer.next_frame()) is not None:
                frames.append(frame)
        assert [(frame.unit, frame.pdu[0]) for frame in frames] == [(1, 3), (2, 0x83)]
        assert framer.pending == 0


async def test_a_line_that_does_not_exist_is_told_by_its_name() -> None:
    gone = settings(transport="serial", serial={"device": "/dev/no-such-line"})
    with pytest.raises(ConnectionLostError, match="/dev/no-such-line cannot be reached"):
        await opener(gone)()


async def test_bytes_behind_a_reply_that_begin_no_other_make_a_doubt_of_it(gateway: Scripted) -> None:
    async def script(request: bytes) -> bytes:
        return await gateway.answer_honestly(request) + b"\0\1"

    gateway.script = script
    async with await opener(settings(host="127.0.0.1", port=gateway.port))() as link:
        with pytest.raises(ProtocolDoubtError, match="begin no reply that is due"):
            await link.ask(Request(1, 1, RegisterTable.HOLDING, 100, 4), 1.0)
        assert not link.alive


async def test_what_cannot_be_the_name_of_a_host_is_told() -> None:
    with pytest.raises(ConnectionLostError, match=r"a\.\.b:502 cannot be reached: no name of a host"):
        await opener(settings(host="a..b", port=502))()


async def test_an_adapter_that_is_pulled_out_is_a_lost_link_and_is_opened_again(
    make_points: MakePoints,
    address_profile: DeviceProfile,
    tmp_path: Path,
    intake: FakeIntake,
    run_source: Run,
) -> None:
    """The name stays, what is behind it goes and comes: as with a USB adapter."""
    name = tmp_path / "line"
    devices = SerialDevices()
    loop = asyncio.get_running_loop()

    def plugged() -> tuple[int, int]:
        master, slave = pty.openpty()
        name.unlink(missing_ok=True)
        name.symlink_to(os.ttyname(slave))
        pending = bytearray()

        def readable() -> None:
            pending.extend(os.read(master, 4096))
            while len(pending) >= 8:
                request = bytes(pending[:8])
                del pending[:8]
                os.write(master, b"".join(devices.answers(request)))

        loop.add_reader(master, readable)
        return master, slave

    def pulled(ends: tuple[int, int]) -> None:
        loop.remove_reader(ends[0])
        for end in ends:
            os.close(end)

    ends = plugged()
    line = settings(
        transport="serial", serial={"device": str(name), "baudrate": 115200}, backoff_first_s=0.01
    )
    source = ModbusSource(line, make_points(("d", address_profile, 1)), intake, SystemClock())
    async with run_source(source.run()), asyncio.timeout(60):
        await intake.wait_for(batches=1)
        pulled(ends)
        while not any(Quality.LINK_LOST in batch.quality for batch in intake.batches):
            await intake.wait_for(batches=len(intake.batches) + 1)
        ends = plugged()
        while intake.batches[-1].quality.any():
            await intake.wait_for(batches=len(intake.batches) + 1)
    pulled(ends)


@pytest.mark.parametrize(
    "begun",
    [
        bytes([1, 3, 252]),
        bytes([1, 43, 14, 1, 1, 0, 0, 2, 0, 200]) + bytes(200) + bytes([1, 200]),
        bytes([1, 43, 14, 1, 1, 0, 0, 200]) + bytes([0, 0]) * 125,
    ],
    ids=["registers", "objects that are too long", "objects without end"],
)
def test_a_frame_that_would_be_too_long_is_not_waited_for(begun: bytes) -> None:
    framer = RtuFramer()
    framer.feed(begun)
    with pytest.raises(ProtocolDoubtError) as caught:
        framer.next_frame()
    assert caught.value.reason is Doubt.LENGTH


@pytest.fixture
async def secure(
    gateway: SecureGateway, certificates: Path, tmp_path: Path
) -> AsyncIterator[Callable[..., GatewaySettings]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    server = await asyncio.start_server(gateway._serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    password = tmp_path / "password"
    password.write_text("unlock\n")

    def make(ca: str = "ca", *, certificate: bool = True) -> GatewaySettings:
        own = {
            "certificate_file": str(certificates / "client.pem"),
            "key_file": str(certificates / "client.key"),
            "key_password_file": str(password),
        }
        tls = TlsSettings.model_validate(
            {"ca_file": str(certificates / f"{ca}.pem")} | (own if certificate else {})
        )
        return settings(transport="tls", host="localhost", port=port, tls=tls.model_dump())

    yield make
    server.close()
    await gateway.stop()


class SecureGateway(Protocol):
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...
    async def stop(self) -> None: ...


async def test_tls_with_a_client_certificate(secure: Callable[..., GatewaySettings]) -> None:
    async with await opener(secure())() as link:
        assert await link.ask(read(1, 100), 1.0) == truth(read(1, 100))


async def test_a_server_that_nobody_known_vouches_for_is_not_talked_to(
    secure: Callable[..., GatewaySettings],
) -> None:
    with pytest.raises(ConnectionLostError, match="certificate"):
        await opener(secure("other"))()


async def test_a_client_without_a_certificate_reads_nothing_and_is_told_so(
    secure: Callable[..., GatewaySettings],
) -> None:
    with pytest.raises(ConnectionLostError):
        async with await opener(secure(certificate=False))() as link:
            await link.ask(read(1, 100), 5.0)


async def test_a_device_is_polled_over_tls(
    secure: Callable[..., GatewaySettings],
    make_points: MakePoints,
    address_profile: DeviceProfile,
    intake: FakeIntake,
    run_source: Run,
) -> None:
    source = ModbusSource(secure(), make_points(("d", address_profile, 4)), intake, SystemClock())
    async with run_source(source.run()), asyncio.timeout(60):
        await intake.wait_for(batches=1)
    (batch, *_) = intake.batches
    assert batch.value.tolist() == [4100.0, 4102.0, 4300.0, 4302.0]
    assert not batch.quality.any()


def test_keys_that_cannot_be_used_are_told_before_the_start(
    secure: Callable[..., GatewaySettings], make_points: MakePoints, address_profile: DeviceProfile
) -> None:
    broken = secure("no-such-file")
    with pytest.raises(ConfigError, match=r"gateway gw: tls\.ca_file"):
        ModbusSource(broken, make_points(("d", address_profile, 1)), FakeIntake(), SystemClock())


def test_tls_has_its_own_port() -> None:
    assert settings(transport="tls", host="x", tls={}).tcp_port == 802
    assert settings(host="x").tcp_port == 502


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('transport = "serial"', "needs a table serial"),
        ('transport = "tls"\nhost = "x"', "belong together"),
        ("", "needs a host"),
        ('transport = "rtu_over_tcp"\nhost = "x"\nwindow = 2', "one request at a time"),
        ('host = "x"\nserial = { device = "/dev/ttyS0" }', 'only for transport = "serial"'),
    ],
)
def test_settings_of_a_transport_are_complete(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse(f'id = "gw"\n{text}\n', "gateway.toml", GatewaySettings)


class Scripted(Protocol):
    port: int
    requests: list[bytes]
    connections: int
    writers: list[asyncio.StreamWriter]
    script: Callable[[bytes], Awaitable[bytes | None]]

    async def answer_honestly(self, request: bytes) -> bytes: ...


async def test_several_requests_in_flight_are_told_apart_by_their_numbers(gateway: Scripted) -> None:
    held: list[bytes] = []

    async def backwards(request: bytes) -> bytes:
        held.append(await gateway.answer_honestly(request))
        if len(held) < 4:
            return b""
        replies = b"".join(reversed(held))
        held.clear()
        return replies

    gateway.script = backwards
    async with await opener(settings(host="127.0.0.1", port=gateway.port, window=4))() as link:
        queries = [read(1, 100 + 10 * k) for k in range(8)]
        replies = await asyncio.gather(*(link.ask(query, 1.0) for query in queries))
    assert replies == [truth(query) for query in queries]


async def test_a_reply_that_comes_on_the_next_connection_answers_nothing_there(gateway: Scripted) -> None:
    connect = opener(settings(host="127.0.0.1", port=gateway.port))
    owed: list[bytes] = []

    async def next_time(request: bytes) -> bytes:
        owed.append(await gateway.answer_honestly(request))
        return owed.pop(0) if gateway.connections > 1 else b""

    gateway.script = next_time
    for unit, address in ((1, 100), (1, 300)):
        async with await connect() as link:
            with pytest.raises((ReplyTimeoutError, ProtocolDoubtError)):
                await link.ask(read(unit, address), 0.1)


@pytest.mark.parametrize("kept", range(9, 20))
@pytest.mark.parametrize("next_is", ["data", "exception"])
async def test_a_reply_with_bytes_left_out_does_not_swallow_the_next(
    kept: int, next_is: str, gateway: Scripted
) -> None:
    """Of several replies one loses its end: nothing but lengths says where each ends."""
    held: list[bytes] = []

    async def leaves_out(request: bytes) -> bytes:
        held.append(await gateway.answer_honestly(request))
        if len(held) < 3:
            return b""
        if next_is == "exception":
            held[1] = held[1][:4] + b"\0\3" + held[1][6:7] + b"\x83\2"
        return b"".join([held[0][:kept], *held[1:]])

    gateway.script = leaves_out
    async with await opener(settings(host="127.0.0.1", port=gateway.port, window=3))() as link:
        queries = [read(unit, 100, 8) for unit in (1, 2, 3)]
        replies = await asyncio.gather(*(link.ask(query, 0.5) for query in queries), return_exceptions=True)
    for query, reply in zip(queries, replies, strict=True):
        assert isinstance(reply, Exception) or reply == truth(query)


async def test_replies_in_pieces_do_not_disturb_the_requests_between_them(gateway: Scripted) -> None:
    waiting = asyncio.Event()

    async def in_pieces(request: bytes) -> bytes:
        reply = await gateway.answer_honestly(request)
        if len(gateway.requests) == 1:
            gateway.writers[-1].write(reply[:11])
            waiting.set()
            return b""
        first = await gateway.answer_honestly(gateway.requests[0])
        return first[11:] + reply

    gateway.script = in_pieces
    async with await opener(settings(host="127.0.0.1", port=gateway.port, window=2))() as link:
        one, two = (read(unit, 100) for unit in (1, 2))
        first = asyncio.create_task(link.ask(one, 1.0))
        await waiting.wait()
        for _ in range(20):
            await SystemClock().sleep(0)  # the piece arrives
        assert await link.ask(two, 1.0) == truth(two)
        assert await first == truth(one)


async def test_a_window_falls_back_to_one_when_a_reply_is_lost(
    gateway: Scripted,
    make_points: MakePoints,
    address_profile: DeviceProfile,
    intake: FakeIntake,
    run_source: Run,
) -> None:
    """The gateway loses a request when several are on their way, as many do."""
    points = make_points(*((f"d{unit}", address_profile, unit) for unit in range(1, 7)))
    clock = ManualClock()
    source = ModbusSource(settings(host="127.0.0.1", port=gateway.port, window=4), points, intake, clock)
    lost: set[int] = set()

    async def loses_some(request: bytes) -> bytes:
        if not source.state.counts["window_fallbacks"] and len(gateway.requests) % 5 == 3:
            lost.add(request[6])
            return b""
        return await gateway.answer_honestly(request)

    gateway.script = loses_some
    async with run_source(source.run()), asyncio.timeout(60):
        while not source.state.counts["window_fallbacks"] or len(intake.batches) < 20:
            await clock.advance(0.5)
            await SystemClock().sleep(0.001)
    assert source.state.counts["window_fallbacks"] == 1
    bad = np.concatenate([batch.quality for batch in intake.batches])
    assert np.count_nonzero(bad) <= 4 * len(lost), "only units whose replies were lost"
    truths = {p.index: 1000.0 * p.device.modbus.unit + int(p.key.name[1:]) for p in points if p.device.modbus}
    for batch in intake.batches:
        good = batch.quality == Quality.GOOD
        assert batch.value[good].tolist() == [truths[index] for index in batch.point[good].tolist()]


async def asked_for_identity(link: Link, unit: int) -> dict[int, str]:
    walk = identification(unit)
    query = next(walk)
    try:
        while True:
            query = walk.send(await link.ask(query, 1.0))
    except StopIteration as end:
        objects: dict[int, str] = end.value
        return objects


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.RTU_OVER_TCP])
async def test_an_independent_server_tells_what_it_is(transport: Transport) -> None:
    objects = {0: "Vendor", 1: "P" * 200, 2: "1.0", 4: "Q" * 200, 0x80: "serial 7"}
    unit = MappedUnit(TURBINE, lambda: None, identification=Identification(objects))  # type: ignore[arg-type,return-value]
    async with Simulated("gw", Line(transport), {7: unit}) as server:
        name = "tcp" if transport is Transport.TCP else "rtu_over_tcp"
        gateway = settings(transport=name, host="127.0.0.1", port=server.port)
        async with await opener(gateway)() as link:
            assert await asked_for_identity(link, 7) == objects
