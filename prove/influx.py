"""The store in InfluxDB of a subject, and what is found in it after a fault."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from ingest.config import DeadLetterSettings, InfluxSettings, JournalSettings
from ingest.conservation import conservation
from ingest.deadletters import DeadLetters
from ingest.journal.journal import Journal
from ingest.ports import OnFull
from ingest.refill import Refill
from ingest.stores.embedded.store import EmbeddedStore
from ingest.stores.influx.store import InfluxStore
from prove.audit import Audit, compared
from prove.influxd import BUCKET, TIMEOUT_S, Line, line_key
from prove.ledger import POINTS, SOURCES, STORE, Ledger
from telemetry.clock import Clock, SystemClock
from telemetry.grid import Area, Grid, LineParameters
from telemetry.points import PointKey
from telemetry.registry import PointRegistry
from telemetry.site import Site

_GRID = Grid(
    u_rated_kv=500,
    line_parameters=LineParameters(r_ohm_per_km=0.03, x_ohm_per_km=0.3, b_us_per_km=3, corona_kw_per_km=0),
    area=(Area(id="KZ", name="Kazakhstan", utc_offset_h=5, sync_area="UPS"),),
    node=(),
)

_PATIENT_S = 120.0
"""How long the audit waits for an answer, which may be everything that is stored [s]."""


def influx_store(
    url: str, journal: Journal, letters: DeadLetters, clock: Clock, timeout_s: float = TIMEOUT_S
) -> InfluxStore:
    """The store at an address; every source is a device with its points."""
    registry = PointRegistry(
        [PointKey(f"source{i // POINTS}", f"P{i % POINTS}", "MW") for i in range(SOURCES * POINTS)]
    )
    journal.cursors.register("influx", OnFull.DETACH)
    return InfluxStore(
        InfluxSettings(url=url, org="prove", bucket=BUCKET, token_env="INFLUX", timeout_s=timeout_s),  # noqa: S106  a name
        Site.of("prove", _GRID, [], {}, registry),
        registry,
        cursors=journal.cursors,
        letters=letters,
        clock=clock,
        environment={"INFLUX": "prove"},
    )


def audit_influx(
    state: Path, ledger: Ledger, settings: dict[str, Any], url: str, refused: set[Line]
) -> Audit:
    """Lets the store in InfluxDB catch up with what the dead process left, and compares what is in it.

    Lines of ``refused`` may be missing if they are among the dead letters; a letter that nobody refused
    counts as spurious.
    """
    return asyncio.run(_audit(state, ledger, settings, url, refused))


async def _audit(
    state: Path, ledger: Ledger, settings: dict[str, Any], url: str, refused: set[Line]
) -> Audit:
    clock = SystemClock()
    async with (
        Journal(state / "journal", JournalSettings(**settings), clock) as journal,
        DeadLetters(state / "deadletters.sqlite", DeadLetterSettings()) as letters,
        EmbeddedStore(state / "store.duckdb", STORE) as embedded,
        influx_store(url, journal, letters, clock, _PATIENT_S) as store,
    ):
        before = (await store.position()).offset
        refill = Refill(journal.cursors, embedded, store)
        while records := await journal.read((await store.position()).offset):
            await store.apply(records)
        while await refill.step(await store.position()):
            pass
        sums = await conservation(journal, store)
        found = await store.query.range(range(SOURCES * POINTS), 0, 1 << 62, limit=1 << 40)
        kept = [one.letter.payload for one in await letters.newest(limit=1 << 40) if one.origin == store.name]
        excused = {key for key in map(line_key, kept) if key is not None}
        wrong_letters = len(kept) - sum(line_key(payload) in refused for payload in kept)
        result = compared(found, ledger, sums, replayed=journal.head - before, excused=excused)
        return replace(result, spurious=result.spurious + wrong_letters)
