"""Schedules and settled intervals for people at a terminal. Pure: documents in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any


def moment(t: int, zone: tzinfo = UTC) -> str:
    """Time [ns, UTC] to the minute, with Z or the offset."""
    text = datetime.fromtimestamp(t // 1_000_000_000, zone).strftime("%Y-%m-%d %H:%M%z")
    return text.replace("+0000", "Z")


def taken(answer: Mapping[str, Any]) -> str:
    """What an import has made."""
    return "\n".join(
        f"version {v['number']} of {v['subject']} ({v['party']}): {v['pieces']} rows, "
        f"{moment(v['start'])} to {moment(v['end'])}"
        for v in answer["versions"]
    )


def versions(answer: Mapping[str, Any]) -> str:
    """Versions, one a line."""
    found: Sequence[Mapping[str, Any]] = answer["versions"]
    if not found:
        return "no schedule versions: the standing schedules of the grid model hold"
    lines = [f"{'no.':>5}  {'of':<16} {'party':<11} {'from':<17}  {'to':<17}  {'MW':>15}  by"]
    return "\n".join([*lines, *map(_line, found)])


def version(answer: Mapping[str, Any]) -> str:
    """A version row by row."""
    found = answer["version"]
    lines = [
        f"version {found['number']} of {found['subject']}, {found['party']} party",
        f"taken in {moment(found['received_at'])}, by {found['author']}, from {found['source']}",
        f"valid {moment(found['start'])} to {moment(found['end'])}"
        + ("" if found["holds"] else "; past, or replaced by newer versions"),
    ]
    pieces = found["pieces"]
    return "\n".join(
        [*lines, *(f"{moment(p['start'])}  {moment(p['end'])}  {p['mw']:9.1f} MW" for p in pieces)]
    )


def _line(v: Mapping[str, Any]) -> str:
    power = f"{v['least_mw']:g} to {v['most_mw']:g}" if v["least_mw"] != v["most_mw"] else f"{v['most_mw']:g}"
    over = "" if v["holds"] else "  (past or replaced)"
    valid = f"{moment(v['start']):<17}  {moment(v['end']):<17}"
    what = f"{v['number']:>5}  {v['subject']:<16} {v['party']:<11}"
    return f"{what} {valid}  {power:>15}  {v['author']}{over}"
