"""The alarm journal: conditions, transitions, position and outbox in one SQLite file, one transaction.

What a transaction holds belongs together: the alarm's step, its place in the append-only history, the
notifications that follow from it, and the position in the reading journal up to which everything was judged.
After a crash nothing is forgotten and nothing is decided twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from alerts.alarms import HELD, Alarm
from alerts.config import Occasion
from alerts.lifecycle import Event
from alerts.notify.channel import Notification
from alerts.occurrence import Change, Tracked
from alerts.revision import Revision
from ingest.databases import DatabaseKind, transaction
from ingest.owned import OwnedDatabase
from ingest.ports import EventRecord

_KIND = DatabaseKind(
    title="alarm journal",
    application_id=0x47424131,
    version=3,
    schema="""
    CREATE TABLE progress (
        one INTEGER PRIMARY KEY CHECK (one = 1), offset INTEGER NOT NULL, resume_after INTEGER NOT NULL,
        instant INTEGER NOT NULL, number INTEGER NOT NULL
    );
    CREATE TABLE condition (key TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE transition (
        seq INTEGER PRIMARY KEY,
        alarm_id TEXT NOT NULL, event TEXT NOT NULL, reason TEXT NOT NULL, before TEXT NOT NULL,
        at INTEGER NOT NULL, alarm BLOB NOT NULL
    );
    CREATE INDEX transition_by_time ON transition (at);
    CREATE TABLE record (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, body BLOB NOT NULL);
    CREATE INDEX transition_of_alarm ON transition (alarm_id);
    CREATE TABLE occurrence (alarm_id TEXT PRIMARY KEY, raised_at INTEGER NOT NULL, alarm BLOB NOT NULL);
    CREATE INDEX occurrence_by_time ON occurrence (raised_at);
    CREATE TABLE outbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        channel TEXT NOT NULL, key TEXT NOT NULL, body BLOB NOT NULL, created_at INTEGER NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0, due_at INTEGER NOT NULL,
        result TEXT NOT NULL DEFAULT '', detail TEXT NOT NULL DEFAULT '', ended_at INTEGER NOT NULL DEFAULT 0,
        UNIQUE (channel, key)
    );
    CREATE INDEX outbox_pending ON outbox (channel, id) WHERE result = '';
    CREATE TABLE paging (key TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE paged (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL)
    """,
    recovery="stop greenbridge, run `{set_aside}` and start again: it begins with no alarm, no history and "
    "nothing shelved; these are in the file moved aside, or in a backup",
)

_OCCASIONS = {
    Event.RAISE: Occasion.RAISED,
    Event.ESCALATE: Occasion.ESCALATED,
    Event.CLEAR: Occasion.RETURNED,
    Event.LATCH: Occasion.RETURNED,
    Event.ACKNOWLEDGE: Occasion.ACKNOWLEDGED,
}

_KEPT_ENDED = 1000
"""Notifications that stay in the outbox after their end, for people to look at."""

_KEPT_RECORDS = 31 * 86_400 * 1_000_000_000
"""How long records stay for stores that are behind [ns]."""

DELIVERED, OVERFLOW = "delivered", "overflow"
"""Ends of a notification that the journal and the outbox share."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the readings were judged."""

    offset: int = 0
    """Newest record of the reading journal that was judged."""
    resume_after: int = 0
    """Record after which a restart begins to read, to fill buffers and means again."""
    instant: int = 0
    """Newest instant that was judged [ns, UTC]."""
    number: int = 0
    """Number of the newest alarm occurrence."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A notification on its way to one channel."""

    id: int
    attempts: int
    """Attempts that failed so far."""
    due_at: int
    """Not to be tried before [ns, UTC]."""
    created_at: int
    notification: Notification


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an occurrence, as the append-only history has it."""

    at: int
    """[ns, UTC]."""
    event: str
    reason: str
    before: str
    alarm: Alarm
    """After the step."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a notification of an alarm on one channel."""

    channel: str
    key: str
    occasion: Occasion
    """Of this alarm."""
    at: int
    """When it was put into the outbox [ns, UTC]."""
    attempts: int
    """Attempts that failed."""
    result: str
    """``delivered``, why it was given up, or empty while it waits."""
    detail: str
    """What the latest attempt that failed said."""
    ended_at: int
    """[ns, UTC]; 0 while it waits."""


@dataclass(frozen=True, slots=True)
class ChannelCounts:
    """Notifications of a channel."""

    pending: int = 0
    delivered: int = 0
    """Of those still kept."""
    given_up: int = 0
    """Of those still kept: refused, expired, overflowed or without their channel."""
    last_detail: str = ""
    """What the latest failed attempt of a pending notification said."""


class AlarmJournal(OwnedDatabase):
    """``alarms.sqlite``, opened by ``async with``; also the source of alarm events for the stores.

    Parameters
    ----------
    path
        File; created if there is none.
    channels
        Ids of the feeds: channels that every notification goes to.
    notify_on
        What these are told of.
    max_pending
        Undelivered notifications that a channel may have; beyond it the oldest is given up.

    """

    def __init__(
        self,
        path: Path,
        channels: Sequence[str] = (),
        notify_on: Sequence[Occasion] = (Occasion.RAISED, Occasion.ESCALATED, Occasion.RETURNED),
        max_pending: int = 1000,
    ) -> None:
        super().__init__(path, _KIND)
        self.announce(channels, notify_on, max_pending)
        self._newest_stored = 0
        self.transitions = Revision()
        """Sequence number of the newest transition."""
        self.notifications = Revision()
        """Grows with every notification put into the outbox."""

    def announce(self, channels: Sequence[str], notify_on: Sequence[Occasion], max_pending: int) -> None:
        """Tells other channels, of other occasions, from the next commit on; arguments as at the start."""
        self._channels = tuple(channels)
        self._notify_on = frozenset(notify_on)
        self._max_pending = max_pending

    async def __aenter__(self) -> Self:
        """Opens the file; raises as :class:`OwnedDatabase`."""
        await super().__aenter__()
        self.transitions.move_to(self._newest_stored)
        return self

    async def load(self) -> tuple[Progress, Sequence[Tracked]]:
        """What the latest commit left: the position and every open condition."""
        return await self._call(self._load)

    async def commit(
        self,
        progress: Progress,
        conditions: Sequence[Tracked],
        changes: Sequence[Change],
        records: Sequence[EventRecord] = (),
    ) -> int:
        """Makes a step durable, whole or not at all; returns the number of notifications that overflowed.

        ``records`` are further events for the stores, in one order with the steps of alarms; they are kept
        here for a month.

        Raises
        ------
        StorageError
            Nothing of it was stored.

        """
        newest, outgoing, overflowed = await self._call(self._commit, progress, conditions, changes, records)
        self.transitions.move_to(newest)
        self.notifications.move_to(outgoing)
        return overflowed

    async def history(self, limit: int = 200) -> Sequence[Alarm]:
        """Latest state of past and present occurrences, newest first."""
        query = "SELECT alarm FROM occurrence ORDER BY raised_at DESC, rowid DESC LIMIT ?"
        rows = await self._rows(query, limit)
        return [_ALARM.decode(body) for (body,) in rows]

    async def find(self, alarm_id: str) -> Alarm | None:
        """Latest state of an occurrence."""
        rows = await self._rows("SELECT alarm FROM occurrence WHERE alarm_id = ?", alarm_id)
        return _ALARM.decode(rows[0][0]) if rows else None

    async def steps(self, alarm_id: str) -> Sequence[Step]:
        """Every step of an occurrence, oldest first."""
        query = "SELECT at, event, reason, before, alarm FROM transition WHERE alarm_id = ? ORDER BY seq"
        rows = await self._rows(query, alarm_id)
        return [
            Step(at, event, reason, before, _ALARM.decode(body)) for at, event, reason, before, body in rows
        ]

    async def events(self, after: int, limit: int = 1000) -> Sequence[tuple[int, EventRecord]]:
        """Events after a sequence number, in order: steps of alarms (kind ``alarm``) and further records."""
        query = (
            "SELECT seq, event, reason, before, alarm FROM transition WHERE seq > ? UNION ALL"
            " SELECT seq, '', '', '', body FROM record WHERE seq > ? ORDER BY seq LIMIT ?"
        )
        return [
            (seq, _event_record(seq, event, reason, before, _ALARM.decode(body)))
            if event
            else (seq, _RECORD.decode(body))
            for seq, event, reason, before, body in await self._rows(query, after, after, limit)
        ]

    async def steps_since(self, at: int) -> Sequence[Step]:
        """Every step of every alarm since a time [ns, UTC], oldest first."""
        query = "SELECT at, event, reason, before, alarm FROM transition WHERE at >= ? ORDER BY seq"
        return [
            Step(at, event, reason, before, _ALARM.decode(body))
            for at, event, reason, before, body in await self._rows(query, at)
        ]

    async def paging(self) -> tuple[int | None, dict[str, bytes]]:
        """Up to which transition people were told, None before the first time, and the rows of paging."""
        cursor = await self._rows("SELECT seq FROM paged")
        rows = await self._rows("SELECT key, body FROM paging")
        return (cursor[0][0] if cursor else None), dict(rows)

    async def forget_paging(self) -> None:
        """Forgets whom people were told of what: there is nobody to tell any more."""
        await self._call(self._write, [("DELETE FROM paged", ()), ("DELETE FROM paging", ())])

    async def steps_after(self, seq: int, limit: int = 2000) -> Sequence[tuple[int, Step]]:
        """Steps of every alarm after a transition, in order, with their sequence numbers."""
        query = (
            "SELECT seq, at, event, reason, before, alarm FROM transition WHERE seq > ? ORDER BY seq LIMIT ?"
        )
        return [
            (number, Step(at, event, reason, before, _ALARM.decode(body)))
            for number, at, event, reason, before, body in await self._rows(query, seq, limit)
        ]

    async def page(
        self,
        seq: int,
        rows: Mapping[str, bytes | None],
        outgoing: Sequence[tuple[str, Notification]],
        now: int,
    ) -> int:
        """Makes durable whom people are told of up to a transition, whole or not at all.

        Parameters
        ----------
        seq
            Of that transition.
        rows
            Of paging that changed; None for those that are gone.
        outgoing
            Channels with what they have to deliver.
        now
            [ns, UTC].

        Raises
        ------
        StorageError
            Nothing of it was stored.

        """
        newest, overflowed = await self._call(self._page, seq, rows, outgoing, now)
        self.notifications.move_to(newest)
        return overflowed

    async def deliveries(self, alarm_id: str) -> Sequence[Delivery]:
        """What people were told of an alarm, oldest first, as far as the outbox still has it."""
        query = (
            "SELECT channel, key, created_at, attempts, result, detail, ended_at, body FROM outbox"
            " WHERE instr(CAST(body AS TEXT), ?) ORDER BY id"
        )
        found: list[Delivery] = []
        for channel, key, at, attempts, result, detail, ended_at, body in await self._rows(query, alarm_id):
            told = _NOTIFICATION.decode(body)
            named = [(told.occasion, told.alarm), *((also.occasion, also.alarm) for also in told.also)]
            found += [
                Delivery(channel, key, occasion, at, attempts, result, detail, ended_at)
                for occasion, alarm in named
                if alarm.id == alarm_id
            ]
        return found

    async def wait_events(self, after: int) -> None:
        """Returns as soon as there is a transition after a sequence number."""
        await self.transitions.past(after)

    async def next_entry(self, channel: str) -> Entry | None:
        """The oldest undelivered notification of a channel."""
        query = (
            "SELECT id, attempts, due_at, created_at, body FROM outbox"
            " WHERE channel = ? AND result = '' ORDER BY id LIMIT 1"
        )
        rows = await self._rows(query, channel)
        if not rows:
            return None
        number, attempts, due_at, created_at, body = rows[0]
        return Entry(number, attempts, due_at, created_at, _NOTIFICATION.decode(body))

    async def postpone(self, entry: Entry, due_at: int, detail: str) -> None:
        """Notes a failed attempt and when to try again [ns, UTC]."""
        statement = "UPDATE outbox SET attempts = attempts + 1, due_at = ?, detail = ? WHERE id = ?"
        await self._call(self._write, [(statement, (due_at, detail, entry.id))])

    async def end(self, entry: Entry, result: str, detail: str, now: int) -> None:
        """Notes that a notification was delivered or given up."""
        statement = "UPDATE outbox SET result = ?, detail = ?, ended_at = ? WHERE id = ?"
        prune = (
            "DELETE FROM outbox WHERE result != '' AND id <= (SELECT id FROM outbox WHERE result != ''"
            " ORDER BY id DESC LIMIT 1 OFFSET ?)"
        )
        await self._call(self._write, [(statement, (result, detail, now, entry.id)), (prune, (_KEPT_ENDED,))])

    async def drop_channels_except(self, channels: Sequence[str], result: str, now: int) -> list[str]:
        """Gives up what waits for channels that are no longer configured; returns a channel for each."""
        marks = ", ".join("?" * len(channels))
        rows = await self._rows(
            f"UPDATE outbox SET result = ?, ended_at = ? WHERE result = '' AND channel NOT IN ({marks})"  # noqa: S608 - only question marks
            " RETURNING channel",
            result,
            now,
            *channels,
        )
        return [channel for (channel,) in rows]

    async def failing(self) -> dict[str, tuple[int, str]]:
        """Channels whose next notification has failed so far: since when [ns, UTC], and what was said."""
        query = (
            "SELECT channel, min(created_at), coalesce(max(detail), '') FROM outbox"
            " WHERE result = '' AND attempts > 0 GROUP BY channel"
        )
        return {channel: (since, detail) for channel, since, detail in await self._rows(query)}

    async def counts(self) -> dict[str, ChannelCounts]:
        """Notifications by channel."""
        query = (
            "SELECT channel, sum(result = ''), sum(result = 'delivered'),"
            " sum(result NOT IN ('', 'delivered')),"
            " coalesce(max(CASE WHEN result = '' THEN detail END), '') FROM outbox GROUP BY channel"
        )
        return {channel: ChannelCounts(*rest) for channel, *rest in await self._rows(query)}

    def _open(self) -> None:
        super()._open()
        self._newest_stored = _newest(self._open_connection)

    def _load(self) -> tuple[Progress, Sequence[Tracked]]:
        connection = self._open_connection
        row = connection.execute("SELECT offset, resume_after, instant, number FROM progress").fetchone()
        bodies = connection.execute("SELECT body FROM condition ORDER BY key").fetchall()
        return Progress(*row) if row else Progress(), [_TRACKED.decode(body) for (body,) in bodies]

    def _write(self, statements: Sequence[tuple[str, tuple[int | str, ...]]]) -> None:
        connection = self._open_connection
        with transaction(connection):
            for statement, values in statements:
                connection.execute(statement, values)

    def _commit(
        self,
        progress: Progress,
        conditions: Sequence[Tracked],
        changes: Sequence[Change],
        records: Sequence[EventRecord],
    ) -> tuple[int, int, int]:
        connection = self._open_connection
        overflowed = 0
        with transaction(connection):
            connection.execute(
                "INSERT OR REPLACE INTO progress VALUES (1, ?, ?, ?, ?)",
                (progress.offset, progress.resume_after, progress.instant, progress.number),
            )
            for tracked in conditions:
                if tracked.kept:
                    body = msgspec.json.encode(tracked)
                    connection.execute("INSERT OR REPLACE INTO condition VALUES (?, ?)", (tracked.key, body))
                else:
                    connection.execute("DELETE FROM condition WHERE key = ?", (tracked.key,))
            # what is held back in the same step was never shown to anybody
            ends = {change.alarm.id: change.alarm.state for change in changes}
            for change in changes:
                overflowed += self._append(connection, change, tell=ends[change.alarm.id] not in HELD)
            for record in records:
                row = (_newest(connection) + 1, record.t, msgspec.json.encode(record))
                connection.execute("INSERT INTO record VALUES (?, ?, ?)", row)
                connection.execute("DELETE FROM record WHERE at < ?", (record.t - _KEPT_RECORDS,))
            newest = _newest(connection)
            outgoing = _newest_outgoing(connection)
        return newest, outgoing, overflowed

    def _page(
        self,
        seq: int,
        rows: Mapping[str, bytes | None],
        outgoing: Sequence[tuple[str, Notification]],
        now: int,
    ) -> tuple[int, int]:
        connection = self._open_connection
        overflowed = 0
        with transaction(connection):
            connection.execute("INSERT OR REPLACE INTO paged VALUES (1, ?)", (seq,))
            for key, body in rows.items():
                if body is None:
                    connection.execute("DELETE FROM paging WHERE key = ?", (key,))
                else:
                    connection.execute("INSERT OR REPLACE INTO paging VALUES (?, ?)", (key, body))
            for channel, notification in outgoing:
                body = msgspec.json.encode(notification)
                overflowed += self._enqueue(connection, channel, notification.key, body, now)
            return _newest_outgoing(connection), overflowed

    def _append(self, connection: sqlite3.Connection, change: Change, *, tell: bool) -> int:
        """Adds a step to the history and tells the channels; returns how many old notifications gave way."""
        alarm, body = change.alarm, msgspec.json.encode(change.alarm)
        seq = _newest(connection) + 1
        connection.execute(
            "INSERT INTO transition VALUES (?, ?, ?, ?, ?, ?, ?)",
            (seq, alarm.id, change.event, change.reason, change.before, alarm.updated_at, body),
        )
        connection.execute(
            "INSERT INTO occurrence VALUES (?, ?, ?) ON CONFLICT (alarm_id)"
            " DO UPDATE SET raised_at = excluded.raised_at, alarm = excluded.alarm",
            (alarm.id, alarm.raised_at, body),
        )
        occasion = _OCCASIONS.get(change.event)
        if occasion is None or occasion not in self._notify_on or not tell or change.before in HELD:
            return 0
        key = f"{alarm.id}-{seq}"
        message = msgspec.json.encode(Notification(key, occasion, alarm.updated_at, alarm))
        return sum(
            self._enqueue(connection, channel, key, message, alarm.updated_at) for channel in self._channels
        )

    def _enqueue(
        self, connection: sqlite3.Connection, channel: str, key: str, message: bytes, now: int
    ) -> int:
        """Puts a message into the outbox; returns how many old ones gave way."""
        connection.execute(
            "INSERT INTO outbox (channel, key, body, created_at, due_at) VALUES (?, ?, ?, ?, ?)",
            (channel, key, message, now, now),
        )
        return connection.execute(
            "UPDATE outbox SET result = ?, ended_at = ? WHERE id IN (SELECT id FROM outbox"
            " WHERE channel = ? AND result = '' ORDER BY id DESC LIMIT -1 OFFSET ?)",
            (OVERFLOW, now, channel, self._max_pending),
        ).rowcount


def _newest_outgoing(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM outbox").fetchone()[0])


def _newest(connection: sqlite3.Connection) -> int:
    """Newest number of the one order in which steps of alarms and further records stand."""
    query = (
        "SELECT max(coalesce((SELECT max(seq) FROM transition), 0),"
        " coalesce((SELECT max(seq) FROM record), 0))"
    )
    return int(connection.execute(query).fetchone()[0])


_RECORD = msgspec.json.Decoder(EventRecord)
_ALARM = msgspec.json.Decoder(Alarm)
_TRACKED = msgspec.json.Decoder(Tracked)
_NOTIFICATION = msgspec.json.Decoder(Notification)


def _event_record(seq: int, event: str, reason: str, before: str, alarm: Alarm) -> EventRecord:
    return EventRecord(
        kind="alarm",
        key=f"{alarm.id}-{seq}",
        t=alarm.updated_at,
        tags={
            "rule": alarm.rule,
            "asset": alarm.asset,
            "area": alarm.area,
            "priority": alarm.priority.value,
            "state": alarm.state.value,
            "event": event,
        },
        fields={
            "alarm": alarm.id,
            "title": alarm.title,
            "reason": reason,
            "before": before,
            "value": alarm.value,
            "limit": alarm.limit,
            "unit": alarm.unit,
            "quality": alarm.quality,
            "raised_at": alarm.raised_at,
            "acknowledged_by": alarm.acknowledged_by,
            "comment": alarm.comment,
            "occurrences": alarm.occurrences,
            "parent": alarm.parent,
            "held_reason": alarm.held_reason,
            "held_by": alarm.held_by,
            "chattering": alarm.chattering,
        },
    )
