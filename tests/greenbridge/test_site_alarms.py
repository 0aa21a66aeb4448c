"""``greenbridge alarms``, over a control socket and from the files of a process that is gone."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from alerts.alarms import Alarm, AlarmState, Priority
from alerts.book import AlarmBook
from alerts.config import Occasion
from alerts.desk_config import DeskSettings
from alerts.holds import Hold
from alerts.journal import AlarmJournal, Progress
from alerts.kpi import AlarmKpis
from alerts.notify.channel import Also, Notification
from alerts.occurrence import Change
from alerts.orders import Order, acknowledge, hold, reset, unhold
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing
from greenbridge import control
from greenbridge.alarm_answers import AlarmAnswers, StoredDesk
from greenbridge.alarming import seconds
from greenbridge.cli import app

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND
TIMING = Timing((Grade(Priority.HIGH, 0), Grade(Priority.URGENT, 0)), 0)


def raised(book: AlarmBook, key: str) -> Change:
    rule, _, asset = key.partition("/")
    texts = Texts(f"{asset}: 29.8 MW missing", "A tap.", "Energy is lost.", "1. Call.", {"P [MW]": 322.0})
    found = Finding(Subject(rule, 1, asset, "KZ"), T0, 1, 1, float("nan"), 6.1, "MW", texts=texts)
    change = book.judge(found, TIMING, T0)
    assert change is not None
    return change


def test_durations() -> None:
    assert [seconds(text) for text in ("90s", "30m", "1.5h", "3d")] == [90, 1800, 5400, 259200]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """What a process has left: one alarm, one that is shelved, one condition out of service."""

    async def leave() -> None:
        book = AlarmBook()
        changes = [raised(book, key) for key in ("R6/SHY-TAS", "R6/MGC-SAM")]
        until = T0 + 3600 * SECOND
        changes += book.hold("R6/MGC-SAM", Hold(AlarmState.SHELVED, "anna", "patrol", T0, until))
        book.judge(Finding(Subject("R6", 1, "AKT-KRB", "KZ"), T0), TIMING, T0)
        book.hold("R6/AKT-KRB", Hold(AlarmState.OUT_OF_SERVICE, "berik", "new meter", T0))
        async with AlarmJournal(tmp_path / "alarms.sqlite", ["log"]) as journal:
            await journal.commit(Progress(), book.take_dirty(), changes)
            (first, second) = (change.alarm for change in changes[:2])
            group = Notification("ann-1", Occasion.UNANSWERED, T0, second, (Also(Occasion.RAISED, first),), 2)
            await journal.page(0, {}, [("ann/mail", group)], T0)
            entry = await journal.next_entry("ann/mail")
            assert entry is not None
            await journal.postpone(entry, T0, "no route")

    asyncio.run(leave())
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["alarms", *arguments])


def test_what_was_left_can_be_looked_at(state: Path) -> None:
    listed = json.loads(run("list", str(state), "--json").output)
    assert [alarm["id"] for alarm in listed["alarms"]] == ["R6-SHY-TAS-1"]
    assert listed["alarms"][0]["value"] == 0.0, "what is not known can be stored and read all the same"
    assert [(held["id"], held["held_by"]) for held in listed["held"]] == [("R6-MGC-SAM-2", "anna")]
    assert [order["condition"] for order in listed["orders"]] == ["R6/AKT-KRB", "R6/MGC-SAM"]
    text = run("list", str(state)).output
    assert "high    UNACK          R6-SHY-TAS-1" in text
    assert "by anna until 2023-11-14 23:13:20Z: patrol" in text
    assert "R6/AKT-KRB" in text
    assert "out of service by berik: new meter" in text
    shown = run("show", str(state), "R6/MGC-SAM").output
    assert "Cause: A tap." in shown
    assert "shelve       UNACK -> shelved  (by person) by anna: patrol" in shown
    shown = run("show", str(state), "R6-SHY-TAS-1").output
    assert "told:\n2023-11-14 22:13:20Z  log                  raised       waits\n" in shown
    assert "ann/mail             raised       waits (failed attempts: 1): no route\n" in shown
    assert "ann/mail             unanswered   waits" in run("show", str(state), "R6/MGC-SAM").output
    assert len(json.loads(run("history", str(state), "--json").output)["alarms"]) == 2
    assert "standing / unacknowledged          1 / 1" in run("kpi", str(state)).output


def test_the_first_of_a_cascade_is_marked(tmp_path: Path) -> None:
    """What one cause explains is listed below it, with the time since the first one began."""

    async def leave() -> None:
        book = AlarmBook()
        cable = raised(book, "R8/AKT-ALT")
        tie = raised(book, "R6/SHY-TAS")
        cause = cable.alarm
        child = replace(tie.alarm, parent=cause.id, began_at=cause.began_at + 2 * SECOND)
        book.restore(replace(book.named("R6/SHY-TAS"), alarm=child))
        async with AlarmJournal(tmp_path / "alarms.sqlite", ["log"]) as journal:
            await journal.commit(Progress(), book.take_dirty(), [cable, tie])

    asyncio.run(leave())
    places = json.loads(run("list", str(tmp_path), "--json").output)["first_out"]
    assert {name: place["after_first_ms"] for name, place in places.items()} == {
        "R8-AKT-ALT-1": 0,
        "R6-SHY-TAS-2": 2000,
    }
    lines = run("list", str(tmp_path)).output.splitlines()
    assert next(line for line in lines if "R8-AKT-ALT-1" in line).endswith("[first]")
    assert next(line for line in lines if "R6-SHY-TAS-2" in line).endswith("[+2000 ms]")
    shown = run("show", str(tmp_path), "R8/AKT-ALT").output
    assert "Cascade:\n  1. first        R8-AKT-ALT-1" in shown
    assert "\n  2. +2000 ms     R6-SHY-TAS-2" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["ack", "STATE", "R6-SHY-TAS-1"], 3, "start it with greenbridge run"),
        (["show", "STATE", "R6-X-1"], 2, "there is no alarm R6-X-1"),
        (["shelve", "STATE", "R6-SHY-TAS-1", "--reason", "x", "--for", "soon"], 2, "no duration"),
        (["suppress", "STATE", "R6/SHY-TAS"], 2, "--end"),
        (["service", "STATE", "R6/SHY-TAS", "--back", "--reason", "x"], 2, "--back"),
        (["list", "STATE/nowhere"], 2, "no such file"),
    ],
)
def test_wrong_use_is_told(state: Path, arguments: list[str], code: int, said: str) -> None:
    result = run(*(argument.replace("STATE", str(state)) for argument in arguments))
    assert (result.exit_code, said in result.output + result.stderr) == (code, True), result.output


class LiveDesk(StoredDesk):
    """A book that is acted on, without a journal behind it."""

    def __init__(self, journal: AlarmJournal, state: Path) -> None:
        self.book = AlarmBook(settings=DeskSettings(latch=("R8",)))
        super().__init__(self.book, journal, AlarmKpis(), state, T0)
        self.orders_of: list[tuple[str, str]] = []

    def _do(self, order: Order) -> Alarm | None:
        self.orders_of.append((order.action, order.who.split(",")[0].split(" (")[0]))
        changes = order.apply(self.book, T0)
        return changes[-1].alarm if changes else None

    async def acknowledge(self, alarm_id: str, who: str, comment: str = "") -> Alarm:
        alarm = self._do(acknowledge(alarm_id, who, comment))
        assert alarm is not None
        return alarm

    async def hold(
        self, name: str, kind: AlarmState, who: str, reason: str, for_s: float | None
    ) -> Alarm | None:
        return self._do(hold(name, kind, who, reason, for_s))

    async def unhold(self, name: str, kind: AlarmState, who: str) -> Alarm | None:
        return self._do(unhold(name, kind, who))

    async def reset(self, alarm_id: str, who: str) -> Alarm | None:
        return self._do(reset(alarm_id, who))


@contextmanager
def served(state: Path) -> Iterator[LiveDesk]:
    """A process that answers on a control socket, in a thread of its own."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    found: list[LiveDesk] = []
    ended = asyncio.Event()

    async def serve() -> None:
        async with AlarmJournal(state / "alarms.sqlite") as journal:
            found.append(LiveDesk(journal, state))
            async with control.listening(state, AlarmAnswers(found[0]).answer):
                ready.set()
                await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(20)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


def test_alarms_are_acted_on_over_the_socket(tmp_path: Path) -> None:
    with served(tmp_path) as desk:
        for key in ("R6/SHY-TAS", "R6/MGC-SAM"):
            raised(desk.book, key)
        site = str(tmp_path)
        done = run("ack", site, "R6-SHY-TAS-1", "R6-MGC-SAM-2", "--comment", "on it", "--json")
        assert [alarm["comment"] for alarm in json.loads(done.output)] == ["on it", "on it"]
        assert run("shelve", site, "R6-SHY-TAS-1", "--reason", "patrol", "--for", "2h").exit_code == 0
        assert desk.book.held()[0].held_until == T0 + 7200 * SECOND
        assert run("unshelve", site, "R6/SHY-TAS").exit_code == 0
        assert run("suppress", site, "R6/SHY-TAS", "--reason", "outage", "--for", "3d").exit_code == 0
        assert run("suppress", site, "R6/SHY-TAS", "--end").exit_code == 0
        assert run("service", site, "R6/SHY-TAS", "--reason", "meter").exit_code == 0
        assert run("service", site, "R6/SHY-TAS", "--back").exit_code == 0
        refused = run("shelve", site, "R6-MGC-SAM-2", "R6-SHY-TAS-9", "--reason", "x")
        assert refused.exit_code == 2
        assert "R6-SHY-TAS-9" in refused.stderr
        assert "Done before it: R6-MGC-SAM-2." in refused.stderr
        assert "R6-SHY-TAS-1 is not latched" in run("reset", site, "R6-SHY-TAS-1").stderr
        actions = [action for action, _ in desk.orders_of]
        assert actions[:5] == ["acknowledge", "acknowledge", "shelve", "unshelve", "suppress"]
        assert all(who.startswith("uid ") for _, who in desk.orders_of)
