"""kill -9 of the alarm desk at every edge of an alarm's life, and what must be left."""

from __future__ import annotations

import asyncio
import json
import os
import random
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from alerts.alarms import HELD, AlarmState
from alerts.journal import AlarmJournal, Step
from alerts.lifecycle import Event, next_state
from ingest.audit import entries
from ingest.audit_chain import verify
from prove.desk_child import FEED, PHONE
from prove.desk_story import EDGES, Edge
from prove.outcome import Outcome, Size
from prove.subject import CLOCK

MOMENTS_S = (0.0, 0.0, 0.001, 0.003, 0.01)
"""How long after what it was waited for a kill strikes [s]."""
HANG_S = 120.0
"""A process that says nothing for so long hangs [s]."""
LULL = 400
"""Commits after which any edge will do: the story must move on, whatever was struck already."""
_DONE = {"acknowledged": Event.ACKNOWLEDGE, "reset": Event.RESET}


@dataclass(slots=True)
class Promises:
    """What an operator was told to be done."""

    steps: list[tuple[Event, str]] = field(default_factory=list)
    """Acknowledgements and resets with their alarm."""
    holds: dict[tuple[str, str], int | None] = field(default_factory=dict)
    """Condition and kind of what is held, with its end [ns, UTC]; None without one."""
    ordering: str = ""
    """Condition of an order that nothing was heard of yet."""

    def take(self, words: Sequence[Any]) -> None:
        """Notes what a process said."""
        match words:
            case ["ordering", key]:
                self.ordering = key
            case ["acknowledged" | "reset" as what, alarm]:
                self.steps.append((_DONE[what], alarm))
                self.ordering = ""
            case ["held", key, kind, until]:
                self.holds[key, kind] = until
                self.ordering = ""
            case ["ended", key, kind]:
                self.holds.pop((key, kind), None)
                self.ordering = ""

    def forgotten(self, now: int, held: Iterable[tuple[str, str, int | None]]) -> list[str]:
        """Holds that a new process does not know of, though nothing can have ended them by now [ns, UTC]."""
        there = {(key, kind): until for key, kind, until in held}
        lost = [
            f"{key} is no longer {kind}"
            for (key, kind), until in self.holds.items()
            if (key, kind) not in there and key != self.ordering and (until is None or until > now)
        ]
        self.holds, self.ordering = there, ""
        return lost


class Strikes:
    """Chooses when to kill: at the edges that were struck least so far, before or after they are durable."""

    def __init__(self, rng: random.Random) -> None:
        self.at: Counter[Edge] = Counter()
        self._rng = rng
        self._waited = 0
        self._choose()

    def due(self, words: Sequence[Any]) -> bool:
        """Whether what a process said is the moment."""
        kind = words[0]
        if kind not in {"about", "done"}:
            return False
        self._waited += 1
        edges = {(AlarmState(state), Event(event)) for state, event in words[1]}
        fewest = min(self.at[edge] for edge in EDGES)
        wanted = {edge for edge in edges if self.at[edge] <= fewest}
        if kind != self._kind or not (wanted or self._waited > LULL):
            return False
        self.at.update(wanted or edges)
        self._waited = 0
        self._choose()
        return True

    def moment_s(self) -> float:
        """How long to wait before the kill [s]."""
        return self._rng.choice(MOMENTS_S)

    def _choose(self) -> None:
        self._kind = self._rng.choice(("about", "about", "done"))


class Nursery:
    """The process that the desks are born in; leaving the context ends it, and whoever is alive."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "prove.desk_child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._alive = 0

    def life(self, state: Path, *, ends: bool) -> Iterator[list[Any]]:
        """What a new process says; the last is ``gone`` and its exit code.

        Raises
        ------
        TimeoutError
            It says nothing for :data:`HANG_S`.

        """
        ours, theirs = self._process.stdout, self._process.stdin
        if ours is None or theirs is None:
            raise AssertionError("both are pipes")
        theirs.write(json.dumps([str(state), ends]).encode() + b"\n")
        theirs.flush()
        rest = b""
        while True:
            if not select.select([ours], [], [], HANG_S)[0]:
                raise TimeoutError(f"nothing was heard for {HANG_S:g} s")
            *lines, rest = (rest + os.read(ours.fileno(), 1 << 16)).split(b"\n")
            for line in lines:
                words = json.loads(line)
                self._alive = words[1] if words[0] == "born" else 0 if words[0] == "gone" else self._alive
                yield words
                if words[0] == "gone":
                    return

    def kill(self) -> None:
        """Kills whoever is alive."""
        if self._alive:
            os.kill(self._alive, signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._process.communicate()


def desk_kills(directory: Path, size: Size, rng: random.Random) -> Outcome:
    """kill -9 of the alarm desk: nothing forgotten, no order lost, nobody told anything new by a restart."""
    outcome, promises, strikes = Outcome("desk kill"), Promises(), Strikes(rng)
    state, reference, cycles = directory / "state", directory / "reference", 0
    for each in (state, reference):
        each.mkdir()
    with Nursery() as nursery:
        while not outcome.problems and not cycles:
            ends = outcome.rounds >= size.desk_kills
            cycles = _follow(nursery, state, outcome, promises, None if ends else strikes)
        _follow(nursery, reference, outcome, Promises(), None)
    if cycles:
        asyncio.run(_audit(state, outcome, promises, asyncio.run(_lives(reference)), cycles))
    outcome.figures |= {
        "edges": len(strikes.at),
        "fewest_at_an_edge": min(strikes.at[edge] for edge in EDGES),
        "cycles": cycles,
        "orders_kept": len(promises.steps),
    }
    return outcome


def _follow(
    nursery: Nursery, state: Path, outcome: Outcome, promises: Promises, strikes: Strikes | None
) -> int:
    """Hears a process until it is killed; without strikes until its end: then the number of cycles."""
    cycles, started, killed = 0, CLOCK.monotonic(), False
    for words in nursery.life(state, ends=strikes is None):
        promises.take(words)
        if words[0] == "resumed":
            outcome.slowest_fresh_s = max(outcome.slowest_fresh_s, CLOCK.monotonic() - started)
            outcome.problems += promises.forgotten(*words[1:])
        elif words[0] == "finished":
            cycles = words[1]
        elif words[0] == "gone" and words[1] != (-signal.SIGKILL if killed else 0):
            outcome.problems.append(f"it ended by itself with exit code {words[1]}")
        elif strikes is not None and not killed and strikes.due(words):
            asyncio.run(CLOCK.sleep(strikes.moment_s()))
            nursery.kill()
            killed = True
    outcome.rounds += killed
    return cycles


async def _lives(state: Path) -> dict[str, list[tuple[str, str]]]:
    async with AlarmJournal(state / "alarms.sqlite") as journal:
        return _by_condition(await journal.steps_since(0))


def _by_condition(steps: Iterable[Step]) -> dict[str, list[tuple[str, str]]]:
    lives: dict[str, list[tuple[str, str]]] = {}
    for step in steps:
        lives.setdefault(step.alarm.key, []).append((step.before, step.event))
    return lives


async def _audit(
    state: Path,
    outcome: Outcome,
    promises: Promises,
    reference: Mapping[str, Sequence[tuple[str, str]]],
    cycles: int,
) -> None:
    async with AlarmJournal(state / "alarms.sqlite") as journal:
        steps = await journal.steps_since(0)
        events = await journal.events(0, 1_000_000)
        _, kept = await journal.load()
    problems = outcome.problems
    passed = {(AlarmState(step.before), Event(step.event)) for step in steps}
    if passed != EDGES:
        problems.append(f"edges that were not passed, or cannot be: {sorted(passed ^ EDGES)}")
    for key, once in reference.items():
        life = _by_condition(steps).get(key, [])
        if life != list(once) * cycles:
            problems.append(
                f"{key}: {len(life)} steps in {cycles} cycles, {len(once)} in one that nobody disturbed"
            )
    for step in steps:
        if next_state(AlarmState(step.before), Event(step.event)) is not step.alarm.state:
            problems.append(f"{step.alarm.id}: {step.event} led from {step.before} to {step.alarm.state}")
    problems += [f"{entry.key} is still open" for entry in kept if entry.alarm is not None]

    done = {(step.event, step.alarm.id) for step in steps}
    problems += [
        f"{event} of {alarm} is forgotten" for event, alarm in promises.steps if (event, alarm) not in done
    ]
    acts = entries(state / "audit.sqlite")
    if verify(acts) is None:
        problems.append("the audit's chain is broken")
    audited = {(entry.act.action, entry.act.subject) for entry in acts if entry.act.outcome == "done"}
    unaudited = [alarm for event, alarm in promises.steps if (event.value, alarm) not in audited]
    problems += [f"an order for {alarm} is not in the audit" for alarm in unaudited]

    told = {
        event.key
        for _, event in events
        if event.kind == "alarm" and event.tags["event"] in _TOLD and event.tags["state"] not in HELD
    }
    for channel, file in ((FEED, "fed"), (PHONE, "paged")):
        lines = Counter((state / file).read_text().splitlines())
        keys = {line.split()[0] for line in lines}
        again = sum(lines.values()) - len(keys)
        outcome.figures[f"{file}_again"] = again
        if len(keys) != len(lines):
            problems.append(f"{channel}: what came again was not the same")
        if again > outcome.rounds:
            problems.append(f"{channel}: {again} came again for {outcome.rounds} kills")
        if file == "fed" and keys != told:
            problems.append(f"{channel}: {len(told - keys)} never came, {len(keys - told)} should not have")
        if file == "paged":
            raised = {word.removeprefix("raised:") for line in lines for word in line.split()[1:]}
            missing = {
                s.alarm.id for s in steps if s.event == Event.RAISE and s.alarm.state not in HELD
            } - raised
            problems += [f"{channel}: nobody was paged of {alarm}" for alarm in sorted(missing)]


_TOLD = frozenset({Event.RAISE.value, Event.ESCALATE.value, Event.CLEAR.value, Event.LATCH.value})
