"""What ``greenbridge schedule`` and ``greenbridge ledger`` are answered, by a process or from files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alerts.schedule_desk import ScheduleDesk, loaded
from alerts.schedule_table import read_csv
from alerts.schedules import Party, Version
from alerts.settlement_journal import FILE, SettlementJournal
from greenbridge.claim import claimed
from ingest.audit import AuditLog
from telemetry.clock import Clock
from telemetry.errors import GreenbridgeError
from telemetry.grid import Grid

SCHEDULES = "schedules"
"""The command, among those that a running process takes over its control socket."""
MAX_VERSIONS = 1000
"""Versions that one answer holds."""
AUDIT = "audit.sqlite"
"""File of the audit in the state directory."""


class ScheduleAnswers:
    """Answers requests with documents for machines; times in them are [ns, UTC]."""

    def __init__(self, desk: ScheduleDesk) -> None:
        self._desk = desk

    async def answer(self, request: dict[str, Any], who: str) -> dict[str, Any]:
        """Answers one request.

        Raises
        ------
        GreenbridgeError
            The schedule is refused, there is no such version, or the request is none.

        """
        match request:
            case {"do": "import", "text": str(text), "file": str(file), "tie": str(tie), "party": str(party)}:
                author, source = str(request.get("author", "")), str(request.get("source", ""))
                rows = read_csv(text, file, tie)
                taken = await self._desk.post(
                    rows, file, party=Party(party), who=who, author=author, source=source
                )
                return {"versions": [self._short(version) for version in taken]}
            case {"do": "list", "tie": str(tie)}:
                found = await self._desk.versions(tie)
                return {"versions": [self._short(version) for version in found[:MAX_VERSIONS]]}
            case {"do": "show", "number": int(number)}:
                version = await self._desk.version(number)
                if version is None:
                    raise GreenbridgeError(
                        f"there is no schedule version {number}; see greenbridge schedule list"
                    )
                return {"version": {**self._short(version), "pieces": [p._asdict() for p in version.pieces]}}
        wanted = str(request.get("do"))[:80]
        raise GreenbridgeError(f"schedules: {wanted!r} cannot be done, or something is missing")

    def _short(self, version: Version) -> dict[str, Any]:
        values = [piece.mw for piece in version.pieces]
        return {
            **{name: value for name, value in asdict(version).items() if name != "pieces"},
            "start": version.start,
            "end": version.end,
            "pieces": len(version.pieces),
            "least_mw": min(values),
            "most_mw": max(values),
            "holds": self._desk.holds(version),
        }


@asynccontextmanager
async def stored_schedules(state: Path, grid: Grid, clock: Clock) -> AsyncIterator[ScheduleAnswers]:
    """Answers from the files of a process that does not run; what is imported holds from its next start on.

    Raises
    ------
    GreenbridgeError
        A process uses the directory, or its files are damaged.

    """
    with claimed(state):
        async with (
            AuditLog(state / AUDIT, clock) as audit,
            SettlementJournal(state / FILE) as journal,
        ):
            book = await loaded(journal, grid, clock.now_ns())
            yield ScheduleAnswers(ScheduleDesk(book, journal, lambda: grid, clock, audit=audit.append))
