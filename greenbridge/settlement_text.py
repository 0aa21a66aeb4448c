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


COLUMNS = (
    "account",
    "kind",
    "area",
    "minutes",
    "start",
    "end",
    "scheduled_mwh",
    "metered_mwh",
    "estimated_mwh",
    "inadvertent_mwh",
    "wheeled_mwh",
    "losses_mwh",
    "completeness_pct",
    "quality",
    "version",
    "revision",
    "closed_at",
    "reason",
)
"""Columns of an exported ledger."""
_MINUTE = 60 * 1_000_000_000


def csv_row(interval: Mapping[str, Any], zone: tzinfo = UTC) -> list[str]:
    """An interval as a row of a table; what is not known is empty."""
    times = {**interval, "end": interval["start"] + interval["minutes"] * _MINUTE}
    row = []
    for name in COLUMNS:
        value = times[name]
        if name in {"start", "end", "closed_at"}:
            text = datetime.fromtimestamp(value // 1_000_000_000, zone).isoformat().replace("+00:00", "Z")
        else:
            text = "" if value is None else f"{value:.6f}" if isinstance(value, float) else str(value)
        row.append(text)
    return row


def intervals(answer: Mapping[str, Any], zone: tzinfo = UTC) -> str:
    """Settled intervals, one a line, after the open ones."""
    lines = []
    if answer["open"]:
        lines += [
            f"{'open':<17} {'min':>3}  {'account':<16} {'agreed':>9} {'so far':>9} {'off':>8} {'at end':>8}"
        ]
        lines += [_open_line(each, zone) for each in answer["open"]]
        lines.append("")
    if not answer["intervals"]:
        return "\n".join([*lines, "no intervals in this time"])
    lines.append(
        f"{'begin':<17} {'min':>3}  {'account':<16} {'agreed':>9} {'metered':>9} {'off':>8} {'wheeled':>9}"
        f" {'losses':>7}  {'%':>5}  quality"
    )
    lines += [_interval_line(each, zone) for each in answer["intervals"]]
    return "\n".join([*lines, "Energies in MWh."])


def revisions(answer: Mapping[str, Any], zone: tzinfo = UTC) -> str:
    """Every revision of an interval."""
    lines = []
    for each in answer["revisions"]:
        lines.append(f"revision {each['revision']}, {moment(each['closed_at'], zone)}: {each['reason']}")
        lines.append(f"  {_interval_line(each, zone)}")
        by = f"version {each['version']}" if each["version"] else "the standing schedule"
        lines.append(f"  estimated {_mwh(each['estimated_mwh'], 1).strip()}, agreed by {by}")
    return "\n".join(lines)


def _open_line(r: Mapping[str, Any], zone: tzinfo) -> str:
    what = f"{moment(r['start'], zone):<17} {r['minutes']:>3}  {r['account']:<16} {r['scheduled_mwh']:9.2f}"
    if r["fault"]:
        return f"{what} {r['fault']}"
    return f"{what} {r['metered_mwh']:9.2f} {_mwh(r['inadvertent_mwh'], 8)} {_mwh(r['projected_mwh'], 8)}"


def _interval_line(i: Mapping[str, Any], zone: tzinfo) -> str:
    what = f"{moment(i['start'], zone):<17} {i['minutes']:>3}  {i['account']:<16} {i['scheduled_mwh']:9.2f}"
    energies = f"{_mwh(i['metered_mwh'], 9)} {_mwh(i['inadvertent_mwh'], 8)} {_mwh(i['wheeled_mwh'], 9)}"
    revised = f", revision {i['revision']}" if i["revision"] else ""
    return (
        f"{what} {energies} {_mwh(i['losses_mwh'], 7)}  {i['completeness_pct']:5.1f}  {i['quality']}{revised}"
    )


def _mwh(value: float | None, width: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{round(value, 2) + 0.0:{width}.2f}"


def _line(v: Mapping[str, Any]) -> str:
    power = f"{v['least_mw']:g} to {v['most_mw']:g}" if v["least_mw"] != v["most_mw"] else f"{v['most_mw']:g}"
    over = "" if v["holds"] else "  (past or replaced)"
    valid = f"{moment(v['start']):<17}  {moment(v['end']):<17}"
    what = f"{v['number']:>5}  {v['subject']:<16} {v['party']:<11}"
    return f"{what} {valid}  {power:>15}  {v['author']}{over}"
