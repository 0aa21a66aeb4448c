"""The faults: each strikes a subject a number of times and is followed by an audit."""

from __future__ import annotations

import random
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from prove.audit import audit
from prove.broker import STRIKES, mosquitto
from prove.desk import desk_kills
from prove.disks import Image, fill, memory
from prove.influx import audit_influx
from prove.influxd import ANSWERS, influx_server
from prove.ledger import POINTS, Ledger, Message
from prove.outcome import FRESH_WITHIN_S, MIN_MESSAGES, Outcome, Size
from prove.subject import CLOCK, SMALL, Subject, running
from prove.year import year

MORE_MEMORY_MB = 64
"""What a backlog may cost beyond an idle process [MB]."""
LONGEST_CATCH_UP_S = 600.0
WELL_WITHIN_S = 60.0
"""A fresh reading must be in InfluxDB so soon after it is well [s]: it is tried every 30 s at the latest."""


def kills(directory: Path, size: Size, rng: random.Random) -> Outcome:
    """kill -9 at random moments, each process taking up where the last one fell."""
    outcome, ledger, state = Outcome("kill"), Ledger(), directory / "state"
    while outcome.wants(size.kills):
        with running(state, ledger) as subject:
            subject.follow(FRESH_WITHIN_S, messages=MIN_MESSAGES)
            subject.follow(rng.uniform(0.0, size.longest_s))
            subject.kill()
            outcome.seen(subject.messages, subject.first_after_s, again=True)
            outcome.replayed += max(0, subject.replayed)
            if subject.ended:
                outcome.problems.append(f"round {outcome.rounds}: it ended by itself: {subject.ended}")
            starved = max(subject.starved_at_end_s, outcome.figures.get("longest_starved_s", 0.0))
            outcome.figures["longest_starved_s"] = round(starved, 1)
    outcome.judge(audit(state, ledger, SMALL))
    return outcome.end()


def cuts(directory: Path, size: Size, rng: random.Random) -> Outcome:
    """Power cuts on one image that holds journal, store, dead letters and alarm database together."""
    outcome, ledger = Outcome("power cut"), Ledger()
    with Image(directory, 160) as disk:
        while outcome.wants(size.cuts):
            _cut(disk, ledger, outcome, size=size, rng=rng, settings=SMALL)
    return outcome.end(replay_needed=False)


CONTROL_CUTS = 10
"""Careless cuts that are made at most until one has lost something, where fewer are asked for."""


def careless_cuts(directory: Path, size: Size, rng: random.Random) -> Outcome:
    """The control: with ``synchronous=NORMAL`` the same cuts must lose something, or they cut nothing.

    Each has a disk of its own: what is left of one is no state to go on from.
    """
    outcome, lost = Outcome("careless power cut"), 0
    # one cut in five finds everything flushed by chance
    while outcome.wants(size.cuts if lost else max(size.cuts, CONTROL_CUTS)):
        folder = Path(tempfile.mkdtemp(dir=directory))
        with Image(folder, 160) as disk:
            _cut(disk, Ledger(), outcome, size=size, rng=rng, settings=SMALL | {"careless": True})
        lost = sum(": missing " in problem for problem in outcome.problems)
    outcome.figures = {"cuts_that_lost": lost}
    outcome.problems = [] if lost else ["nothing was lost without flushing: the cuts prove nothing"]
    return outcome.end(replay_needed=False)


def _cut(
    disk: Image,
    ledger: Ledger,
    outcome: Outcome,
    *,
    size: Size,
    rng: random.Random,
    settings: Mapping[str, Any],
) -> None:
    state = disk.mount / "state"
    with running(state, ledger, settings) as subject:
        subject.follow(FRESH_WITHIN_S, messages=MIN_MESSAGES)
        subject.follow(rng.uniform(0.2, size.longest_s + 0.2))
        subject.freeze()
        copy = disk.copy()
        outcome.seen(subject.messages, subject.first_after_s, again=True)
    disk.restore(copy)
    outcome.judge(audit(state, ledger, SMALL))


def fills(directory: Path, size: Size, rng: random.Random) -> Outcome:
    """Somebody fills the disk: nothing is acknowledged until there is room, then everything goes on."""
    outcome, ledger = Outcome("disk full"), Ledger()
    settings = SMALL | {"min_free_bytes": 8 << 20, "reserve_bytes": 4 << 20}
    with memory(directory / "disk", 96) as disk, running(disk / "state", ledger, settings) as subject:
        while outcome.wants(size.fills):
            before = subject.messages
            subject.follow(FRESH_WITHIN_S, messages=before + MIN_MESSAGES)
            subject.follow(rng.uniform(0.0, size.longest_s))
            ballast = fill(disk)
            if not subject.follow(FRESH_WITHIN_S, trouble="disk_full"):
                outcome.problems.append("a full disk was not noticed")
            at_rest = subject.messages
            subject.follow(1.0)
            if subject.messages > at_rest + 4:
                outcome.problems.append(f"{subject.messages - at_rest} messages acknowledged on a full disk")
            ballast.unlink()
            freed, resting = CLOCK.monotonic(), subject.messages
            subject.follow(FRESH_WITHIN_S, messages=resting + 1)
            if subject.process.poll() is not None:
                outcome.problems.append("the process ended on a full disk")
                break
            outcome.seen(subject.messages - before, CLOCK.monotonic() - freed, again=True)
        subject.kill()
        outcome.judge(audit(disk / "state", ledger, settings))
    return outcome.end(replay_needed=False)


def corruptions(directory: Path, size: Size, rng: random.Random) -> Outcome:
    """Records of the journal rot while nobody runs: they alone may be lost, counted, and nothing stops."""
    outcome, ledger, state = Outcome("corruption"), Ledger(), directory / "state"
    allowed = 0
    while outcome.wants(size.corruptions):
        with running(state, ledger) as subject:
            subject.follow(FRESH_WITHIN_S, messages=MIN_MESSAGES)
            subject.follow(rng.uniform(0.0, size.longest_s))
            subject.kill()
            outcome.seen(subject.messages, subject.first_after_s, again=True)
        allowed += rot(state / "journal", rng) * POINTS
        result = audit(state, ledger, SMALL)
        lost = result.missing + result.stale
        if lost > allowed:
            outcome.problems.append(f"round {outcome.rounds}: missing {lost}, only {allowed} were destroyed")
        if lost and not result.damaged and lost > outcome.destroyed:
            outcome.problems.append(f"round {outcome.rounds}: {lost} missing, and no damage was told")
        outcome.destroyed = lost
        outcome.judge(replace(result, missing=0, stale=0))
    return outcome.end(replay_needed=False)


def skews(directory: Path, size: Size, rng: random.Random) -> Outcome:
    """The wall clock is an hour ahead, then right, then an hour behind, from one process to the next."""
    outcome, ledger, state = Outcome("clock"), Ledger(), directory / "state"
    while outcome.wants(size.skews):
        hours = (1, 0, -1)[outcome.rounds % 3]
        with running(state, ledger, SMALL | {"clock_s": hours * 3600.0}) as subject:
            subject.follow(FRESH_WITHIN_S, messages=MIN_MESSAGES)
            subject.follow(rng.uniform(0.0, size.longest_s))
            subject.kill()
            outcome.seen(subject.messages, subject.first_after_s, again=True)
        outcome.judge(audit(state, ledger, SMALL), f", {hours:+d} h")
    return outcome.end(replay_needed=False)


def backlog(directory: Path, size: Size, rng: random.Random) -> Outcome:
    """Readings pile up while no store takes any; then it catches up in bounded memory, live data beside."""
    outcome, ledger, state = Outcome("backlog"), Ledger(), directory / "state"
    settings = SMALL | {"segment_bytes": 16 << 20, "max_bytes": 4 << 30}
    with running(directory / "idle", Ledger(), settings) as subject:
        subject.follow(FRESH_WITHIN_S, level=True)
        subject.follow(3.0 + rng.uniform(0.0, size.longest_s))
        idle = subject.peak_mb
    messages = size.backlog // POINTS
    with running(state, ledger, settings | {"pile_up": messages}) as subject:
        if not subject.follow(LONGEST_CATCH_UP_S, messages=messages):
            outcome.void = f"only {subject.messages} of {messages} messages piled up"
        subject.kill()
    with running(state, ledger, settings) as subject:
        started = CLOCK.monotonic()
        subject.follow(FRESH_WITHIN_S, messages=1)
        if not subject.follow(LONGEST_CATCH_UP_S, level=True):
            outcome.problems.append("the store did not catch up")
        outcome.figures = {
            "idle_mb": round(idle, 1),
            "peak_mb": round(subject.peak_mb, 1),
            "catch_up_s": round(CLOCK.monotonic() - started, 1),
            "replayed_readings": subject.replayed * POINTS,
        }
        outcome.replayed += max(0, subject.replayed)
        if subject.peak_mb > idle + MORE_MEMORY_MB:
            outcome.problems.append(f"{subject.peak_mb:.0f} MB at the backlog, {idle:.0f} MB when idle")
        subject.follow(FRESH_WITHIN_S, messages=MIN_MESSAGES)
        subject.kill()
        outcome.seen(subject.messages, subject.first_after_s)
    outcome.judge(audit(state, ledger, settings))
    return outcome.end()


def influx(directory: Path, size: Size, rng: random.Random, answer: str) -> Outcome:
    """InfluxDB answers otherwise than it should: nothing else stops, and it has everything in the end."""
    outcome, ledger, state = Outcome(f"influx {answer}"), Ledger(), directory / "state"
    lasts = size.outage_s if answer == "stopped" else size.refused_s
    with influx_server(directory / "influxd") as (server, url):
        settings = SMALL | {"influx": url}
        for _ in range(1 if answer == "stopped" else size.refusals):
            with running(state, ledger, settings) as subject:
                subject.follow(FRESH_WITHIN_S, messages=MIN_MESSAGES)
                server.be(answer)
                before = subject.messages
                subject.follow(lasts * rng.uniform(0.5, 1.0))
                subject.follow(FRESH_WITHIN_S, messages=before + MIN_MESSAGES)
                subject.kill()
                outcome.seen(subject.messages - before, subject.first_after_s)
            if answer == "401" and size.name == "smoke":
                server.be("")  # a client that is not let in waits long before it tries again
            with running(state, ledger, settings) as subject:
                subject.follow(FRESH_WITHIN_S, messages=MIN_MESSAGES)
                subject.follow(lasts * rng.uniform(0.1, 0.5))
                server.be("")
                lifted = CLOCK.monotonic()
                session = ledger.sessions - 1
                fresh = Message(0, session, ledger.newest[0, session], 0).time
                while not server.holds(0, fresh) and CLOCK.monotonic() < lifted + WELL_WITHIN_S:
                    subject.follow(0.1)
                late = CLOCK.monotonic() - lifted
                outcome.figures["in_influx_after_s"] = round(
                    max(late, outcome.figures.get("in_influx_after_s", 0)), 1
                )
                if late >= WELL_WITHIN_S:
                    outcome.problems.append(
                        f"round {outcome.rounds}: nothing fresh in InfluxDB for {late:.0f} s"
                    )
                subject.kill()
                outcome.replayed += subject.replayed
        if not server.struck and answer != "stopped":
            outcome.void = "no request met the answer"
        if answer == "400" and not server.refused:
            outcome.void = "no line was refused"
        outcome.judge(audit(state, ledger, SMALL))
        outcome.judge(audit_influx(state, ledger, SMALL, url, server.refused), " in InfluxDB")
        outcome.figures |= {"struck": server.struck, "refused_lines": len(server.refused)}
    return outcome.end()


def broker(directory: Path, size: Size, rng: random.Random, how: str) -> Outcome:
    """The broker fails while sources publish through it, and the process is killed once in every round."""
    outcome, ledger, state = Outcome(f"broker {how}"), Ledger(), directory / "state"
    with mosquitto(directory / "mosquitto", ledger) as (server, sources):

        def follow(subject: Subject, seconds: float, messages: int = sys.maxsize) -> None:
            until = CLOCK.monotonic() + seconds
            while CLOCK.monotonic() < until and subject.messages < messages:
                sources.go_on()
                subject.follow(0.02, messages=subject.messages + 1)

        settings = SMALL | {"mqtt": server.port}
        for number in range(2 * size.broker_faults):
            with running(state, ledger, settings) as subject:
                sources.begin(ledger.sessions - 1)
                follow(subject, FRESH_WITHIN_S, MIN_MESSAGES)
                follow(subject, rng.uniform(0.0, size.longest_s))
                if number % 2 == 0:
                    server.strike(how)
                    follow(subject, size.broker_s * rng.uniform(0.5, 1.0))
                    server.recover()
                    back, before = CLOCK.monotonic(), subject.messages
                    follow(subject, FRESH_WITHIN_S, before + 1)
                    fresh = CLOCK.monotonic() - back
                    follow(subject, FRESH_WITHIN_S, before + MIN_MESSAGES)
                    outcome.seen(subject.messages - before, fresh)
                subject.kill()
                outcome.replayed += max(0, subject.replayed)
        sources.end()
        with running(state, ledger, settings) as subject:
            until = CLOCK.monotonic() + FRESH_WITHIN_S
            while sources.owed and CLOCK.monotonic() < until:
                subject.follow(0.1)
            subject.kill()
        if sources.owed and how != "kill":  # which may cost a broker what it has taken
            outcome.problems.append(f"{sources.owed} messages that the broker took were never received")
        outcome.judge(audit(state, ledger, SMALL))
        outcome.figures = {"said_again": sources.again}
    return outcome.end()


def rot(journal: Path, rng: random.Random) -> int:
    """Changes a byte in some of the newest records; returns in how many."""
    newest = max(journal.glob("*.journal"))
    with closing(sqlite3.connect(newest)) as connection, connection:
        rows = connection.execute("SELECT offset, data FROM record ORDER BY offset DESC LIMIT 5").fetchall()
        for offset, data in rows[::2]:
            at = rng.randrange(len(data))
            changed = data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]
            connection.execute("UPDATE record SET data = ? WHERE offset = ?", (changed, offset))
    return len(rows[::2])


FAULTS: dict[str, Callable[[Path, Size, random.Random], Outcome]] = {
    "kill": kills,
    "cut": cuts,
    "careless-cut": careless_cuts,
    "full": fills,
    "corruption": corruptions,
    "clock": skews,
    "backlog": backlog,
    **{f"influx-{answer}": partial(influx, answer=answer) for answer in ANSWERS},
    "desk-kill": desk_kills,
    "year": year,
    **{f"broker-{how}": partial(broker, how=how) for how in STRIKES},
}
"""Every fault by its name on the command line."""


def strike(name: str, size: Size, seed: int) -> Outcome:
    """Lets a fault strike in a directory of its own.

    Raises
    ------
    UnavailableError
        This machine lacks what it takes, for example the right to mount.

    """
    with tempfile.TemporaryDirectory(prefix="greenbridge-prove-") as directory:
        return FAULTS[name](Path(directory), size, random.Random(f"{name}/{seed}"))  # noqa: S311  moments
