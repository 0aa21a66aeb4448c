"""Devices, points and a misbehaving gateway for the adapters' tests."""

from __future__ import annotations

import asyncio
import shutil
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from ingest.fakes import FakeIntake
from telemetry.devices import Device, ModbusAddress, MqttAddress, Role
from telemetry.points import PointKey
from telemetry.profiles import DeviceProfile, parse_profile
from telemetry.registry import PointRegistry
from telemetry.site import SitePoint, point_keys
from tests.adapters.modbus_rig import Rig

MakePoints = Callable[..., list[SitePoint]]


@pytest.fixture
def intake() -> FakeIntake:
    return FakeIntake()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of PEM files, made for this run of the tests.

    An authority (ca), a server for localhost and a client, whose key "unlock" unlocks, made by it, and an
    authority that made nothing (other).
    """
    if shutil.which("openssl") is None:
        pytest.skip("openssl not found; on Debian: apt-get install openssl")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    def key(name: str, *protection: str) -> tuple[str, ...]:
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
        return (*curve, "-keyout", f"{name}.key", *(protection or ("-nodes",)))

    for name in ("ca", "other"):
        openssl("req", "-x509", *key(name), "-out", f"{name}.pem", "-subj", f"/CN={name}", "-days", "2")
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    for name, protection in (("server", ()), ("client", ("-passout", "pass:unlock"))):
        openssl("req", *key(name, *protection), "-out", f"{name}.csr", "-subj", f"/CN={name}")
        sign = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *sign)
    return folder


def points_of(*devices: tuple[str, DeviceProfile, int | str]) -> list[SitePoint]:
    """Points of devices given as (id, profile, unit or topic); indices from 0 in their order."""
    made = []
    for name, profile, address in devices:
        modbus = ModbusAddress(gateway="gw", unit=address) if isinstance(address, int) else None
        mqtt = MqttAddress(broker="main", topic=address) if isinstance(address, str) else None
        made.append(
            Device(id=name, profile=profile.id, node="SHY", role=Role.INJECTION, modbus=modbus, mqtt=mqtt)
        )
    profiles = {profile.id: profile for _, profile, _ in devices}
    registry = PointRegistry(point_keys(made, profiles))
    points = []
    for device in made:
        profile = profiles[device.profile]
        for point_name, spec in profile.points.items():
            key = PointKey(device.id, point_name, spec.unit.value)
            points.append(SitePoint(registry.index(key), key, spec, device, profile))
    return points


@pytest.fixture
def make_points() -> MakePoints:
    return points_of


@pytest.fixture
def address_profile() -> DeviceProfile:
    """Four float32 values whose true value is their own address plus 1000 times the unit."""
    registers = [100, 102, 300, 302]
    lines = ['id = "address"', 'title = "Own address"', 'source = "test"', "period_s = 1.0"]
    for address in registers:
        lines += [f"[points.R{address}]", 'title = "own address"', 'unit = "1"']
    lines += ["[modbus]", "max_gap = 8", "[modbus.registers]"]
    lines += [f'R{address} = {{ address = {address}, type = "float32" }}' for address in registers]
    return parse_profile("\n".join(lines), "address.toml")


def honest(request: bytes) -> bytes:
    """The right reply: each float32 holds 1000 * unit + its own address."""
    tid, _, _, unit, function, address, count = struct.unpack(">HHHBBHH", request)
    data = b"".join(struct.pack(">f", 1000 * unit + address + i) for i in range(0, count, 2))[: 2 * count]
    return struct.pack(">HHHBBB", tid, 0, 3 + len(data), unit, function, len(data)) + data


class Gateway:
    """A scripted gateway: ``script`` decides what is sent for each request; None hangs up."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[bytes] = []
        self.connections = 0
        self.script: Callable[[bytes], Awaitable[bytes | None]] = self.answer_honestly
        self.greeting = b""
        self.writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer_honestly(self, request: bytes) -> bytes:
        return honest(request)

    def units(self) -> list[int]:
        """Unit of each request so far."""
        return [request[6] for request in self.requests]

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        self.writers.append(writer)
        try:
            if self.greeting:
                writer.write(self.greeting)
            while True:
                request = await reader.readexactly(12)
                self.requests.append(request)
                reply = await self.script(request)
                if reply is None:
                    return
                writer.write(reply)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()
            with suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    made = Gateway()
    await made.start()
    yield made
    await made.stop()


@asynccontextmanager
async def running(source: Awaitable[None]) -> AsyncIterator[asyncio.Task[None]]:
    """Runs a source in a task and cancels it at the end."""
    task = asyncio.ensure_future(source)
    assert isinstance(task, asyncio.Task)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
def run_source() -> Callable[[Awaitable[None]], object]:
    return running


@pytest.fixture
def make_rig(
    gateway: Gateway, make_points: MakePoints, address_profile: DeviceProfile, intake: FakeIntake
) -> Callable[..., Rig]:
    def make(units: int = 2, **changes: object) -> Rig:
        devices = [(f"d{unit}", address_profile, unit) for unit in range(1, units + 1)]
        return Rig(gateway, make_points(*devices), intake, **changes)

    return make
