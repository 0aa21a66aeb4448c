"""The process is killed at every edge of an alarm's life: nothing is forgotten, repeated or doubly told."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from contextlib import AsyncExitStack
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from alerts.alarms import HELD, AlarmState
from alerts.journal import AlarmJournal
from alerts.lifecycle import Event, next_state
from ingest.audit import entries
from ingest.audit_chain import verify
from tests.alerts.desk_child import CYCLE, SHELVED_S
from tests.support.demo import CLOCK

KILLS = 20
EDGES = ("resumed", "ordering", "acknowledged", "sent", "shelved", "paged")
CYCLES = 24
GUARD_S = 280
ROOT = Path(__file__).parents[2]


class Child:
    """One life of the process, and what it promised."""

    def __init__(self, state: Path, promises: list[list[str]]) -> None:
        self._state = state
        self._promises = promises

    async def live(self, edge: str | None, moment: float) -> bool:
        """Lives until an edge, and a moment longer; True if it finished its story instead."""
        arguments = ("-m", "tests.alerts.desk_child", str(self._state), str(CYCLES * CYCLE))
        async with AsyncExitStack() as stack:
            child = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
            )
            stack.push_async_callback(child.wait)
            # one that is given up must not hold up the others
            stack.push(lambda kind, *_: child.kill() if kind is asyncio.CancelledError else None)
            assert child.stdout is not None
            async for line in child.stdout:
                words = line.decode().split() or [""]
                if words[0] in {"acknowledged", "shelved"}:
                    self._promises.append(words)
                if words[0] == "finished":
                    return True
                if words[0] == edge:
                    if moment:
                        await CLOCK.sleep(moment)
                    child.kill()
                    edge = None
        assert child.returncode == -9, "it must not die by itself"
        return False


@pytest.mark.system
async def test_no_kill_forgets_repeats_or_tells_twice(tmp_path: Path) -> None:
    promises: list[list[str]] = []
    child = Child(tmp_path, promises)
    dice = random.Random(7)  # noqa: S311 - moments, not secrets
    kills = 0
    async with asyncio.timeout(GUARD_S):
        while kills < KILLS:
            edge = EDGES[kills % len(EDGES)]
            ended = await child.live(edge, dice.choice([0.0, 0.002, 0.01, 0.03]))
            assert not ended, f"the story is too short for {KILLS} kills: {kills}"
            kills += 1
        assert await child.live(None, 0)
    async with AlarmJournal(tmp_path / "alarms.sqlite") as journal:
        steps = await journal.steps_since(0)
        events = await journal.events(0, 100_000)
        _, kept = await journal.load()

    # every tap was an alarm, and every alarm went through the table step by step, to its end
    own = sorted((step for step in steps if step.alarm.rule == "R6"), key=lambda step: step.alarm.raised_at)
    lives = {i: [s for s in steps if s.alarm.id == i] for i, _ in groupby(own, key=lambda s: s.alarm.id)}
    assert len(lives) == CYCLES
    for life in lives.values():
        assert life[0].before == AlarmState.NORMAL
        for step in life:
            assert next_state(AlarmState(step.before), Event(step.event)) is step.alarm.state
        assert all(a.alarm.state == b.before for a, b in pairwise(life))
        assert life[-1].alarm.state is AlarmState.NORMAL
        times = Counter(step.event for step in life)
        assert times.most_common(1)[0][1] <= 1 + (times["shelve"] > 0), times
    assert not [entry for entry in kept if entry.alarm is not None and entry.alarm.rule == "R6"]

    # what was promised is kept, for as long as it was promised, and audited
    assert len(promises) > KILLS // 4
    done = {"acknowledged": Event.ACKNOWLEDGE, "shelved": Event.SHELVE}
    for what, alarm in promises:
        assert done[what] in {step.event for step in lives[alarm]}
    for life in lives.values():
        begun = next((s.at for s in life if s.event == Event.SHELVE), None)
        over = next((s.at for s in life if s.event == Event.UNSHELVE), None)
        if begun is not None:
            assert over is not None
            assert over - begun >= SHELVED_S * 1e9
    acts = entries(tmp_path / "audit.sqlite")
    assert verify(acts) is not None
    audited = {(entry.act.action, entry.act.subject) for entry in acts if entry.act.outcome == "done"}
    for what, alarm in promises:
        assert (done[what].value, alarm) in audited

    # people heard of every raise and return, and of one of them again for a kill at most
    told = Counter((tmp_path / "delivered").read_text().split())
    expected = {
        event.key
        for _, event in events
        if event.kind == "alarm"
        and event.tags["event"] in {"raise", "clear"}
        and event.tags["state"] not in HELD
    }
    assert set(told) == expected
    assert sum(told.values()) - len(told) <= KILLS

    # so did the person on the route: a page that comes again has the key and the words of the first
    paged = Counter((tmp_path / "paged").read_text().splitlines())
    assert sum(paged.values()) - len(paged) <= KILLS
    assert len({line.split()[0] for line in paged}) == len(paged)
    assert {alarm for _, alarm, occasion in map(str.split, paged) if occasion == "raised"} >= lives.keys()
