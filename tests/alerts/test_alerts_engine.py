"""Rules, alarms and journal together, on a manual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from alerts.alarms import Alarm, AlarmError, AlarmState, Priority
from alerts.alignment import Snapshot
from alerts.config import AlertsSettings
from alerts.desk import Desk
from alerts.rules.finding import Finding
from alerts.rules.two_end import TwoEndRule
from ingest.fakes import FakeCursors
from telemetry.clock import settle
from telemetry.errors import StorageError
from telemetry.quality import Quality
from telemetry.site import Site

if TYPE_CHECKING:
    from tests.alerts.conftest import Bench, RefusingJournal

SECOND = 1_000_000_000


def only(alarms: object) -> Alarm:
    assert isinstance(alarms, tuple)
    assert len(alarms) == 1, [alarm.title for alarm in alarms]
    alarm: Alarm = alarms[0]
    return alarm


def of_the_grid(alarms: Sequence[Alarm]) -> tuple[Alarm, ...]:
    """Without those about greenbridge itself."""
    return tuple(alarm for alarm in alarms if alarm.rule != "SYSTEM")


async def story(bench: Bench) -> list[tuple[str, str, str]]:
    """Every transition: key, event and state after it."""
    events = await bench.journal.events(0)
    tags = [event.tags for _, event in events if event.kind != "alarm_kpi"]
    return [(f"{t['rule']}/{t['asset']}", t["event"], t["state"]) for t in tags]


async def test_a_tap_is_one_alarm_from_start_to_end(bench: Bench) -> None:
    async with bench.running() as desk:
        await bench.run(60)
        assert desk.active() == ()
        assert desk.indeterminate() == ()
        bench.tap(29.8)
        began = bench.clock.now_ns()
        await bench.run(62)
        assert desk.active() == ()
        await bench.run(3)
        alarm = only(desk.active())
        assert alarm.key == "R6/SHY-TAS"
        assert alarm.title == "SHY-TAS: 29.8 MW missing between the two ends"
        assert alarm.priority is Priority.HIGH
        assert alarm.state is AlarmState.UNACKNOWLEDGED
        assert alarm.area == "KZ"
        assert 60 <= (alarm.raised_at - began) / SECOND <= 65
        assert 0 <= (alarm.raised_at - alarm.t_received) / SECOND <= 4
        acknowledged = await desk.acknowledge(alarm.id, "Aigerim", "patrol sent")
        assert acknowledged.state is AlarmState.ACKNOWLEDGED
        assert only(desk.active()).acknowledged_by == "Aigerim"
        bench.tap(0)
        await bench.run(40)
        assert desk.active() == ()
        past = only(tuple(await desk.history()))
        assert past.state is AlarmState.NORMAL
        assert past.comment == "patrol sent"
        assert await desk.acknowledge(alarm.id, "Baurzhan") == past, (
            "acknowledging what is over changes nothing"
        )
        assert await story(bench) == [
            ("R6/SHY-TAS", "raise", "unacknowledged"),
            ("R6/SHY-TAS", "acknowledge", "acknowledged"),
            ("R6/SHY-TAS", "clear", "normal"),
        ]


async def test_returned_and_raised_again_is_the_same_alarm(bench: Bench) -> None:
    async with bench.running() as desk:
        bench.tap(30)
        await bench.run(70)
        first = only(desk.active())
        bench.tap(0)
        await bench.run(40)
        assert only(desk.active()).state is AlarmState.RETURNED
        bench.tap(30)
        await bench.run(70)
        again = only(desk.active())
        assert (again.id, again.occurrences, again.state) == (first.id, 2, AlarmState.UNACKNOWLEDGED)
        assert again.cleared_at is None
        bench.tap(0)
        await bench.run(40)
        assert (await desk.acknowledge(again.id, "A")).state is AlarmState.NORMAL
        bench.tap(30)
        await bench.run(70)
        assert only(desk.active()).id != first.id


async def test_a_stale_leg_is_indeterminate_and_one_alarm_per_link(bench: Bench) -> None:
    async with bench.running() as desk:
        await bench.run(60)
        bench.silent = {"SHY-TAS_SHY_main", "SHY-TAS_TAS_main"}
        await bench.run(12)
        unknown = {(entry.rule, entry.asset): entry.reason for entry in desk.indeterminate()}
        assert unknown["R6", "SHY-TAS"] == "leg SHY-TAS at SHY is stale"
        assert desk.active() == ()
        await bench.run(28)
        alarm = only(desk.active())
        assert alarm.title.startswith("Link mqtt/east is down: 2 devices silent for 3")
        bench.silent = set()
        await bench.run(20)
        assert only(desk.active()).state is AlarmState.RETURNED
        assert desk.indeterminate() == ()


async def test_grafana_106073_a_long_silence_is_the_alarm_of_its_links_alone(bench: Bench) -> None:
    async with bench.running() as desk:
        await bench.run(10)
        bench.silent = set(bench.site.devices)
        await bench.run(360)
        assert {alarm.rule for alarm in desk.active()} == {"R13"}
        assert {alarm.rule for alarm in desk.held()} == {"R24"}, "it is shown under the link's alarm"
        bench.silent = set()
        await bench.run(120)
        assert desk.held() == ()
        assert {
            key.partition("/")[0] for key, _, state in await story(bench) if state == "unacknowledged"
        } == {"R13"}


async def test_bad_quality_neither_raises_nor_clears(bench: Bench) -> None:
    async with bench.running() as desk:
        bench.tap(30)
        await bench.run(75)
        assert only(desk.active()).state is AlarmState.UNACKNOWLEDGED
        bench.silent = {"SHY-TAS_TAS_main"}
        for _ in range(25):
            bench.append("SHY-TAS_TAS_main", (float("nan"),) * 3, quality=int(Quality.DEVICE_TIMEOUT))
            await bench.run(1)
        (alarm,) = (a for a in desk.active() if a.rule == "R6")
        assert alarm.state is AlarmState.UNACKNOWLEDGED
        assert {entry.reason for entry in desk.indeterminate() if entry.rule == "R6"} == {
            "leg SHY-TAS at TAS is device timeout"
        }


async def test_escalation_asks_again(bench: Bench) -> None:
    async with bench.running() as desk:
        bench.tap(5.5)
        await bench.run(70)
        mild = only(desk.active())
        assert mild.priority is Priority.MEDIUM
        await desk.acknowledge(mild.id, "A")
        bench.tap(30)
        await bench.run(70)
        worse = only(desk.active())
        assert (worse.id, worse.priority, worse.state) == (mild.id, Priority.HIGH, AlarmState.UNACKNOWLEDGED)
        assert worse.raised_at == mild.raised_at < worse.updated_at
        assert worse.acknowledged_by == ""
        assert [event for _, event, _ in await story(bench)] == ["raise", "acknowledge", "escalate"]


async def test_kapacitor_744_what_ended_while_it_was_stopped_is_told_after_the_start(bench: Bench) -> None:
    async with bench.running() as desk:
        bench.tap(30)
        await bench.run(70)
        alarm = only(desk.active())
    bench.tap(0)
    async with bench.running() as desk:
        await bench.run(120)
        assert (only(desk.active()).id, only(desk.active()).state) == (alarm.id, AlarmState.RETURNED)
        assert [event for _, event, _ in await story(bench)] == ["raise", "clear"]


async def test_kapacitor_1115_a_restart_forgets_nothing_and_repeats_nothing(bench: Bench) -> None:
    async with bench.running() as desk:
        bench.tap(30)
        await bench.run(70)
        alarm = only(desk.active())
        await desk.acknowledge(alarm.id, "A", "seen")
        shown = only(desk.active())
    async with bench.running() as desk:
        assert only(desk.active()) == shown, "shown before the first new reading"
        await bench.run(30)
        assert only(desk.active()).acknowledged_by == "A"
        assert [event for _, event, _ in await story(bench)] == ["raise", "acknowledge"]
        bench.tap(0)
        await bench.run(40)
        assert desk.active() == ()


async def test_an_on_delay_goes_on_after_a_restart(bench: Bench) -> None:
    async with bench.running():
        await bench.run(60)
        bench.tap(30)
        began = bench.clock.now_ns()
        await bench.run(40)
    async with bench.running() as desk:
        await bench.run(30)
        alarm = only(desk.active())
        assert (alarm.raised_at - began) / SECOND <= 68


async def test_a_mean_is_filled_again_after_a_restart(bench: Bench) -> None:
    async with bench.running():
        await bench.run(90)
    async with bench.running() as desk:
        await bench.run(5)
        assert desk.indeterminate() == ()


async def test_a_backlog_after_a_restart_is_judged_in_its_own_time(bench: Bench) -> None:
    async with bench.running():
        await bench.run(60)
    bench.tap(30)
    for _ in range(90):
        bench.send()
        await bench.clock.advance(1)
    async with bench.running() as desk:
        await bench.run(3)
        alarm = only(desk.active())
        assert alarm.key == "R6/SHY-TAS"
        assert (await story(bench)) == [("R6/SHY-TAS", "raise", "unacknowledged")]


async def test_a_step_of_the_clock_within_a_backlog(bench: Bench) -> None:
    async with bench.running():
        await bench.run(60)
    bench.clock.set_wall(bench.clock.now_ns() - 3600 * SECOND)
    bench.tap(30)
    for _ in range(90):
        bench.send()
        await bench.clock.advance(1)
    async with bench.running() as desk:
        await bench.run(3)
        assert only(desk.active()).key == "R6/SHY-TAS"


async def test_a_long_stop_is_no_alarm(bench: Bench) -> None:
    async with bench.running():
        await bench.run(60)
    await bench.clock.advance(36_000)
    async with bench.running() as desk:
        await bench.run(90)
        assert desk.active() == ()
        assert desk.indeterminate() == ()


async def test_nothing_at_all_is_one_alarm(bench: Bench) -> None:
    async with bench.running() as desk:
        await bench.run(60)
        bench.silent = set(bench.site.devices)
        await bench.run(60)
        assert only(desk.active()).title.startswith("No telemetry: all 5 links silent for")
        assert {entry.rule for entry in desk.indeterminate()} >= {"R1", "R6"}


async def test_the_wall_clock_steps_back(bench: Bench) -> None:
    async with bench.running() as desk:
        await bench.run(60)
        bench.clock.set_wall(bench.clock.now_ns() - 3600 * SECOND)
        await bench.run(90)
        assert desk.active() == ()
        assert desk.indeterminate() == ()
        bench.tap(30)
        await bench.run(70)
        assert only(desk.active()).key == "R6/SHY-TAS"


async def test_the_wall_clock_steps_back_while_nothing_arrives(bench: Bench) -> None:
    async with bench.running() as desk:
        await bench.run(20)
        bench.silent = set(bench.site.devices)
        bench.clock.set_wall(bench.clock.now_ns() - 3600 * SECOND)
        await bench.run(40)
        assert only(desk.active()).key == "R13/telemetry"


async def test_a_rule_that_fails_is_disabled_and_alarmed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = TwoEndRule.evaluate

    def faulty(self: TwoEndRule, snapshot: Snapshot) -> Finding:
        if self.subject.asset == "SHY-TAS":
            raise ZeroDivisionError("no such luck")
        return sound(self, snapshot)

    monkeypatch.setattr(TwoEndRule, "evaluate", faulty)
    async with bench.running() as desk:
        await bench.run(10)
        alarm = only(desk.active())
        assert alarm.title == "Rule R6 no longer watches SHY-TAS: it failed"
        assert "ZeroDivisionError: no such luck" in alarm.cause
        assert [(e.rule, e.asset) for e in desk.indeterminate() if "disabled" in e.reason] == [
            ("R6", "SHY-TAS")
        ]
        bench.flows = dict(bench.flows) | {("MGC-SAM", "SAM"): (-500.0, -26.1, 502.5)}
        await bench.run(70)
        assert "R6/MGC-SAM" in {a.key for a in desk.active()}, "the other rules go on"
    monkeypatch.undo()
    async with bench.running() as desk:
        await bench.run(10)
        states = {a.key: a.state for a in desk.active()}
        assert states["RULES/R6/SHY-TAS"] is AlarmState.RETURNED


async def test_an_alarm_of_a_rule_that_is_taken_out_returns(bench: Bench) -> None:
    async with bench.running():
        bench.tap(30)
        await bench.run(70)
    bench.settings = AlertsSettings.model_validate_json(
        '{"R6": {"enabled": false}, "R18": {"enabled": false}}'
    )
    async with bench.running() as desk:
        assert only(desk.active()).state is AlarmState.RETURNED


async def test_a_missing_meter_is_shown(bench: Bench) -> None:
    devices = {name: device for name, device in bench.site.devices.items() if name != "SHY-TAS_TAS_main"}
    bench.site = Site("test", bench.site.grid, devices, bench.site.profiles, bench.site.points)
    async with bench.running() as desk:
        assert {entry.reason for entry in desk.indeterminate()} == {"SHY-TAS has no main meter at TAS"}
        assert ("R6", "SHY-TAS") in {(entry.rule, entry.asset) for entry in desk.indeterminate()}


async def test_desk_waits_for_a_change(bench: Bench) -> None:
    async with bench.running() as desk:
        await bench.run(60)
        waiting = asyncio.create_task(desk.wait(desk.version))
        await settle()
        assert not waiting.done()
        before = desk.version
        bench.tap(30)
        await bench.run(70)
        assert await waiting > before
        with pytest.raises(AlarmError, match="there is no alarm R6-SHY-TAS-99"):
            await desk.acknowledge("R6-SHY-TAS-99", "A")


async def test_a_failed_commit_is_not_shown_and_tried_again(
    bench: Bench, refusing_journal: RefusingJournal
) -> None:
    async with bench.running(refusing_journal) as desk:
        await bench.run(60)
        bench.tap(30)
        await bench.run(50)
        refusing_journal.full = True
        await bench.run(20)
        assert of_the_grid(desk.active()) == ()
        refusing_journal.full = False
        await bench.run(3)
        alarm = only(of_the_grid(desk.active()))
        refusing_journal.full = True
        with pytest.raises(StorageError, match="disk full"):
            await desk.acknowledge(alarm.id, "A")
        assert only(of_the_grid(desk.active())).state is AlarmState.UNACKNOWLEDGED
        refusing_journal.full = False
        assert (await desk.acknowledge(alarm.id, "A")).state is AlarmState.ACKNOWLEDGED
        grid = [event for key, event, _ in await story(bench) if not key.startswith("SYSTEM")]
        assert grid == ["raise", "acknowledge"]


async def test_a_return_to_normal_outlives_a_failed_commit(
    bench: Bench, refusing_journal: RefusingJournal
) -> None:
    async with bench.running(refusing_journal) as desk:
        bench.tap(30)
        await bench.run(70)
        await desk.acknowledge(only(desk.active()).id, "A")
        bench.tap(0)
        await bench.run(30)
        refusing_journal.full = True
        await bench.run(10)
        refusing_journal.full = False
        await bench.run(5)
    async with bench.running() as desk:
        assert of_the_grid(desk.active()) == ()
        await bench.run(40)
        grid = [event for key, event, _ in await story(bench) if not key.startswith("SYSTEM")]
        assert grid == ["raise", "acknowledge", "clear"]


async def test_the_reading_journal_learns_what_is_still_needed(bench: Bench) -> None:
    bench.cursors = FakeCursors()
    async with bench.running():
        await bench.run(200)
    needed = (await bench.cursors.load("alerts")).offset
    first = next(record for record in bench.reader.records if record.offset == needed + 1)
    kept = (bench.clock.now_ns() - first.batch.t_received) / SECOND
    assert 90 <= kept <= 100


async def test_silence_keeps_its_age_over_a_restart(bench: Bench) -> None:
    bench.silent = {"SHY-TAS_SHY_main", "SHY-TAS_TAS_main", "AKT-ALT_AKT_main"}
    async with bench.running() as desk:
        await bench.run(200)
        before = {alarm.key: alarm.value for alarm in desk.active()}
        assert set(before) == {"R13/mqtt/east", "R13/mqtt/AKT"}
        assert min(before.values()) > 190
    async with bench.running() as desk:
        await bench.run(20)
        after = {alarm.key: alarm.value for alarm in desk.active()}
        assert {key: after[key] - value for key, value in before.items()} == pytest.approx(
            dict.fromkeys(before, 20), abs=3
        )


async def test_what_nobody_has_seen_comes_first(bench: Bench) -> None:
    async with bench.running() as desk:
        bench.tap(5.5)
        bench.flows = dict(bench.flows) | {("MGC-SAM", "SAM"): (-610.0, -26.1, 502.5)}
        bench.silent = {"AKT-ALT_ALT_main"}
        await bench.run(70)
        keys = {alarm.key: alarm for alarm in desk.active()}
        assert [alarm.key for alarm in desk.active()][-1] == "R6/SHY-TAS", "the mildest"
        await desk.acknowledge(keys["R6/MGC-SAM"].id, "A")
        bench.silent = set()
        await bench.run(30)
        assert [(alarm.key, alarm.state) for alarm in desk.active()] == [
            ("R6/SHY-TAS", AlarmState.UNACKNOWLEDGED),
            ("R13/mqtt/ALT", AlarmState.RETURNED),
            ("R6/MGC-SAM", AlarmState.ACKNOWLEDGED),
        ]


async def test_what_is_unknown_is_unknown_since_before_a_restart(bench: Bench) -> None:
    def since(desk: Desk) -> dict[str, int]:
        return {entry.asset: entry.since for entry in desk.indeterminate() if entry.rule == "R6"}

    bench.silent = {"SHY-TAS_TAS_main"}
    async with bench.running() as desk:
        await bench.run(20)
        before = since(desk)
        assert list(before) == ["SHY-TAS"]
    async with bench.running() as desk:
        assert since(desk) == before, "shown before the first new reading"
        await bench.run(20)
        assert since(desk) == before
        bench.silent = set()
        await bench.run(10)
        assert since(desk) == {}


async def test_other_thresholds_take_over_while_it_runs_and_alarms_keep_their_state(bench: Bench) -> None:
    async with bench.running() as desk:
        bench.tap(30)
        await bench.run(70)
        alarm = only(desk.active())
        await desk.acknowledge(alarm.id, "A", "seen")
        looser = AlertsSettings.model_validate_json(
            '{"R18": {"enabled": false}, '
            '"R6": {"limits": [{"priority": "high", "sigmas": 900, "pct_p": 90, "on_s": 60}]}}'
        )
        await bench.rerun(bench.site, looser)
        assert only(desk.active()).acknowledged_by == "A", "shown at once, as it was"
        await bench.run(40)
        assert desk.active() == (), "30 MW are within the new limit"
        await bench.rerun(bench.site, bench.settings)
        await bench.run(70)
        assert only(desk.active()).id != alarm.id
        assert [event for _, event, _ in await story(bench)] == ["raise", "acknowledge", "clear", "raise"]


async def test_an_acknowledgement_between_two_runs_is_kept(bench: Bench) -> None:
    async with bench.running() as desk:
        bench.tap(30)
        await bench.run(70)
        alarm = only(desk.active())
        await bench.rerun(bench.site, bench.settings, lambda: desk.acknowledge(alarm.id, "A", "meanwhile"))
        await bench.run(5)
        assert only(desk.active()).acknowledged_by == "A"
