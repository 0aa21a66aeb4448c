"""Run as a process: a host application that keeps a ledger, flushed to disk at each commit."""

from __future__ import annotations

import asyncio
import math
import os
import sys
from collections.abc import Sequence
from io import RawIOBase

import structlog

from adapters.sparkplug.config import HostSettings
from adapters.sparkplug.source import SparkplugSource
from ingest.ports import Committed, DeadLetter
from telemetry.batch import ReadingBatch
from telemetry.clock import SystemClock
from telemetry.devices import Device, Role, SparkplugAddress
from telemetry.points import PointKey
from telemetry.profiles import parse_profile
from telemetry.site import SitePoint

PROFILE = """
id = "counter"
title = "Counts"
source = "test"
[points.W]
title = "number"
unit = "1"
[sparkplug.metrics]
W = { metric = "W" }
"""


class LedgerIntake:
    """Keeps each good value and each mark, by its time [ms]."""

    def __init__(self, ledger: RawIOBase) -> None:
        self.ledger = ledger

    async def submit(self, batch: ReadingBatch) -> Committed:
        columns = zip(batch.t_source.tolist(), batch.value.tolist(), batch.quality.tolist(), strict=True)
        lines = [
            f"{'bad' if math.isnan(value) else round(value)} {t // 10**6} {quality}\n"
            for t, value, quality in columns
        ]
        self.ledger.write("".join(lines).encode())
        os.fsync(self.ledger.fileno())
        return Committed(1, batch.t_received)

    async def reject(self, letters: Sequence[DeadLetter]) -> None:
        self.ledger.write(b"".join(f"letter {letter.reason} 0\n".encode() for letter in letters))


def points() -> list[SitePoint]:
    profile = parse_profile(PROFILE, "counter.toml")
    address = SparkplugAddress(host="main", group="corridor", edge="site", device="t1")
    device = Device(id="t1", profile="counter", node="SHY", role=Role.UNIT, sparkplug=address)
    return [SitePoint(0, PointKey("t1", "W", "1"), profile.points["W"], device, profile)]


async def main(port: int, ledger: RawIOBase) -> None:
    host = HostSettings(
        id="main", host="127.0.0.1", port=port, client_id="host", host_id="scada", backoff_first_s=0.05
    )
    await SparkplugSource(host, points(), LedgerIntake(ledger), SystemClock()).run()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with open(sys.argv[2], "ab", buffering=0) as opened:
        asyncio.run(main(int(sys.argv[1]), opened))
