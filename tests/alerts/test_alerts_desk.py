"""What people do to alarms through the engine: durable, audited, and still there after a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from alerts.alarms import AlarmError, AlarmState, NotAllowedError
from alerts.config import AlertsSettings
from ingest.audit_chain import Act
from telemetry.errors import StorageError

if TYPE_CHECKING:
    from tests.alerts.conftest import Bench, RefusingJournal

QUICK = AlertsSettings.model_validate_json(
    '{"R6": {"off_s": 4, "limits": [{"priority": "high", "sigmas": 6, "pct_p": 2, "on_s": 10}]}}'
)


@pytest.fixture
def acts() -> list[Act]:
    return []


@pytest.fixture
def desk_bench(bench: Bench, acts: list[Act]) -> Bench:
    async def audit(act: Act) -> None:
        acts.append(act)

    bench.settings = QUICK
    bench.audit = audit
    return bench


async def test_shelved_over_a_restart_until_its_time(desk_bench: Bench, acts: list[Act]) -> None:
    bench = desk_bench
    async with bench.running() as desk:
        bench.tap(30)
        await bench.run(20)
        (alarm,) = desk.active()
        shelved = await desk.hold(alarm.id, AlarmState.SHELVED, "anna", "patrol on its way", 60.0)
        assert shelved is not None
        assert (shelved.state, shelved.held_by) == (AlarmState.SHELVED, "anna")
        assert not desk.active()
    async with bench.running() as desk:
        assert [held.id for held in desk.held() if held.state is AlarmState.SHELVED] == [alarm.id]
        assert [(key, hold.reason) for key, hold in desk.orders()] == [("R6/SHY-TAS", "patrol on its way")]
        await bench.run(70)
        assert [(a.id, a.state) for a in desk.active()] == [(alarm.id, AlarmState.UNACKNOWLEDGED)]
        steps = await desk.steps(alarm.id)
        assert [(s.event, s.reason) for s in steps] == [
            ("raise", "on_delay_over"),
            ("shelve", "by_person"),
            ("unshelve", "time_over"),
            ("raise", "still_holds"),
        ]
    assert acts == [
        Act("anna", "shelve", alarm.id, "done", {"reason": "patrol on its way", "for_s": "60"}),
    ]


async def test_every_act_is_audited_and_refusals_too(desk_bench: Bench, acts: list[Act]) -> None:
    bench = desk_bench
    async with bench.running() as desk:
        bench.tap(30)
        await bench.run(20)
        (alarm,) = desk.active()
        await desk.acknowledge(alarm.id, "anna", "on it")
        await desk.acknowledge(alarm.id, "berik", "me too")
        with pytest.raises(NotAllowedError, match="at most 8 h"):
            await desk.hold(alarm.id, AlarmState.SHELVED, "anna", "for long", 9 * 3600.0)
        with pytest.raises(NotAllowedError, match="not latched"):
            await desk.reset(alarm.id, "anna")
        with pytest.raises(AlarmError, match="no open alarm or condition R6/X"):
            await desk.unhold("R6/X", AlarmState.SHELVED, "anna")
        assert await desk.hold("R6/MGC-SAM", AlarmState.OUT_OF_SERVICE, "anna", "new meter", None) is None
        await desk.unhold("R6/MGC-SAM", AlarmState.OUT_OF_SERVICE, "anna")
    assert [(act.who, act.action, act.outcome) for act in acts] == [
        ("anna", "acknowledge", "done"),
        ("anna", "shelve", "refused"),
        ("anna", "reset", "refused"),
        ("anna", "take out of service", "done"),
        ("anna", "put into service", "done"),
    ]
    assert acts[0].details == {"comment": "on it"}


async def test_what_cannot_be_audited_is_not_done(desk_bench: Bench) -> None:
    bench = desk_bench

    async def refuse(act: Act) -> None:
        raise StorageError("disk full")

    bench.audit = refuse
    async with bench.running() as desk:
        bench.tap(30)
        await bench.run(20)
        (alarm,) = desk.active()
        with pytest.raises(StorageError):
            await desk.hold(alarm.id, AlarmState.SHELVED, "anna", "x", 60.0)
        await bench.run(3)
        assert [a.state for a in desk.active()] == [AlarmState.UNACKNOWLEDGED]
        assert not desk.orders()


async def test_what_cannot_be_stored_is_as_it_was_and_said_so(
    desk_bench: Bench, refusing_journal: RefusingJournal, acts: list[Act]
) -> None:
    bench = desk_bench
    async with bench.running(refusing_journal) as desk:
        bench.tap(30)
        await bench.run(20)
        (alarm,) = desk.active()
        refusing_journal.full = True
        with pytest.raises(StorageError):
            await desk.hold(alarm.id, AlarmState.SHELVED, "anna", "x", 60.0)
        refusing_journal.full = False
        await bench.run(3)
        assert [a.state for a in desk.active() if a.rule == "R6"] == [AlarmState.UNACKNOWLEDGED]
        assert not desk.orders()
    assert [act.outcome for act in acts] == ["done", "failed"]


async def test_the_indicators_go_to_the_stores_every_ten_minutes(desk_bench: Bench) -> None:
    bench = desk_bench
    # readings come once a minute here: stale telemetry is no matter of this test
    silent, seeing = (table.model_copy(update={"enabled": False}) for table in (QUICK.health, QUICK.blind))
    bench.settings = QUICK.model_copy(update={"health": silent, "blind": seeing})
    async with bench.running() as desk:
        bench.tap(30)
        await bench.run(20)
        (alarm,) = desk.active()
        await desk.acknowledge(alarm.id, "anna")
        before = desk.kpi()
        assert (before.last_day, before.standing, before.unacknowledged) == (1, 1, 0)
        with pytest.raises(AlarmError, match="there are KZ, UZ, AZ"):
            desk.kpi("XX")
        for _ in range(11):
            await bench.clock.advance(60.0)
            await bench.run(1)
        events = await bench.journal.events(0)
    async with bench.running() as desk:
        assert desk.kpi().last_day == 1
    assert [number for number, _ in events] == list(range(1, len(events) + 1))
    records = [event for _, event in events if event.kind == "alarm_kpi"]
    assert [r.tags["position"] for r in records] == ["all", "KZ", "UZ", "AZ"] * (len(records) // 4)
    assert len(records) >= 4
    assert records[0].t % (600 * 10**9) == 0
    assert records[0].fields["last_day"] == 1
