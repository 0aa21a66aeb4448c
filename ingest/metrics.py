"""Prometheus metrics of the pipeline."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

READINGS_COMMITTED = Counter("greenbridge_readings_committed", "Readings made durable in the journal")
RECORDS_COMMITTED = Counter("greenbridge_records_committed", "Records made durable in the journal")
COMMIT_SECONDS = Histogram(
    "greenbridge_journal_commit_seconds",
    "Duration of a group commit of the journal",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
COMMIT_FAILURES = Counter("greenbridge_journal_commit_failures", "Group commits that failed")
ROLL_FAILURES = Counter(
    "greenbridge_journal_roll_failures", "Failed attempts to close a segment or to delete old ones"
)
QUEUED_READINGS = Gauge("greenbridge_journal_queued_readings", "Readings waiting for a commit")
JOURNAL_BYTES = Gauge("greenbridge_journal_bytes", "Size of the records in the journal")
DAMAGED_RECORDS = Counter("greenbridge_journal_damaged", "Damaged records passed over when reading")
SEGMENTS_DELETED = Counter("greenbridge_journal_segments_deleted", "Segments deleted by retention")
JOURNAL_TROUBLE = Gauge("greenbridge_journal_trouble", "1 while the journal takes nothing", ["state"])
DETACHED_READINGS = Gauge(
    "greenbridge_detached_readings", "Readings deleted before a detached store had read them", ["store"]
)
REFILLED_READINGS = Counter(
    "greenbridge_refilled_readings", "Readings that a detached store was given later", ["store"]
)
DERIVED_READINGS = Counter("greenbridge_derived_readings", "Readings that formulas made of others")
DEAD_LETTERS = Counter("greenbridge_dead_letters", "Dead letters kept", ["origin", "reason"])
DEAD_LETTERS_DROPPED = Counter("greenbridge_dead_letters_dropped", "Oldest dead letters dropped for space")
READ_TO_DURABLE_SECONDS = Histogram(
    "greenbridge_read_to_durable_seconds",
    "From receipt of a batch to its commit",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
NOT_FINITE = Counter("greenbridge_readings_not_finite", "NaN or infinite values marked bad at the intake")
STORE_LAG_RECORDS = Gauge("greenbridge_store_lag_records", "Records not yet applied", ["store"])
STORE_FAILURES = Counter("greenbridge_store_failures", "Failed attempts to apply", ["store", "state"])
STORE_READINGS = Gauge("greenbridge_store_readings", "What became of the readings", ["store", "outcome"])
TASK_RESTARTS = Counter("greenbridge_task_restarts", "Restarts of a supervised task", ["task"])
