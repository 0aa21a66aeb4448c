from __future__ import annotations

import pytest

from simulators.bench import TapScript
from simulators.exercise import HISTORY, MAX_ACTIVE, Exercise, FaultError, NoSuchFaultError

LINES = ["SHY-TAS", "KUN-AKT"]


def script(**changes: object) -> TapScript:
    values: dict[str, object] = {"line": "SHY-TAS", "mw": 30.0, "at_s": 60.0, "for_s": 75.0}
    return TapScript.model_validate(values | changes)


def heard(exercise: Exercise, *seconds: float) -> list[list[str]]:
    return [[a.text for a in exercise.advance(s, int(s * 1e9))] for s in seconds]


def test_script_begins_and_ends_with_an_announcement_each() -> None:
    exercise = Exercise([script()], LINES)
    begins = ["Exercise: a 30 MW tap in the middle of SHY-TAS begins"]
    ends = ["Exercise: the 30 MW tap in the middle of SHY-TAS is removed"]
    assert heard(exercise, 0, 59, 60) == [[], [], begins]
    assert exercise.taps == {"SHY-TAS": 30.0}
    assert heard(exercise, 61, 134, 135, 136, 1000) == [[], [], ends, [], []]
    assert exercise.taps == {}
    (fault,) = exercise.faults
    assert (fault.kind, fault.target, fault.active) == ("tap", "SHY-TAS", False)
    assert [a.t_ns for a in exercise.announcements] == [60 * 10**9, 135 * 10**9]


def test_repeated_script_comes_back() -> None:
    exercise = Exercise([script(repeat_s=200.0)], LINES)
    active = []
    for s in range(700):
        exercise.advance(s, 0)
        active.append(bool(exercise.taps))
    assert [s for s in range(1, 700) if active[s] != active[s - 1]] == [60, 135, 260, 335, 460, 535, 660]


def test_injected_faults_add_up_and_are_cleared_one_by_one() -> None:
    exercise = Exercise([], LINES)
    a, b = exercise.tap("SHY-TAS", 30.0, 1), exercise.tap("SHY-TAS", 12.5, 2)
    exercise.tap("KUN-AKT", 5.0, 3)
    assert exercise.taps == {"SHY-TAS": 42.5, "KUN-AKT": 5.0}
    assert not exercise.clear(a.id, 4).active
    assert exercise.clear(a.id, 5) == exercise.clear(a.id, 6)
    assert exercise.taps == {"SHY-TAS": 12.5, "KUN-AKT": 5.0}
    assert len(heard(exercise, 0)[0]) == 4
    assert a.id != b.id


def test_clearing_a_scripted_tap_early_ends_it_once() -> None:
    exercise = Exercise([script()], LINES)
    exercise.advance(60, 0)
    exercise.clear(exercise.faults[0].id, 0)
    exercise.advance(61, 0)
    assert heard(exercise, 62, 135, 136) == [[], [], []]
    assert exercise.taps == {}


@pytest.mark.parametrize(
    ("line", "mw", "reason"),
    [("SHY-TAZ", 30, "SHY-TAS"), ("AKT-ALT", 30, "no such line"), ("SHY-TAS", 0, "above 0"),
     ("SHY-TAS", -1, "above 0"), ("SHY-TAS", 1001, "at most"), ("SHY-TAS", float("nan"), "above 0")],
)  # fmt: skip
def test_impossible_faults_are_refused(line: str, mw: float, reason: str) -> None:
    exercise = Exercise([], LINES)
    with pytest.raises(FaultError, match=reason):
        exercise.tap(line, mw, 0)
    assert exercise.faults == ()


def test_history_and_active_faults_are_bounded() -> None:
    exercise = Exercise([], LINES)
    for _ in range(HISTORY + 30):
        exercise.clear(exercise.tap("SHY-TAS", 1.0, 0).id, 0)
    assert len(exercise.faults) == len(exercise.announcements) == HISTORY
    with pytest.raises(NoSuchFaultError, match="tap-1"):
        exercise.clear("tap-1", 0)
    for _ in range(MAX_ACTIVE):
        exercise.tap("SHY-TAS", 1.0, 0)
    with pytest.raises(FaultError, match="clear one first"):
        exercise.tap("SHY-TAS", 1.0, 0)
