"""Stores beside the embedded one: which there are, and how each is opened."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from greenbridge.settings import Configuration, SiteSettings
from ingest.config import InfluxSettings, VictoriaSettings
from ingest.deadletters import DeadLetters
from ingest.journal.cursors import Cursors
from ingest.ports import Position
from ingest.refill import CHUNK
from ingest.stores.embedded.store import EmbeddedStore
from ingest.stores.influx.store import InfluxStore
from ingest.stores.victoria.store import VictoriaStore
from telemetry.batch import Columns
from telemetry.clock import Clock
from telemetry.registry import PointRegistry
from telemetry.site import Site


@dataclass(frozen=True, slots=True)
class FurtherStore:
    """A store that is built and not yet opened."""

    store: InfluxStore | VictoriaStore
    apply_every_s: float
    """Shortest time between two writes [s]."""
    refill_chunk: int
    """Readings that it is given in one step after a gap."""


def in_use(settings: SiteSettings) -> dict[str, InfluxSettings | VictoriaSettings]:
    """Settings of the further stores that are enabled, by name."""
    tables = {"influx": settings.influx, "victoria": settings.victoria}
    return {name: table for name, table in tables.items() if table is not None and table.enabled}


def further_stores(
    configuration: Configuration,
    site: Site,
    registry: PointRegistry,
    *,
    names: Collection[str],
    cursors: Cursors,
    letters: DeadLetters,
    clock: Clock,
    environment: Mapping[str, str],
) -> Iterator[FurtherStore]:
    """Builds those of some names that are enabled; none of them does anything before it is opened.

    Raises
    ------
    StorageError
        There is no token where the settings say.

    """
    for name, table in in_use(configuration.settings).items():
        if name not in names:
            continue
        if isinstance(table, InfluxSettings):
            influx = InfluxStore(
                table,
                site,
                registry,
                cursors=cursors,
                letters=letters,
                clock=clock,
                environment=environment,
            )
            yield FurtherStore(influx, table.apply_every_s, CHUNK)
        else:
            victoria = VictoriaStore(table, site, registry, cursors=cursors, letters=letters, clock=clock)
            yield FurtherStore(victoria, table.apply_every_s, VictoriaStore.REFILL_CHUNK)


class StoredReadings:
    """The embedded store as the settlement asks it: one part writes, another is asked."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store

    async def position(self) -> Position:
        """How far it has come."""
        return await self._store.position()

    async def range(self, points: Sequence[int], start: int, end: int, limit: int = 100_000) -> Columns:
        """Readings with start <= t_source < end [ns, UTC]."""
        return await self._store.query.range(points, start, end, limit)
