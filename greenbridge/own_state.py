"""greenbridge's own state as event records, once a minute, so that dashboards and stores hold it too."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from console.ports import Status
from ingest.ports import EventRecord
from telemetry.clock import Clock

KIND = "system"
EVERY_S = 60.0


def records(status: Status, disk_free_bytes: int, now: int) -> list[EventRecord]:
    """One record of the process and one of each store, as of ``now`` [ns, UTC]."""
    latency = status.read_to_durable
    process: dict[str, float | int | str | bool] = {
        "readings_per_s": float(status.readings_per_s),
        "readings": status.readings,
        "dead_letters": status.dead_letters,
        "devices": status.devices,
        "devices_seen": status.devices_seen,
        "links": len(status.links),
        "links_down": sum(not link.up for link in status.links),
        "disk_free_bytes": disk_free_bytes,
    }
    known = {"p50_s": latency.p50_s, "p99_s": latency.p99_s}
    process |= {name: value for name, value in known.items() if value is not None}
    found = [_record("process", "greenbridge", now, process)]
    for store in status.stores:
        fields: dict[str, float | int | str | bool] = {
            "received": store.received,
            "pending": store.pending,
            "detached": store.detached,
            "unaccounted": store.unaccounted,
            "lag_s": float(store.lag_s),
            "detail": store.detail,
        }
        found.append(_record("store", store.name, now, fields))
    return found


def _record(part: str, name: str, now: int, fields: dict[str, float | int | str | bool]) -> EventRecord:
    return EventRecord(KIND, f"{part}-{name}-{now}", now, {"part": part, "name": name}, fields)


class OwnState:
    """Tells the stores how the process is doing.

    Parameters
    ----------
    status
        The state now.
    tell
        Makes event records durable, for the stores.
    clock
        Time.
    state
        State directory, whose disk is looked at.

    """

    def __init__(
        self,
        status: Callable[[], Status],
        tell: Callable[[Sequence[EventRecord]], Awaitable[None]],
        clock: Clock,
        state: Path,
    ) -> None:
        self._status = status
        self._tell = tell
        self._clock = clock
        self._state = state

    async def run(self) -> None:
        """Tells it every minute until cancelled."""
        while True:
            await self._clock.sleep(EVERY_S)
            now = self._clock.now_ns()
            free = (await asyncio.to_thread(shutil.disk_usage, self._state)).free
            await self._tell(records(self._status(), free, now))
