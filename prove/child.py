"""The subject: journal, intake, embedded store, dead letters and alarm journal in one process.

Its sources confirm on a pipe what was acknowledged to them, one line for each. Started by
:mod:`prove.subject` with: state directory, session, descriptor of the pipe, settings as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import structlog

from alerts.alarms import Alarm, AlarmState, Priority
from alerts.journal import AlarmJournal, Progress
from alerts.lifecycle import Event
from alerts.occurrence import Change
from ingest.config import DeadLetterSettings, JournalSettings
from ingest.deadletters import DeadLetters
from ingest.intake import JournalIntake
from ingest.journal.journal import Journal
from ingest.ports import DeadLetter, OnFull
from ingest.pump import StorePump
from ingest.refill import Refill
from ingest.stores.embedded.store import EmbeddedStore
from prove.broker import mqtt_source
from prove.influx import influx_store
from prove.ledger import LETTER_EVERY, SOURCES, STORE, conversation
from telemetry.clock import Pace, SystemClock
from telemetry.errors import StorageError

ALARM_EVERY_S = 0.05
RETRY_S = 0.1
PILE = 100
"""Messages of a source that are appended at once when they pile up."""
LEVEL = 200
"""A store that lacks fewer records has caught up."""
OPTIONS = ("careless", "clock_s", "pile_up", "influx", "mqtt")
"""What is no setting of the journal: no flushing; a clock that is wrong [s]; how many messages pile up;
address of an InfluxDB to write to as well; port of a broker that the sources publish to."""


class Careless(sqlite3.Connection):
    """A connection that trusts the disk with what it has not written yet: the control that must fail."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Opens every database without waiting for the disk."""
        return super().execute(sql.replace("synchronous = FULL", "synchronous = NORMAL"), parameters)


async def ingest(
    state: Path,
    session: int,
    say: Callable[[str], None],
    settings: dict[str, Any],
    options: dict[str, Any],
) -> None:
    """Ingests until it is killed."""
    clock = shifted(options.get("clock_s", 0.0))
    async with (
        Journal(state / "journal", JournalSettings(**settings), clock) as journal,
        DeadLetters(state / "deadletters.sqlite", DeadLetterSettings()) as letters,
        EmbeddedStore(state / "store.duckdb", STORE) as store,
        AlarmJournal(state / "alarms.sqlite", ["log"]) as alarms,
        AsyncExitStack() as further,
        asyncio.TaskGroup() as group,
    ):
        journal.cursors.register(store.name, OnFull.STOP)
        lacking = journal.head - (await store.position()).offset
        if url := options.get("influx"):
            influx = await further.enter_async_context(influx_store(url, journal, letters, clock))
            lacking += journal.head - (await influx.position()).offset
            refill = Refill(journal.cursors, store, influx)
            group.create_task(StorePump(journal, influx, clock, refill=refill).run())
        say(f"R {lacking}")
        intake = JournalIntake(journal, letters, clock)
        if options.get("pile_up"):
            await pile_up(journal, session, options["pile_up"], say)
            group.create_task(clock.sleep(1e9))  # until it is killed
            return
        pump = StorePump(journal, store, clock, cursors=journal.cursors)
        group.create_task(pump.run())
        group.create_task(raise_alarms(alarms, session, clock, say))
        group.create_task(tell_trouble(journal, say))
        group.create_task(tell_level(pump, clock, say))
        if port := options.get("mqtt"):
            group.create_task(mqtt_source(port, intake, clock, say).run())
            return
        for source in range(SOURCES):
            group.create_task(send(intake, source, session, clock, say))


async def pile_up(journal: Journal, session: int, messages: int, say: Callable[[str], None]) -> None:
    """Puts messages into the journal while no store takes any, many at a time."""
    sources = [iter(conversation(session, source)) for source in range(SOURCES)]
    for _ in range(0, messages, SOURCES * PILE):
        # of each source in order: what is confirmed stands before what is not
        batch = [message for source in sources for message in islice(source, PILE)]
        await asyncio.gather(*(journal.append(message.batch(message.time)) for message in batch))
        for message in batch:
            say("M " + " ".join(map(str, message)))


async def send(
    intake: JournalIntake, source: int, session: int, clock: SystemClock, say: Callable[[str], None]
) -> None:
    """A source: it goes on only after the acknowledgement, and sends again what was refused."""
    for count, message in enumerate(conversation(session, source)):
        while True:
            try:
                await intake.submit(message.batch(clock.now_ns()))
                if count % LETTER_EVERY == 0:
                    await intake.reject(
                        [DeadLetter(clock.now_ns(), "prove", "t", "not_json", "junk", b"junk", 4)]
                    )
                    say("L")
            except StorageError:
                await clock.sleep(RETRY_S)
            else:
                break
        say("M " + " ".join(map(str, message)))


async def raise_alarms(
    journal: AlarmJournal, session: int, clock: SystemClock, say: Callable[[str], None]
) -> None:
    """Raises alarms one after the other, each durable before it is shown."""
    number = 0
    while True:
        name = f"R6-A-B-{session}-{number}"
        now = clock.now_ns()
        alarm = Alarm(
            name, f"R6/{name}", "R6", 1, "A-B", "KZ", "30 MW missing", Priority.HIGH,
            AlarmState.UNACKNOWLEDGED, 30.0, 7.0, "MW", "good", now, now, now, now,
        )  # fmt: skip
        try:
            await journal.commit(Progress(), [], [Change(Event.RAISE, "limit", AlarmState.NORMAL, alarm)])
        except StorageError:
            await clock.sleep(RETRY_S)
            continue
        say(f"A {name}")
        number += 1
        await clock.sleep(ALARM_EVERY_S)


def shifted(seconds: float) -> SystemClock:
    """The machine's clock, wrong by so much."""
    real = SystemClock().now_ns()
    return SystemClock(Pace(1.0, real + round(seconds * 1e9), real)) if seconds else SystemClock()


async def tell_trouble(journal: Journal, say: Callable[[str], None]) -> None:
    """Tells when the journal stops taking anything and when it takes again."""
    known = journal.trouble
    while True:
        say(f"T {known.state if known else 'none'}")
        known = await journal.wait_trouble(known)


async def tell_level(pump: StorePump, clock: SystemClock, say: Callable[[str], None]) -> None:
    """Tells when the store is level."""
    while pump.status.state != "running" or pump.status.lag >= LEVEL:
        await clock.sleep(0.02)
    say("D")


def main(state: str, session: str, pipe: str, settings: str) -> None:
    """Runs the subject."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    given = json.loads(settings)
    options = {name: given.pop(name) for name in OPTIONS if name in given}
    if options.get("careless"):
        connect = sqlite3.connect
        sqlite3.connect = lambda *a, **k: connect(*a, **k, factory=Careless)  # type: ignore[assignment]
    descriptor = int(pipe)
    asyncio.run(ingest(Path(state), int(session), lambda line: _write(descriptor, line), given, options))


def _write(descriptor: int, line: str) -> None:
    os.write(descriptor, f"{line}\n".encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
