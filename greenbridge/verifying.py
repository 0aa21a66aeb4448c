"""``greenbridge verify``: what was expected, received and stored, for the points of a site."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from alerts.alignment import stale_after_s
from greenbridge.settings import Configuration
from ingest.journal.points import declare
from ingest.verification import SECOND, Expectation, Tally, Verification, Window, verify
from telemetry.errors import StorageError
from telemetry.site import SitePoint

_COLUMNS = (
    "expected",
    "received",
    "missing",
    "late",
    "duplicates",
    "revised",
    "bad",
    "pending",
    "suppressed",
    "lost",
    "differing",
)
_WORST = 20


@dataclass(frozen=True, slots=True)
class Report:
    """The verification of a site."""

    verification: Verification
    points: Mapping[int, SitePoint]

    def document(self) -> dict[str, Any]:
        """For machines: every point and interval in which something was expected or received."""
        v = self.verification
        return {
            "holds": v.holds,
            "from": _iso(v.window.start),
            "to": _iso(v.window.end),
            "journal": {"first": v.first, "head": v.head, "damaged_records": v.damaged},
            "store": {
                "compared": not v.store,
                "reason": v.store,
                "applied": v.applied,
                "spurious": v.spurious,
                "duplicate_keys": v.duplicate_keys,
            },
            "totals": dict(v.totals),
            "dead_letters": [
                {"source": x.source, "reason": x.reason, "from": _iso(x.start), "count": x.count}
                for x in v.letters
            ],
            "points": [
                {"point": self.points[t.point].path, "from": _iso(t.start)} | _terms(t)
                for t in v.tallies
                if t.expected or t.received
            ],
        }

    def text(self, every: bool = False) -> str:
        """For people: each interval over all points, the points with gaps, and the verdict."""
        v = self.verification
        span = f"{_iso(v.window.start)} to {_iso(v.window.end)}"
        lines = [
            f"{span}, {len(self.points)} points; the journal holds records {v.first} to {v.head}",
            _row("interval", dict(zip(_COLUMNS, _COLUMNS, strict=True)) | {"letters": "letters"}),
        ]
        letters: defaultdict[int, int] = defaultdict(int)
        for letter in v.letters:
            letters[letter.start] += letter.count
        for start, total in _summed(v.tallies, "start").items():
            lines.append(_row(_iso(start), total | {"letters": letters[start]}))
        lines += self._by_point(every)
        for letter in v.letters:
            lines.append(f"dead letters: {letter.count} from {letter.source}: {letter.reason}")
        if v.damaged:
            lines.append(f"{v.damaged} records of the journal are damaged")
        lines.append(self._verdict())
        return "\n".join(lines)

    def _by_point(self, every: bool) -> list[str]:
        sums = _summed(self.verification.tallies, "point")
        wrong = [
            (point, total)
            for point, total in sums.items()
            if every or total["missing"] or total["lost"] or total["differing"]
        ]
        wrong.sort(key=lambda entry: (-entry[1]["lost"], -entry[1]["missing"], self.points[entry[0]].path))
        shown = wrong if every else wrong[:_WORST]
        lines = [_row(self.points[point].path, total | {"letters": ""}) for point, total in shown]
        if len(shown) < len(wrong):
            lines.append(f"... and {len(wrong) - len(shown)} more points with gaps: --all, or --json")
        return lines

    def _verdict(self) -> str:
        v = self.verification
        if v.store:
            return f"The store was not compared: {v.store}"
        if v.holds:
            left_out = v.totals["suppressed"]
            but = f", but for {left_out} readings that a deadband leaves out" if left_out else ""
            return (
                f"Everything up to record {v.applied} is in the store exactly once, as it was received{but}."
            )
        return (
            f"NOT as received: {v.totals['lost']} lost, {v.totals['differing']} differing, {v.spurious} "
            f"spurious, {v.duplicate_keys} doubled, {v.damaged} damaged records{self._doubt()}"
        )

    def _doubt(self) -> str:
        """What was left out by a deadband that is no longer configured looks lost."""
        v = self.verification
        if not v.left_out or v.left_out <= v.totals["suppressed"] or not v.totals["lost"]:
            return ""
        return (
            f"; the store has left out {v.left_out} readings by deadbands since its beginning: those of a "
            "deadband that was wider then, or that has been removed, count as lost here"
        )


def verify_site(
    configuration: Configuration,
    start: datetime | None = None,
    end: datetime | None = None,
    every_s: float = 3600.0,
    wanted: Sequence[str] = (),
) -> Report:
    """Verifies the state of a site.

    Parameters
    ----------
    configuration
        The site.
    start, end
        Source times to look at; None for the first and last commit that the journal holds.
    every_s
        Length of an interval [s].
    wanted
        Patterns of points, for example ``SHY-TAS_*/TotW``; all without any.

    Raises
    ------
    StorageError
        There is no such state, or it cannot be read.

    """
    state = Path(configuration.settings.state_dir)
    if not (state / "points.sqlite").exists():
        raise StorageError(f"{state} holds no state of greenbridge; set state_dir, or run greenbridge first")
    registry = declare(state / "points.sqlite")
    registry.extend(registry.missing(configuration.keys()))  # in memory: a report changes no file
    site = configuration.site(registry)
    points = {
        index: point
        for index, point in site.points.items()
        if point.device.enabled
        and (not wanted or any(fnmatchcase(point.path, pattern) for pattern in wanted))
    }
    if not points:
        raise StorageError(f"no point matches {', '.join(wanted)}; a point is DEVICE/NAME")
    step = round(every_s * SECOND)
    window = None
    if start is not None or end is not None:
        whole = verify(state, {}, None, step).window
        first, last = whole.since or whole.start, whole.until or whole.end
        window = Window(_ns(start) if start else first, _ns(end) if end else last, step)
        if window.end <= window.start:
            raise StorageError("--to is not after --from; the journal has nothing in between")
    expectations = {index: _expectation(point) for index, point in points.items()}
    return Report(verify(state, expectations, window, step), points)


def _expectation(point: SitePoint) -> Expectation:
    period_s = point.profile.period_of(point.key.name)
    band = point.spec.deadband
    deadband = None if band is None else (band.width(point.spec), band.max_silence_s)
    return Expectation(None if point.profile.by_exception else period_s, stale_after_s(period_s), deadband)


def _summed(tallies: Sequence[Tally], by: str) -> dict[int, dict[str, int]]:
    """Sums of every term, by point or by start."""
    sums: dict[int, dict[str, int]] = {}
    for tally in tallies:
        total = sums.setdefault(getattr(tally, by), dict.fromkeys(_COLUMNS, 0))
        for name, value in _terms(tally).items():
            total[name] += value or 0
    return sums


def _terms(tally: Tally) -> dict[str, int | None]:
    return {name: getattr(tally, name) for name in _COLUMNS}


def _row(title: str, terms: Mapping[str, Any]) -> str:
    return f"{title:<34} " + " ".join(f"{terms[name]:>10}" for name in (*_COLUMNS, "letters"))


def _iso(ns: int) -> str:
    return datetime.fromtimestamp(ns / SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _ns(moment: datetime) -> int:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * SECOND)
