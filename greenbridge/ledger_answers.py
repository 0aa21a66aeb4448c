"""What ``greenbridge schedule`` and ``greenbridge ledger`` are answered, by a process or from files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import msgspec

from alerts.schedule_desk import ScheduleDesk, loaded
from alerts.schedule_table import read_csv
from alerts.schedules import Party, Version
from alerts.settlement.interval import Interval
from alerts.settlement.running import Running
from alerts.settlement_journal import FILE, SettlementJournal
from greenbridge.claim import claimed
from ingest.audit import AuditLog
from telemetry.clock import Clock
from telemetry.errors import GreenbridgeError, StorageError
from telemetry.grid import Grid

SCHEDULES = "schedules"
"""The command, among those that a running process takes over its control socket."""
LEDGER = "ledger"
"""As well."""
MAX_INTERVALS = 4000
"""Intervals that one answer holds."""
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


class SettledIntervals(Protocol):
    """What was settled: the journal, or the settlement that writes it."""

    async def intervals(
        self,
        start: int,
        end: int,
        *,
        account: str = "",
        minutes: int = 0,
        revisions: bool = True,
        limit: int = 1000,
    ) -> Sequence[Interval]:
        """Intervals that begin in start <= t < end [ns, UTC], the newest first."""
        ...


class LedgerAnswers:
    """Answers what was settled, and what is open; times in it are [ns, UTC].

    Parameters
    ----------
    journal
        What was settled.
    running
        Gives the open intervals; without it there are none.

    """

    def __init__(self, journal: SettledIntervals, running: Callable[[], Sequence[Running]] = tuple) -> None:
        self._journal = journal
        self._running = running

    async def answer(self, request: dict[str, Any], _: str) -> dict[str, Any]:
        """Answers one request.

        Raises
        ------
        GreenbridgeError
            There is no such interval, or the request is none.

        """
        match request:
            case {"do": "list", "from": int(start), "to": int(end), "account": str(account)}:
                minutes, limit = int(request.get("minutes", 0)), int(request.get("limit", MAX_INTERVALS))
                found = await self._journal.intervals(
                    start,
                    end,
                    account=account,
                    minutes=minutes,
                    revisions=bool(request.get("revisions")),
                    limit=min(limit, MAX_INTERVALS),
                )
                return {
                    "intervals": _plain(found),
                    "open": _plain(
                        [
                            each
                            for each in self._running()
                            if account in {"", each.account} and minutes in {0, each.minutes}
                        ]
                    ),
                }
            case {"do": "show", "account": str(account), "start": int(start), "minutes": int(minutes)}:
                found = await self._journal.intervals(start, start + 1, account=account, minutes=minutes)
                if not found:
                    raise GreenbridgeError(
                        f"no interval of {account} with {minutes} min begins then; "
                        "see greenbridge ledger list"
                    )
                return {"revisions": _plain(found)}
        wanted = str(request.get("do"))[:80]
        raise GreenbridgeError(f"ledger: {wanted!r} cannot be done, or something is missing")


@asynccontextmanager
async def stored_ledger(state: Path) -> AsyncIterator[LedgerAnswers]:
    """Answers from the file of a process that does not run.

    Raises
    ------
    StorageError
        There is none, or it is damaged.

    """
    path = state / FILE
    if not await asyncio.to_thread(path.exists):
        raise StorageError(f"{path} does not exist; name another configuration, or run greenbridge first")
    async with SettlementJournal(path) as journal:
        yield LedgerAnswers(journal)


def _plain(thing: Any) -> Any:
    """As JSON has it."""
    return msgspec.json.decode(msgspec.json.encode(thing))


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
