"""Run as a process: receives with an MqttSource and keeps a ledger that is flushed to disk at each commit."""

from __future__ import annotations

import asyncio
import math
import os
import sys
from collections.abc import Sequence
from io import RawIOBase

import structlog

from adapters.mqtt.config import BrokerSettings
from adapters.mqtt.source import MqttSource
from ingest.ports import Committed, DeadLetter
from telemetry.batch import ReadingBatch
from telemetry.clock import SystemClock
from telemetry.devices import Device, MqttAddress, Role
from telemetry.points import PointKey
from telemetry.profiles import parse_profile
from telemetry.site import SitePoint

PROFILE = """
id = "counter"
title = "Counts up"
source = "test"
[points.N]
title = "number"
unit = "1"
[json]
time_field = "ts"
[json.fields]
N = { field = "n" }
"""


SLOW_DISK_S = 0.05
"""Long enough to be killed between receipt and commit, where a message is lost that is acknowledged early."""


class LedgerIntake:
    def __init__(self, ledger: RawIOBase) -> None:
        self.ledger = ledger

    async def submit(self, batch: ReadingBatch) -> Committed:
        good = [value for value in batch.value.tolist() if not math.isnan(value)]
        await self._commit([f"n {value:.0f}" for value in good])
        return Committed(1, batch.t_received)

    async def reject(self, letters: Sequence[DeadLetter]) -> None:
        await self._commit([f"x {letter.payload.decode()}" for letter in letters])

    async def _commit(self, lines: list[str]) -> None:
        await SystemClock().sleep(SLOW_DISK_S)
        _tell(0)
        await SystemClock().sleep(SLOW_DISK_S)
        self.ledger.write("".join(f"{line}\n" for line in lines).encode())
        os.fsync(self.ledger.fileno())
        _tell(len(lines))


def _tell(committed: int) -> None:
    """Tells the parent: 0 in the middle of a commit, the number of messages at its end."""
    sys.stdout.write(f"{committed}\n")
    sys.stdout.flush()


async def main(port: int, ledger: RawIOBase) -> None:
    profile = parse_profile(PROFILE, "counter.toml")
    device = Device(
        id="meter",
        profile="counter",
        node="SHY",
        role=Role.INJECTION,
        mqtt=MqttAddress(broker="main", topic="site/meter"),
    )
    points = [SitePoint(0, PointKey("meter", "N", "1"), profile.points["N"], device, profile)]
    settings = BrokerSettings(
        id="main", host="127.0.0.1", port=port, client_id="ledger", backoff_first_s=0.05
    )
    await MqttSource(settings, points, LedgerIntake(ledger), SystemClock()).run()


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with open(sys.argv[2], "ab", buffering=0) as opened:
        asyncio.run(main(int(sys.argv[1]), opened))
