"""Schedules as people and programs send them: rows of a CSV file or of a request, checked as a whole; pure.

A row says what is agreed for a tie or contract from a time to another. Everything that is wrong is reported
at once, each fault with its line, the value and the fix; a table with a fault is refused as a whole.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from alerts.schedules import SECOND, Piece
from telemetry.errors import GreenbridgeError, Problem
from telemetry.grid import Grid
from telemetry.settings import nearest

COLUMNS = ("tie", "start", "end", "mw")
MAX_ROWS = 50_000
IMPOSSIBLE = 1.2
"""Multiple of the net transfer capacity beyond which a power is taken for a mistake, not for an agreement."""

_OTHER_UNITS = {"kw": 0.001, "gw": 1000.0, "w": 1e-6, "mwh": None, "kwh": None, "gwh": None}
_SINCE, _UNTIL = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)")


class ScheduleError(GreenbridgeError):
    """A table of schedules that is refused; carries every problem found, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = f"{count} problem{'' if count == 1 else 's'} in the schedule"
        super().__init__("\n  ".join([heading, *map(str, self.problems)]))


class Row(NamedTuple):
    """A row as it was written."""

    place: str
    """Where it stands: ``line 4``, ``rows[3]``."""
    tie: str
    """Tie or contract."""
    start: str
    end: str
    mw: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A schedule that was found to be sound, not yet a version."""

    subject: str
    pieces: tuple[Piece, ...]
    above_ntc: tuple[str, ...] = ()
    """Places of rows above the net transfer capacity, though not impossible."""


def read_csv(text: str, file: str, tie: str = "") -> list[Row]:
    """The rows of a CSV text with the columns tie, start, end and mw.

    Parameters
    ----------
    text
        Comma or semicolon separates; the first line names the columns, in any order.
    file
        Name for the problems.
    tie
        What all rows are about, for a table without a column for it; of a table with one, the rows that are
        taken.

    Raises
    ------
    ScheduleError
        It has no such columns, or no rows.

    """
    lines = text.removeprefix("\ufeff").splitlines()
    head = next((i for i, line in enumerate(lines) if line.strip()), None)
    if head is None:
        raise ScheduleError([Problem(file, "", "", "is empty", f"begin with the line {','.join(COLUMNS)}")])
    separator = ";" if lines[head].count(";") > lines[head].count(",") else ","
    names = [cell.strip().strip('"').lower() for cell in lines[head].split(separator)]
    problems = list(_head_problems(names, file, head + 1, tie))
    if problems:
        raise ScheduleError(problems)
    rows = []
    for number, cells in enumerate(csv.reader(lines[head + 1 :], delimiter=separator), head + 2):
        if not any(cell.strip() for cell in cells):
            continue
        place = f"line {number}"
        if len(cells) != len(names):
            reason = f"{len(cells)} cells, but {len(names)} columns"
            fix = "write decimals with a point, and one cell for each column"
            problems.append(Problem(file, place, "", reason, fix))
            continue
        found = {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
        if not tie or found.get("tie", tie) == tie:
            rows.append(Row(place, found.get("tie", tie), found["start"], found["end"], found["mw"]))
    if not problems and not rows:
        reason = f"no rows for {tie}" if tie else "no rows"
        problems.append(Problem(file, "", "", reason, "add a line for each time with one agreed value"))
    if problems:
        raise ScheduleError(problems)
    return rows


def drafts(rows: Sequence[Row], file: str, grid: Grid) -> list[Draft]:
    """The schedules that rows make, one for each tie or contract.

    Raises
    ------
    ScheduleError
        With every fault: unknown ties, times and powers that cannot be read or cannot be, overlaps, gaps.

    """
    limits = _limits(grid)
    contracts = {contract.id for contract in grid.contract}
    problems: list[Problem] = []
    if len(rows) > MAX_ROWS:
        raise ScheduleError(
            [Problem(file, "", f"{len(rows)} rows", "too many", f"at most {MAX_ROWS} at once")]
        )
    pieces: dict[str, list[tuple[Row, Piece]]] = {}
    above: dict[str, list[str]] = {}
    for row in rows:
        faults: list[Problem] = []
        start = _time(row.start, file, f"{row.place}: start", faults)
        end = _time(row.end, file, f"{row.place}: end", faults)
        mw = _power(row.mw, file, f"{row.place}: mw", faults)
        limit = limits.get(row.tie)
        if limit is None:
            fix = nearest(row.tie, limits)
            faults.append(Problem(file, f"{row.place}: tie", f'"{row.tie}"', "no such tie or contract", fix))
        if start is not None and end is not None and end <= start:
            reason, fix = "not after the start", "write when the value ends to hold"
            faults.append(Problem(file, f"{row.place}: end", row.end, reason, fix))
        if limit is not None and mw is not None:
            faults += _impossible(row, mw, limit, file, contract=row.tie in contracts)
            if abs(mw) > limit:
                above.setdefault(row.tie, []).append(row.place)
        problems += faults
        if not faults and start is not None and end is not None and mw is not None:
            pieces.setdefault(row.tie, []).append((row, Piece(start, end, mw)))
    for found in pieces.values():
        found.sort(key=lambda entry: entry[1].start)
        if not problems:
            problems += _joints(found, file)
    if problems:
        raise ScheduleError(problems)
    return [
        Draft(subject, tuple(piece for _, piece in found), tuple(above.get(subject, ())))
        for subject, found in pieces.items()
    ]


def _head_problems(names: Sequence[str], file: str, number: int, tie: str) -> Iterable[Problem]:
    place = f"line {number}"
    wanted = [name for name in COLUMNS if name != "tie" or not tie]
    for name in names:
        factor = _OTHER_UNITS.get(name, 0.0)
        if factor is None:
            fix = "give the mean power of each row in a column mw"
            yield Problem(file, f"{place}: {name}", "", "an energy where a power in MW is due", fix)
        elif factor:
            yield Problem(
                file,
                f"{place}: {name}",
                "",
                "wrong unit: powers are in MW",
                f"multiply the values by {factor:g} and name the column mw",
            )
        elif name not in COLUMNS:
            yield Problem(file, f"{place}: {name}", "", "unknown column", nearest(name, COLUMNS))
        elif names.count(name) > 1:
            yield Problem(file, f"{place}: {name}", "", "stands there twice", "remove one of the columns")
            return
    if any(name in _OTHER_UNITS for name in names):
        wanted = [name for name in wanted if name != "mw"]
    for name in wanted:
        if name not in names:
            fix = f"add it: {','.join(COLUMNS)}" + (", or give --tie" if name == "tie" else "")
            yield Problem(file, place, "", f"column {name} is missing", fix)


def _time(text: str, file: str, key: str, problems: list[Problem]) -> int | None:
    """Time [ns, UTC]."""
    shown = f'"{text[:40]}"'
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        fix = "write it like 2026-01-15T13:00:00Z"
        problems.append(Problem(file, key, shown, "not a date and time", fix))
        return None
    if found.tzinfo is None:
        fix = "add Z for UTC, or the offset of local time: +05:00 in KZ and UZ, +04:00 in AZ"
        problems.append(Problem(file, key, shown, "has no time zone", fix))
        return None
    if not _SINCE <= found < _UNTIL:
        problems.append(Problem(file, key, shown, "not in this century", "check the year"))
        return None
    if found.second or found.microsecond:
        problems.append(Problem(file, key, shown, "not a whole minute", "schedules change at whole minutes"))
        return None
    return (found - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1) * SECOND


def _power(text: str, file: str, key: str, problems: list[Problem]) -> float | None:
    """Power [MW]."""
    shown = f'"{text[:40]}"'
    unit = re.search(r"[A-Za-z]+$", text)
    if unit is not None and unit[0].lower() in {*_OTHER_UNITS, "mw"}:
        fix = "write the number alone, in MW"
        problems.append(Problem(file, key, shown, f"carries a unit ({unit[0]})", fix))
        return None
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        fix = "write a plain number with a decimal point, in MW"
        problems.append(Problem(file, key, shown, "not a number", fix))
        return None
    return float(text)


def _impossible(row: Row, mw: float, limit: float, file: str, *, contract: bool) -> Iterable[Problem]:
    key = f"{row.place}: mw"
    if contract and mw < 0:
        fix = "the contract's ties say the direction: write a power from 0 on"
        yield Problem(file, key, row.mw, "below 0", fix)
    if abs(mw) > IMPOSSIBLE * limit:
        fix = "write MW"
        if abs(mw) / 1000 <= limit:
            fix = f"if it is in kW, write {mw / 1000:g}"
        reason = f"impossible: the net transfer capacity of {row.tie} is {limit:g} MW"
        yield Problem(file, key, row.mw, reason, fix)


def _joints(found: Sequence[tuple[Row, Piece]], file: str) -> Iterable[Problem]:
    """What is wrong between neighbours in time."""
    for (before, earlier), (row, later) in pairwise(found):
        if later.start < earlier.end:
            reason = f"overlaps {before.place}, which lasts until {before.end}"
            fix = f"begin at {before.end}, or end {before.place} at {row.start}"
            yield Problem(file, f"{row.place}: start", row.start, reason, fix)
        elif later.start > earlier.end:
            reason = f"leaves a gap after {before.place}, which ends at {before.end}"
            fix = f"begin at {before.end}, or add a row for the time between"
            yield Problem(file, f"{row.place}: start", row.start, reason, fix)


def _limits(grid: Grid) -> Mapping[str, float]:
    """Largest power of each tie and contract [MW]."""
    ntc = {tie.id: tie.ntc_mw for tie in grid.tie}
    return ntc | {
        contract.id: min(
            sum(ntc.get(tie, 0.0) for tie in contract.entry), sum(ntc.get(tie, 0.0) for tie in contract.exit)
        )
        for contract in grid.contract
    }
