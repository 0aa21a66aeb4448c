from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from console.ports import Latency, LinkStatus, Status, StoreStatus
from greenbridge.own_state import EVERY_S, OwnState, records
from ingest.ports import EventRecord, Totals
from telemetry.clock import ManualClock, settle

STORE = StoreStatus("influx", 1000, Totals(stored=900), 90, 2.5, "InfluxDB does not answer", detached=4)


def status(latency: Latency) -> Status:
    links = [LinkStatus("modbus/SHY", up=True, since=0), LinkStatus("mqtt/main", up=False, since=0)]
    return Status(0, 190, 12, 191.5, 1000, 3, latency, links, [STORE])


def test_process_and_stores_are_told_apart() -> None:
    process, store = records(status(Latency(0.01, 0.2)), 10**9, 7)
    assert (process.tags, store.tags) == (
        {"part": "process", "name": "greenbridge"},
        {"part": "store", "name": "influx"},
    )
    assert (process.fields["links"], process.fields["links_down"], process.fields["p99_s"]) == (2, 1, 0.2)
    assert (store.fields["unaccounted"], store.fields["lag_s"]) == (1000 - 900 - 90 - 4, 2.5)
    assert len({process.key, store.key}) == 2


def test_what_is_not_known_is_left_out() -> None:
    process, _ = records(status(Latency()), 10**9, 7)
    assert "p50_s" not in process.fields
    assert "p99_s" not in process.fields


async def test_it_is_told_once_a_minute(tmp_path: Path) -> None:
    told: list[Sequence[EventRecord]] = []
    came = asyncio.Event()

    async def tell(found: Sequence[EventRecord]) -> None:
        told.append(found)
        came.set()

    clock = ManualClock()
    task = asyncio.create_task(OwnState(lambda: status(Latency()), tell, clock, tmp_path).run())
    try:
        for _ in range(2):
            await settle()
            await clock.advance(EVERY_S)
            async with asyncio.timeout(30):
                await came.wait()
            came.clear()
    finally:
        task.cancel()
        await asyncio.wait([task])
    first, second = ([record.t for record in found] for found in told)
    assert {later - earlier for earlier, later in zip(first, second, strict=True)} == {int(EVERY_S * 1e9)}
    assert int(told[0][0].fields["disk_free_bytes"]) > 0
