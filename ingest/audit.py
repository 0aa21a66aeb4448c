"""The audit on disk: who did what and when, appended and never changed."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from ingest.audit_chain import BEGINNING, Act, AuditEntry, chained
from ingest.databases import DatabaseKind, damaged, open_database, transaction
from ingest.threads import OwnerThread
from telemetry.clock import Clock
from telemetry.errors import StorageError

log = structlog.get_logger(__name__)

AUDIT = DatabaseKind(
    "audit",
    0x47424155,
    1,
    """CREATE TABLE entry (
         number INTEGER PRIMARY KEY, t INTEGER NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL,
         subject TEXT NOT NULL, outcome TEXT NOT NULL, details TEXT NOT NULL, before TEXT NOT NULL,
         digest TEXT NOT NULL
       )""",
    "stop greenbridge, run `{set_aside}`, keep what it moved for those who investigate, and start again",
)
_COLUMNS = "number, t, who, action, subject, outcome, details, before, digest"


class AuditLog:
    """Acts in a SQLite file, chained by digests; ``async with`` opens and closes it."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._thread = OwnerThread("audit")
        self._connection: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        try:
            self._connection = await self._thread.call(open_database, self._path, AUDIT)
        except StorageError:
            await self._thread.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            await self._thread.call(self._connection.close)
            self._connection = None
        await self._thread.close()

    async def append(self, act: Act) -> AuditEntry:
        """Makes an act durable, behind all others.

        Raises
        ------
        StorageError
            It is not durable: what is to be audited must not be done.

        """
        entry = await self._thread.call(self._append, act, self._clock.now_ns())
        log.info(
            "audited",
            number=entry.number,
            who=act.who,
            action=act.action,
            subject=act.subject,
            outcome=act.outcome,
            digest=entry.digest,
        )
        return entry

    def _append(self, act: Act, now: int) -> AuditEntry:
        if self._connection is None:
            raise StorageError(f"audit {self._path} is not open")
        try:
            with transaction(self._connection):
                newest = self._connection.execute(
                    "SELECT number, digest FROM entry ORDER BY number DESC LIMIT 1"
                ).fetchone()
                number, before = newest or (0, BEGINNING)
                entry = chained(number + 1, now, act, before)
                details = json.dumps(dict(act.details), ensure_ascii=False)
                row = (act.who, act.action, act.subject, act.outcome, details, before, entry.digest)
                self._connection.execute(
                    "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (entry.number, now, *row)
                )
        except sqlite3.Error as error:
            raise StorageError(f"audit {self._path} cannot be written: {error}") from error
        return entry


def entries(path: Path) -> list[AuditEntry]:
    """Every entry of an audit file, oldest first; also while greenbridge runs.

    Raises
    ------
    StorageError
        There is no such file, or it cannot be read.

    """
    connection = open_database(path, AUDIT, create=False)
    try:
        rows = connection.execute(f"SELECT {_COLUMNS} FROM entry ORDER BY number").fetchall()  # noqa: S608
        return [
            AuditEntry(number, t, Act(who, action, subject, outcome, json.loads(details)), before, digest)
            for number, t, who, action, subject, outcome, details, before, digest in rows
        ]
    except (sqlite3.Error, ValueError) as error:
        raise damaged(path, AUDIT, error) from error
    finally:
        connection.close()
