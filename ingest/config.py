"""Settings of the journal and the stores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from telemetry.settings import Settings

Bytes = Annotated[int, Field(ge=1 << 16)]
Days = Annotated[int, Field(ge=1, le=36_500)]


class JournalSettings(Settings):
    """The journal."""

    segment_bytes: Bytes = 64 << 20
    """Size of the records at which a segment is closed and the next one begun [B]."""
    max_bytes: Bytes = 1 << 30
    """Largest size of the closed segments [B]; the open one adds up to ``segment_bytes``.

    Above it the oldest segments are deleted that every consumer has passed, then those that only consumers
    lack which may be detached; if others still need them, nothing more is taken until they have caught up.
    """
    min_free_bytes: Annotated[int, Field(ge=0)] = 128 << 20
    """Space that stays free on the disk for everything else in the state directory [B]; below it the journal
    takes nothing more."""
    reserve_bytes: Annotated[int, Field(ge=0)] = 16 << 20
    """Size of the file that is given up when the disk is full nevertheless, so that cursors and alarms can
    still be written [B]."""
    max_queued_readings: Annotated[int, Field(ge=1)] = 200_000
    """Readings that may wait for a commit; further sources are held back."""


class DeadLetterSettings(Settings):
    """The store of dead letters."""

    max_count: Annotated[int, Field(ge=1)] = 100_000
    """Letters kept; the oldest are dropped and counted."""
    max_bytes: Bytes = 64 << 20
    """Size of the payloads kept [B]; the oldest letters are dropped and counted."""
    max_payload_bytes: Annotated[int, Field(ge=0)] = 4096
    """First bytes of a payload that are kept [B]."""


class EmbeddedSettings(Settings):
    """The embedded store (DuckDB)."""

    memory_mb: Annotated[int, Field(ge=32)] = 512
    """Memory that the database may use [MB]: the more, the faster queries over long times; writing, also of a
    backlog, needs 32."""
    threads: Annotated[int, Field(ge=1, le=64)] = 2
    """Threads that a query may use."""
    apply_every_s: Annotated[float, Field(ge=0, le=60)] = 0.2
    """Shortest time between two transactions [s]; the journal holds the readings meanwhile."""
    compact_readings: Annotated[int, Field(ge=1, le=20_000_000)] = 2_000_000
    """Readings after which the newest are sorted into their partitions, at the latest."""
    compact_s: Annotated[float, Field(ge=1, le=86_400)] = 3600.0
    """Time after which the newest readings are sorted into their partitions, at the latest [s]."""
    keep_days: Days = 90
    """Age at which readings are dropped [d]; their roll-ups stay."""
    keep_10s_days: Days = 365
    """Age at which the roll-ups over 10 s are dropped [d]."""
    keep_1min_days: Days = 1095
    """Age at which the roll-ups over 1 min are dropped [d]."""
    keep_15min_days: Days = 3650
    """Age at which the roll-ups over 15 min, and event records, are dropped [d]."""
    max_mb: Annotated[int, Field(ge=64)] = 20_000
    """Size of the data above which the oldest partitions are dropped, readings before roll-ups [MB]."""

    @model_validator(mode="after")
    def _coarser_stay_longer(self) -> EmbeddedSettings:
        ages = (self.keep_days, self.keep_10s_days, self.keep_1min_days, self.keep_15min_days)
        if list(ages) != sorted(ages):
            raise ValueError(
                "keep_days, keep_10s_days, keep_1min_days and keep_15min_days must not fall in this order: "
                f"{ages} would drop a roll-up before what it sums up"
            )
        return self


class InfluxSettings(Settings):
    """InfluxDB 2.x, or any server with its write endpoint and the InfluxQL query endpoint."""

    enabled: bool = True
    url: Annotated[str, Field(pattern=r"^https?://[^/]+(/.*)?$")]
    """Address of the server, for example ``http://influxdb:8086``."""
    org: Annotated[str, Field(min_length=1)]
    """Organisation."""
    bucket: Annotated[str, Field(min_length=1)]
    """Bucket; InfluxQL reads it as the database of this name."""
    token_file: Path | None = None
    """File that holds the token."""
    token_env: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = None
    """Environment variable that holds the token."""
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    """Longest time for one request [s]."""
    apply_every_s: Annotated[float, Field(ge=0, le=60)] = 0.5
    """Shortest time between two writes [s]; the journal holds the readings meanwhile."""

    @model_validator(mode="after")
    def _one_token(self) -> InfluxSettings:
        if (self.token_file is None) == (self.token_env is None):
            raise ValueError("give either token_file or token_env")
        return self


class VictoriaSettings(Settings):
    """VictoriaMetrics, single-node or behind vmagent's address of one."""

    enabled: bool = True
    url: Annotated[str, Field(pattern=r"^https?://[^/]+(/.*)?$")]
    """Address of the server, for example ``http://victoria:8428``."""
    timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    """Longest time for one request [s]."""
    apply_every_s: Annotated[float, Field(ge=0, le=60)] = 0.5
    """Shortest time between two writes [s]; the journal holds the readings meanwhile."""
    durable_after_s: Annotated[float, Field(ge=60, le=3600)] = 60.0
    """Time after which lines that the server took are on its disk [s]."""
