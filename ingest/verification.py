"""Verification: what was expected, what the journal holds and what the embedded store made of it.

Reads the files of a state directory, not the running process, so that it shares no code path with what it
judges but the record format. The journal can be read beside a running greenbridge, the embedded store
cannot; without it nothing is said about loss.
"""

from __future__ import annotations

import math
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from ingest.databases import open_database
from ingest.deadletters import LETTERS
from ingest.journal.segments import SegmentReader, segments_in
from ingest.ports import JournalRecord
from ingest.stores.embedded.partitions import RAW, catalogue, horizon
from ingest.verification_sql import ABSENT, APPLIED, BEFORE, COMPARED, COUNTS, EARLIER
from telemetry.errors import StorageError

SECOND = 1_000_000_000
_CHUNK = 200_000
_MEMORY_MB = 512


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a point is expected to send."""

    period_s: float | None
    """Time between two readings [s]; None for a point that only reports changes."""
    late_s: float
    """Delay from measurement to receipt above which a reading counts as late [s]."""
    deadband: tuple[float, float] | None = None
    """Width [unit of the point] and longest silence [s] of what the store may leave out."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which readings are looked at, by source time, and in what intervals."""

    start: int
    """[ns, UTC]."""
    end: int
    """[ns, UTC], not included."""
    step: int
    """Length of an interval [ns]; the first begins at ``start``."""
    since: int | None = None
    """Before this nothing is expected, because nobody received [ns, UTC]."""
    until: int | None = None
    """From here on nothing is expected [ns, UTC]."""

    def length_s(self, start: int) -> float:
        """Time in the interval that begins at ``start`` in which something is expected [s]."""
        first = start if self.since is None else max(start, self.since)
        last = min(start + self.step, self.end)
        return max(0, (last if self.until is None else min(last, self.until)) - first) / SECOND

    @property
    def starts(self) -> range:
        """Start of each interval [ns, UTC]."""
        return range(self.start, self.end, self.step)


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the readings of one point in one interval."""

    point: int
    start: int
    """Start of the interval [ns, UTC]."""
    expected: int | None
    """Readings that the period promises; None when it promises none."""
    received: int = 0
    """Readings in the journal, repetitions included."""
    keys: int = 0
    """Different source times among them."""
    late: int = 0
    duplicates: int = 0
    revised: int = 0
    bad: int = 0
    """Source times whose newest reading is bad."""
    pending: int = 0
    """Source times that the store has not applied yet."""
    lost: int = 0
    """Source times that the store says it has applied, and that are not in it."""
    suppressed: int = 0
    """Source times that are not in it because a stored reading within the deadband says the same."""
    differing: int = 0
    """Source times for which the store holds another value or quality than the journal."""

    @property
    def missing(self) -> int:
        """Readings that were expected and never received; a period of polling is one more or less."""
        return 0 if self.expected is None else max(0, self.expected - self.keys)


@dataclass(frozen=True, slots=True)
class LetterTally:
    """Dead letters of one source and reason in one interval of receipt."""

    source: str
    reason: str
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class Verification:
    """The report."""

    window: Window
    first: int
    """Oldest record that the journal still holds; what came before it is not judged."""
    head: int
    damaged: int
    """Records that cannot be read."""
    store: str
    """Empty when the store was compared, else why it was not."""
    applied: int
    """Newest record that the store has applied."""
    tallies: Sequence[Tally]
    letters: Sequence[LetterTally] = ()
    spurious: int = 0
    """Readings in the store that no record explains which it says it has them from."""
    duplicate_keys: int = 0
    """Readings in the store beyond one for each point and source time."""
    left_out: int = 0
    """Readings that deadbands held back since the store's beginning."""
    totals: Mapping[str, int] = field(default_factory=dict)
    """Sum of every term of the tallies."""

    @property
    def holds(self) -> bool:
        """True if nothing that was acknowledged is lost, altered, doubled or made up."""
        wrong = self.totals.get("lost", 0) + self.totals.get("differing", 0)
        return wrong + self.spurious + self.duplicate_keys + self.damaged == 0


def verify(
    state: Path, expectations: Mapping[int, Expectation], window: Window | None, step: int
) -> Verification:
    """Verifies a state directory.

    Parameters
    ----------
    state
        The directory of greenbridge's state.
    expectations
        The points to look at, by index.
    window
        What to look at; None for all times between the first and last commit in the journal.
    step
        Length of an interval if no window is given [ns].

    Raises
    ------
    StorageError
        The journal, the store or the dead letters cannot be read.

    """
    try:
        return _verify(state, expectations, window, step)
    except duckdb.Error as error:
        raise StorageError(f"{state / 'store.duckdb'} cannot be compared: {error}") from error


def _verify(
    state: Path, expectations: Mapping[int, Expectation], window: Window | None, step: int
) -> Verification:
    segments = segments_in(state / "journal")
    with closing(SegmentReader()) as reader, _workspace() as db:
        head = reader.head(segments)
        damaged = _load(db, reader, segments, head)
        window = window or _whole(db, step)
        attached, store = _attach(db, state / "store.duckdb")
        applied, left_out = map(
            int, _one(db, "SELECT record, suppressed FROM store.state") if attached else (0, 0)
        )
        _limits(db, expectations)
        tallies = _tallies(db, expectations, window, applied, attached)
        spurious, duplicate_keys = _extra(db, window, applied) if attached else (0, 0)
        names = [n for n in Tally.__slots__ if n not in {"point", "start", "expected"}]
        totals = {name: sum(getattr(t, name) for t in tallies) for name in (*names, "missing")}
        return Verification(
            window,
            segments[0].first if segments else 1,
            head,
            damaged,
            store,
            applied,
            tallies,
            _letters(state / "deadletters.sqlite", window),
            spurious,
            duplicate_keys,
            left_out,
            totals | {"expected": sum(t.expected or 0 for t in tallies)},
        )


@contextmanager
def _workspace() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database of its own on disk, so that a large journal needs little memory."""
    with tempfile.TemporaryDirectory(prefix="greenbridge-verify-") as directory:
        config: dict[str, Any] = {"memory_limit": f"{_MEMORY_MB}MB", "temp_directory": directory}
        with closing(duckdb.connect(f"{directory}/verify.duckdb", config=config)) as db:
            db.execute(
                "CREATE TABLE j (point UINTEGER, t BIGINT, value DOUBLE, quality UTINYINT, record UBIGINT, "
                "line UINTEGER, received BIGINT, committed BIGINT)"
            )
            yield db


def _load(db: duckdb.DuckDBPyConnection, reader: SegmentReader, segments: Any, head: int) -> int:
    after, damaged = segments[0].first - 1 if segments else 0, 0
    while after < head:
        records, damages = reader.read(segments, after, head, _CHUNK)
        damaged += len(damages)
        if not records:
            break
        _insert(db, records)
        after = records[-1].offset
    return damaged


def _insert(db: duckdb.DuckDBPyConnection, records: Sequence[JournalRecord]) -> None:
    lengths = [len(record.batch) for record in records]

    def each(values: Sequence[int], dtype: type[np.generic]) -> Any:
        return np.repeat(np.array(values, dtype), lengths)

    batches = [record.batch for record in records]
    columns = {
        "point": np.concatenate([b.point for b in batches]),
        "t": np.concatenate([b.t_source for b in batches]),
        "value": np.concatenate([b.value for b in batches]),
        "quality": np.concatenate([b.quality for b in batches]),
        "record": each([r.offset for r in records], np.uint64),
        "line": np.concatenate([np.arange(n, dtype=np.uint32) for n in lengths]),
        "received": each([b.t_received for b in batches], np.int64),
        "committed": each([r.t_committed for r in records], np.int64),
    }
    db.register("fresh", columns)
    try:
        db.execute(
            "INSERT INTO j SELECT point, t, CASE WHEN isnan(value) THEN NULL ELSE value END, quality, "
            "record, line, received, committed FROM fresh"
        )
    finally:
        db.unregister("fresh")


def _whole(db: duckdb.DuckDBPyConnection, step: int) -> Window:
    """From the first to the last commit, on whole intervals of UTC."""
    first, last = _one(db, "SELECT min(committed), max(committed) FROM j")
    if first is None:
        return Window(0, 0, step)
    return Window(int(first) // step * step, (int(last) // step + 1) * step, step, int(first), int(last) + 1)


def _attach(db: duckdb.DuckDBPyConnection, path: Path) -> tuple[bool, str]:
    if not path.exists():
        return False, f"{path} does not exist"
    quoted = str(path).replace("'", "''")
    try:
        db.execute(f"ATTACH '{quoted}' AS store (READ_ONLY)")
    except duckdb.Error as error:
        reason = str(error).splitlines()[0]
        if "lock" in reason:
            reason = "greenbridge runs on it; stop it, or verify a backup, to compare the store"
        return False, reason
    db.execute("USE store")
    tables = ["hot", *(partition.table for partition in catalogue(db, RAW))]
    kept_from = horizon(db, RAW)
    db.execute("USE verify")
    each = [f"SELECT point, t_source, value, quality, record FROM store.{t}" for t in tables]  # noqa: S608  its own
    db.execute("CREATE TEMP VIEW reading AS " + " UNION ALL ".join(each))
    db.execute("CREATE TABLE kept AS SELECT ?::BIGINT AS since", [kept_from])
    return True, ""


def _limits(db: duckdb.DuckDBPyConnection, expectations: Mapping[int, Expectation]) -> None:
    points = np.array(sorted(expectations), np.uint32)
    late = np.array([round(expectations[int(p)].late_s * SECOND) for p in points], np.int64)
    bands = [expectations[int(p)].deadband or (math.nan, 0.0) for p in points]
    wanted = {
        "point": points,
        "late": late,
        "width": np.array([width for width, _ in bands], np.float64),
        "silence": np.array([round(silence * SECOND) for _, silence in bands], np.int64),
    }
    db.register("wanted", wanted)
    try:
        db.execute("CREATE TABLE known AS SELECT * FROM wanted")
    finally:
        db.unregister("wanted")


_NONE = (0, 0, 0, 0, 0, 0, 0)


def _tallies(
    db: duckdb.DuckDBPyConnection,
    expectations: Mapping[int, Expectation],
    window: Window,
    applied: int,
    attached: bool,
) -> list[Tally]:
    span = {"start": window.start, "end": window.end}
    slots = {**span, "step": window.step}
    counts = {(p, s): rest for p, s, *rest in db.execute(COUNTS, slots | {"applied": applied}).fetchall()}
    compared: dict[tuple[int, int], list[int]] = {}
    if attached:
        db.execute(APPLIED, span | {"applied": applied})
        for statement in (ABSENT, BEFORE, EARLIER):
            db.execute(statement)
        rows = db.execute(COMPARED, {"start": window.start, "step": window.step}).fetchall()
        compared = {(point, slot): counts for point, slot, *counts in rows}
    tallies = []
    for slot, start in enumerate(window.starts):
        length = window.length_s(start)
        for point, expectation in sorted(expectations.items()):
            period = expectation.period_s
            expected = None if period is None else int(length / period)
            received, keys, late, duplicates, revised, bad, pending = counts.get((point, slot), _NONE)
            lost, suppressed, differing = compared.get((point, slot), (0, 0, 0))
            tallies.append(
                Tally(
                    point,
                    start,
                    expected,
                    received,
                    keys=keys,
                    late=late,
                    duplicates=duplicates,
                    revised=revised,
                    bad=bad,
                    pending=pending if attached else 0,
                    lost=lost,
                    suppressed=suppressed,
                    differing=differing,
                )
            )
    return tallies


def _extra(db: duckdb.DuckDBPyConnection, window: Window, applied: int) -> tuple[int, int]:
    """Readings that no record explains, and keys that are there more than once, in the store."""
    span = [window.start, window.end]
    (spurious,) = _one(
        db,
        "SELECT count(*) FROM reading s ANTI JOIN applied a ON s.point = a.point AND s.t_source = a.t "
        "WHERE s.t_source >= ? AND s.t_source < ? AND s.record >= (SELECT min(record) FROM j)",
        span,
    )
    (doubled,) = _one(
        db,
        "SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM reading "
        "WHERE t_source >= ? AND t_source < ? GROUP BY point, t_source)",
        span,
    )
    return int(spurious), int(doubled)


def _letters(path: Path, window: Window) -> list[LetterTally]:
    if not path.exists() or not window.starts:
        return []
    query = (
        "SELECT source, reason, (t_received - :start) / :step, count(*) FROM letter "
        "WHERE t_received >= :start AND t_received < :end GROUP BY 1, 2, 3 ORDER BY 3, 1, 2"
    )
    values = {"start": window.start, "end": window.end, "step": window.step}
    with closing(open_database(path, LETTERS, create=False)) as connection:
        try:
            rows = connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise StorageError(f"{LETTERS.title} {path}: {error}") from error
    return [LetterTally(source, reason, window.starts[slot], n) for source, reason, slot, n in rows]


def _one(db: duckdb.DuckDBPyConnection, query: str, values: Sequence[int] = ()) -> tuple[Any, ...]:
    (row,) = db.execute(query, list(values)).fetchall()
    return tuple(row)
