"""Answers of a store as a table, CSV or JSON; pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

_MILLION = 1_000_000


def table(answer: Mapping[str, Any], zone: tzinfo) -> str:
    """For people: aligned columns, and what follows from an empty or a cut answer."""
    columns: Sequence[str] = answer["columns"]
    rows = [[_cell(value) for value in _shown(columns, row, zone)] for row in answer["rows"]]
    if not rows:
        return "Nothing is stored there."
    numbers = [isinstance(value, float | int) for value in answer["rows"][0]]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if number and name != "time" else cell.ljust(width)
            for name, cell, width, number in zip(columns, line, widths, numbers, strict=True)
        ).rstrip()
        for line in [list(columns), *rows]
    ]
    if answer["more"]:
        lines.append(
            f"... and more: raise --limit ({len(rows)}), shorten the time, or use greenbridge export"
        )
    return "\n".join(lines)


def as_csv(answer: Mapping[str, Any], zone: tzinfo) -> str:
    """For spreadsheets: a header and a line for each row; what is not known is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(answer["columns"])
    for row in answer["rows"]:
        shown = _shown(answer["columns"], row, zone)
        writer.writerow(["" if v is None else json.dumps(v) if isinstance(v, dict) else v for v in shown])
    return out.getvalue().rstrip("\n")


def document(answer: Mapping[str, Any], zone: tzinfo) -> dict[str, Any]:
    """For machines: an object for each row."""
    columns = answer["columns"]
    rows = [dict(zip(columns, _shown(columns, row, zone), strict=True)) for row in answer["rows"]]
    return {"what": answer["what"], "rows": rows, "more": answer["more"]}


def time_text(t: int, zone: tzinfo) -> str:
    """A time [ns, UTC] as of ISO 8601, to the millisecond or, if it is finer, to the nanosecond."""
    seconds, ns = divmod(t, 1_000_000_000)
    try:
        at = datetime.fromtimestamp(seconds, zone)
    except (OverflowError, ValueError, OSError):
        return f"{t} ns"  # a device whose clock says the year 30000
    fraction = f"{ns // _MILLION:03d}" if ns % _MILLION == 0 else f"{ns:09d}"
    offset = "Z" if zone is UTC else at.strftime("%z")
    return f"{at:%Y-%m-%dT%H:%M:%S}.{fraction}{offset}"


def _shown(columns: Sequence[str], row: Sequence[Any], zone: tzinfo) -> list[Any]:
    return [
        time_text(value, zone) if name == "time" else value for name, value in zip(columns, row, strict=True)
    ]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return " ".join(f"{name}={_cell(one)}" for name, one in value.items())
    return f"{value:.7g}" if isinstance(value, float) else str(value)
