"""Counts wrong values that are marked good while a source polls a gateway that lies; there must be none.

``python -m benchmarks.hostile [--exchanges N] [--seed N] [--json FILE]``; exit code 1 if there was one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import structlog

from adapters.modbus._connection import Link, Opener, opener
from adapters.modbus.burst import Burst, Fault
from adapters.modbus.codec import FUNCTION_OF_TABLE, Query, Request
from adapters.modbus.config import GatewaySettings
from adapters.modbus.source import ModbusSource
from benchmarks import machine
from benchmarks.hostile_gateway import VALUE, HostileGateway, registers
from ingest.ports import Committed, DeadLetter
from telemetry.batch import ReadingBatch
from telemetry.clock import SystemClock
from telemetry.devices import Device, ModbusAddress, Role
from telemetry.points import PointKey
from telemetry.profiles import DeviceProfile, RegisterTable, parse_profile
from telemetry.quality import Quality
from telemetry.registry import PointRegistry
from telemetry.site import SitePoint, point_keys

FULL = 100_000
"""Exchanges of a full run, over all modes."""
UNITS = 6
TIMEOUT_S = 0.02
ADDRESSES = ((3, 100), (3, 104), (3, 300), (3, 304), (3, 500), (3, 504), (4, 100), (4, 104), (4, 700))
"""Function code and address of each value; most reads are alike in all but their address."""
MODES: dict[str, dict[str, object]] = {
    "tcp": {"transport": "tcp"},
    "tcp, window of 8": {"transport": "tcp", "window": 8},
    "rtu over tcp": {"transport": "rtu_over_tcp", "quiet_s": 0.005, "retries": 1},
}


@dataclass
class Findings:
    """What came of the exchanges of one mode."""

    mode: str
    exchanges: int = 0
    replies: int = 0
    """Accepted by the connection; each was compared with the true registers of its own request."""
    wrong_replies: int = 0
    good_values: int = 0
    wrong_values: int = 0
    """Marked good, but of another register or unit, or of an exchange whose reply was not accepted."""
    bad_values: int = 0
    dead_letters: int = 0
    seconds: float = 0.0
    deeds: dict[str, int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)
    evidence: list[str] = field(default_factory=list)
    """The first wrong replies in words."""


class CheckedLink(Link):
    """A connection whose every accepted reply is compared with what its request asked for."""

    def __init__(self, link: Link, gateway: HostileGateway, found: Findings, accepted: set[int]) -> None:
        self._link = link
        self._gateway = gateway
        self._found = found
        self._accepted = accepted

    @property
    def alive(self) -> bool:
        """As the connection's."""
        return self._link.alive

    @property
    def fault(self) -> Fault | None:
        """As the connection's."""
        return self._link.fault

    async def exchange(self, queries: Sequence[Query], timeout_s: float) -> Burst:
        """As the connection's; compares."""
        burst = await self._link.exchange(queries, timeout_s)
        await self._until_seen()
        self._compare_all(burst)
        return burst

    async def exchange_in_turn(self, burst: Burst, timeout_s: float) -> None:
        """As the connection's; compares, also what was answered before a cancellation."""
        if self._gateway.rtu:
            await super().exchange_in_turn(burst, timeout_s)
            return
        try:
            try:
                await self._link.exchange_in_turn(burst, timeout_s)
            finally:
                await self._until_seen()
        finally:
            self._compare_all(burst)

    @staticmethod
    async def _until_seen() -> None:
        """Returns when the gateway has seen every request that was sent before."""
        for _ in range(3):
            await asyncio.sleep(0)

    def _compare_all(self, burst: Burst) -> None:
        for i, content in enumerate(burst.contents):
            if isinstance(content, bytes):
                self._compare(burst.queries[i], burst.numbers[i] if burst.numbers else 0, content)

    def _compare(self, query: Query, number: int, data: bytes) -> None:
        assert isinstance(query, Request)
        asked = (query.unit, FUNCTION_OF_TABLE[query.table].value, query.address, query.count)
        made = self._gateway.newest if self._gateway.rtu else self._gateway.asked.get((number, *asked))
        self._found.replies += 1
        if (
            made is None
            or (made.unit, made.function, made.address, made.count) != asked
            or made.data() != data
        ):
            self._found.wrong_replies += 1
            if len(self._found.evidence) < 10:
                self._found.evidence.append(f"{query} was answered {data.hex(' ', 2)}; asked for: {made}")
        else:
            self._accepted.add(made.serial & 0xFFFFFF)

    async def __aenter__(self) -> Self:
        await self._link.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._link.__aexit__(kind, error, trace)


class Judge:
    """An intake that looks at every value and keeps none."""

    def __init__(self, points: Sequence[SitePoint], found: Findings, accepted: set[int]) -> None:
        self._truth = {p.index: _identity(p) for p in points}
        self._found = found
        self._accepted = accepted
        self._batches = 0

    async def submit(self, batch: ReadingBatch) -> Committed:
        """Judges a batch."""
        self._batches += 1
        good = batch.quality == Quality.GOOD
        self._found.bad_values += int(np.count_nonzero(~good))
        for index, value in zip(batch.point[good].tolist(), batch.value[good].tolist(), strict=True):
            self._found.good_values += 1
            whole = int(value)
            if whole >> 24 != self._truth[index] or whole & 0xFFFFFF not in self._accepted:
                self._found.wrong_values += 1
        return Committed(self._batches, batch.t_received)

    async def reject(self, letters: Sequence[DeadLetter]) -> None:
        """Counts dead letters."""
        self._found.dead_letters += len(letters)


def _identity(point: SitePoint) -> int:
    assert point.device.modbus is not None
    _, function, address = point.key.name.split("_")
    data = registers(int(function), point.device.modbus.unit, int(address), VALUE, 0)
    return int.from_bytes(data, "big") >> 24


def profile() -> DeviceProfile:
    """A device whose values say where they are from."""
    lines = ['id = "hostile"', 'title = "t"', 'source = "benchmark"', "period_s = 0.002"]
    names = [f"P_{function}_{address}" for function, address in ADDRESSES]
    for name in names:
        lines += [f"[points.{name}]", 'title = "own identity"', 'unit = "1"']
    lines += ["[modbus]", "max_gap = 0", "[modbus.registers]"]
    for name, (function, address) in zip(names, ADDRESSES, strict=True):
        table = RegisterTable.HOLDING if function == 3 else RegisterTable.INPUT
        lines.append(f'{name} = {{ address = {address}, type = "uint64", table = "{table}" }}')
    return parse_profile("\n".join(lines), "hostile.toml")


def site_points(made: DeviceProfile) -> list[SitePoint]:
    """The points of all units."""
    devices = [
        Device(
            id=f"d{unit}",
            profile=made.id,
            node="N",
            role=Role.INJECTION,
            modbus=ModbusAddress(gateway="gw", unit=unit),
        )
        for unit in range(1, UNITS + 1)
    ]
    registry = PointRegistry(point_keys(devices, {made.id: made}))
    points = []
    for device in devices:
        for name, spec in made.points.items():
            key = PointKey(device.id, name, spec.unit.value)
            points.append(SitePoint(registry.index(key), key, spec, device, made))
    return points


async def attacked(mode: str, exchanges: int, seed: int) -> Findings:
    """Polls a hostile gateway until it has seen a number of exchanges."""
    found, accepted = Findings(mode), set[int]()
    begin = time.perf_counter()
    async with HostileGateway(seed, TIMEOUT_S, rtu="rtu" in mode) as gateway:
        settings = GatewaySettings.model_validate(
            {
                "id": "gw",
                "host": "127.0.0.1",
                "port": gateway.port,
                "timeout_s": TIMEOUT_S,
                "backoff_first_s": 0.001,
                "backoff_max_s": 0.005,
            }
            | MODES[mode]
        )
        connect = opener(settings)

        async def checked() -> CheckedLink:
            return CheckedLink(await connect(), gateway, found, accepted)

        made: Opener = checked
        points = site_points(profile())
        judge = Judge(points, found, accepted)
        # a new source now and then: a window that fell back stays at one request for good
        each = 500 if settings.window == 1 else 50
        while gateway.exchanges < exchanges:
            source = ModbusSource(settings, points, judge, SystemClock(), connect=made)
            polling = asyncio.create_task(source.run())
            target = min(exchanges, gateway.exchanges + each)
            while gateway.exchanges < target and not polling.done():
                await asyncio.wait([polling], timeout=0.002)
            polling.cancel()
            await asyncio.wait([polling])
            if not polling.cancelled() and (error := polling.exception()):
                raise error
            found.events = dict(Counter(found.events) + source.state.counts)
        found.exchanges, found.deeds = gateway.exchanges, dict(gateway.deeds)
    found.seconds = round(time.perf_counter() - begin, 1)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Attacks in every mode; prints what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description="Attacks a source.")
    parser.add_argument("--exchanges", type=int, default=FULL, metavar="N", help=f"in all; default {FULL}")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the gateway's whims; default 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what came of it to a file")
    options = parser.parse_args(arguments)
    about, results = machine.description(), []
    for mode in MODES:
        found = asyncio.run(attacked(mode, -(-options.exchanges // len(MODES)), options.seed))
        results.append(found)
        print(
            f"{mode}: {found.exchanges} exchanges in {found.seconds:g} s; "
            f"{found.replies} replies accepted, {found.wrong_replies} wrong; "
            f"{found.good_values} values good, {found.wrong_values} wrong; {found.bad_values} marked bad",
            file=sys.stderr,
        )
    if options.json is not None:
        document = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": about,
            "seed": options.seed,
            "modes": [asdict(found) for found in results],
        }
        options.json.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    return int(any(found.wrong_values or found.wrong_replies for found in results))


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    raise SystemExit(main())
