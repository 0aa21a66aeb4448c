from __future__ import annotations

import pytest

from simulators.exercise import HISTORY, MAX_ACTIVE, Exercise, FaultError, NoSuchFaultError
from simulators.faults.model import FAULT, Assets, Fault, Where
from simulators.faults.on_meters import Gain
from simulators.faults.on_truth import Tap
from simulators.scenario import Timed

ASSETS = Assets({Where.LINE: ["SHY-TAS", "KUN-AKT"], Where.METER: ["meter-1"]}, ["meter-1"])


def tap(mw: float = 30.0, line: str = "SHY-TAS") -> Fault:
    return Tap(kind="tap", target=line, mw=mw)


def script(**changes: object) -> Timed:
    values: dict[str, object] = {"at_s": 60.0, "for_s": 75.0, "fault": tap().model_dump()}
    return Timed.model_validate(values | changes)


def heard(exercise: Exercise, *seconds: float) -> list[list[str]]:
    return [[a.text for a in exercise.advance(s, int(s * 1e9))] for s in seconds]


def loads(exercise: Exercise) -> list[float]:
    return [fault.mw for fault in exercise.active(Tap).values()]


def test_script_begins_and_ends_with_an_announcement_each() -> None:
    exercise = Exercise([script()], ASSETS)
    begins = ["Exercise: a 30 MW tap in the middle of SHY-TAS begins"]
    ends = ["Exercise: the 30 MW tap in the middle of SHY-TAS is removed"]
    assert heard(exercise, 0, 59, 60) == [[], [], begins]
    assert loads(exercise) == [30.0]
    assert heard(exercise, 61, 134, 135, 136, 1000) == [[], [], ends, [], []]
    assert loads(exercise) == []
    (injected,) = exercise.faults
    shown = injected.document()
    assert (shown["kind"], shown["target"], shown["mw"], shown["active"]) == ("tap", "SHY-TAS", 30, False)
    assert [a.t_ns for a in exercise.announcements] == [60 * 10**9, 135 * 10**9]


def test_repeated_script_comes_back() -> None:
    exercise = Exercise([script(repeat_s=200.0)], ASSETS)
    active = []
    for s in range(700):
        exercise.advance(s, 0)
        active.append(bool(exercise.active(Tap)))
    assert [s for s in range(1, 700) if active[s] != active[s - 1]] == [60, 135, 260, 335, 460, 535, 660]


def test_injected_faults_are_kept_by_kind_and_cleared_one_by_one() -> None:
    exercise = Exercise([], ASSETS)
    a = exercise.inject(tap(30.0), 1)
    exercise.inject(tap(12.5), 2)
    exercise.inject(Gain(kind="gain", target="meter-1", pct=2.0), 3)
    assert loads(exercise) == [30.0, 12.5]
    assert [fault.pct for fault in exercise.active(Gain).values()] == [2.0]
    assert not exercise.clear(a.id, 4).active
    assert exercise.clear(a.id, 5) == exercise.clear(a.id, 6)
    assert loads(exercise) == [12.5]
    assert len(heard(exercise, 0)[0]) == 4


def test_an_injected_fault_ends_by_itself_after_its_time() -> None:
    exercise = Exercise([], ASSETS)
    exercise.inject(tap(), 10 * 10**9, for_s=5.0)
    assert [len(said) for said in heard(exercise, 11, 14.9, 15, 16)] == [1, 0, 1, 0]
    assert loads(exercise) == []


def test_clearing_a_scripted_tap_early_ends_it_once() -> None:
    exercise = Exercise([script()], ASSETS)
    exercise.advance(60, 0)
    exercise.clear(exercise.faults[0].id, 0)
    exercise.advance(61, 0)
    assert heard(exercise, 62, 135, 136) == [[], [], []]
    assert loads(exercise) == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"kind": "tap", "target": "SHY-TAZ", "mw": 30}, "SHY-TAS"),
        ({"kind": "plant_trip", "target": "AKT-ALT"}, "no such plant"),
        ({"kind": "skew", "target": "meter-1", "seconds": 3}, "old values"),
    ],
)
def test_impossible_faults_are_refused(fault: dict[str, object], reason: str) -> None:
    exercise = Exercise([], ASSETS)
    with pytest.raises(FaultError, match=reason):
        exercise.inject(FAULT.validate_python(fault), 0)
    with pytest.raises(FaultError, match="for_s"):
        exercise.inject(tap(), 0, for_s=-1.0)
    assert exercise.faults == ()


def test_history_and_active_faults_are_bounded() -> None:
    exercise = Exercise([], ASSETS)
    for _ in range(HISTORY + 30):
        exercise.clear(exercise.inject(tap(1.0), 0).id, 0)
    assert len(exercise.faults) == len(exercise.announcements) == HISTORY
    with pytest.raises(NoSuchFaultError, match="tap-1"):
        exercise.clear("tap-1", 0)
    for _ in range(MAX_ACTIVE):
        exercise.inject(tap(1.0), 0)
    with pytest.raises(FaultError, match="clear one first"):
        exercise.inject(tap(1.0), 0)
