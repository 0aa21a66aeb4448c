"""Where schedule versions come in: checked, audited, durable, and only then in force."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from alerts import metrics
from alerts.schedule_table import Draft, Row, ScheduleError, drafts
from alerts.schedules import Party, ScheduleBook, Version
from alerts.settlement_journal import SettlementJournal
from ingest.audit_chain import Act
from telemetry.clock import Clock
from telemetry.grid import Grid

log = structlog.get_logger(__name__)

DAY = 86_400 * 1_000_000_000
REMEMBERED = 62 * DAY
"""Versions whose validity ended longer ago are not loaded: no interval of then is settled anew [ns]."""
ACTION = "schedule"
"""Name of the act in the audit."""


async def loaded(journal: SettlementJournal, grid: Grid, now: int) -> ScheduleBook:
    """The book of what was taken in so far.

    Raises
    ------
    StorageError
        The journal cannot be read.

    """
    return ScheduleBook(grid, await journal.versions(now - REMEMBERED))


class ScheduleDesk:
    """Takes schedules in.

    Parameters
    ----------
    book
        What holds now; versions are added to it once they are durable.
    journal
        Makes them durable.
    grid
        Gives the grid model as it is now.
    clock
        Time.
    audit
        Makes durable what people do, before it takes effect.
    changed
        Told of every version that came into force.

    """

    def __init__(
        self,
        book: ScheduleBook,
        journal: SettlementJournal,
        grid: Callable[[], Grid],
        clock: Clock,
        *,
        audit: Callable[[Act], Awaitable[object]],
        changed: Callable[[Version], None] = lambda _: None,
    ) -> None:
        self._book = book
        self._journal = journal
        self._grid = grid
        self._clock = clock
        self._audit = audit
        self._changed = changed
        self._lock = asyncio.Lock()

    async def post(
        self, rows: Sequence[Row], file: str, *, party: Party, who: str, author: str = "", source: str = ""
    ) -> Sequence[Version]:
        """Takes in the schedules that rows make, all or none, also when the caller is cancelled meanwhile.

        Parameters
        ----------
        rows
            As they were sent.
        file
            Name of the table, for problems and as the source where none is given.
        party
            Whose view it is.
        who
            Who does it, for the audit; the author where none is given.
        author, source
            Who made the schedule, and where it comes from.

        Raises
        ------
        ScheduleError
            With every fault of the rows; nothing was taken in.
        StorageError
            It could not be audited or made durable; nothing was taken in.

        """
        return await asyncio.shield(
            asyncio.ensure_future(
                self._post(rows, file, party=party, who=who, author=author or who, source=source or file)
            )
        )

    async def versions(self, subject: str = "") -> Sequence[Version]:
        """Every version that was ever taken in, newest first; of one tie or contract, or of all."""
        found = await self._journal.versions()
        return [version for version in reversed(found) if subject in {"", version.subject}]

    async def version(self, number: int) -> Version | None:
        """One version."""
        return await self._journal.version(number)

    def holds(self, version: Version) -> bool:
        """Whether a version holds now or will, at least in part: no newer one covers all of it."""
        left = [(max(version.start, self._clock.now_ns()), version.end)]
        for other in self._book.versions(version.subject, version.party):
            if other.number > version.number:
                left = [
                    piece
                    for start, end in left
                    for piece in ((start, min(end, other.start)), (max(start, other.end), end))
                    if piece[0] < piece[1]
                ]
        return any(start < end for start, end in left)

    async def _post(
        self, rows: Sequence[Row], file: str, *, party: Party, who: str, author: str, source: str
    ) -> Sequence[Version]:
        async with self._lock:
            try:
                found = drafts(rows, file, self._grid())
            except ScheduleError as error:
                details = {"party": party.value, "error": str(error.problems[0])}
                details |= {"problems": str(len(error.problems))}
                await self._audit(Act(who, ACTION, file, "refused", details))
                metrics.SCHEDULES.labels(party.value, "refused").inc()
                raise
            now = self._clock.now_ns()
            versions = [Version(0, d.subject, party, author, source, now, d.pieces) for d in found]
            subjects = ", ".join(draft.subject for draft in found)
            await self._audit(Act(who, ACTION, subjects, "done", _details(found, party, author, source)))
            taken = await self._journal.take(versions)
            for version in taken:
                self._book.add(version)
                self._changed(version)
                metrics.SCHEDULES.labels(party.value, "taken").inc()
                log.info(
                    "schedule_taken",
                    number=version.number,
                    subject=version.subject,
                    party=party.value,
                    pieces=len(version.pieces),
                )
            return taken


def _details(found: Sequence[Draft], party: Party, author: str, source: str) -> dict[str, str]:
    details = {"party": party.value, "author": author, "source": source}
    details |= {"rows": str(sum(len(draft.pieces) for draft in found))}
    above = [f"{draft.subject}: {', '.join(draft.above_ntc)}" for draft in found if draft.above_ntc]
    return details | ({"above the net transfer capacity": "; ".join(above)} if above else {})
