"""First-out: the order of a cascade."""

from __future__ import annotations

from alerts.alarms import Alarm, AlarmState, Priority
from alerts.first_out import Place, first_out

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND


def alarm(name: str, began_s: float, raised_s: float = 0.0, parent: str = "") -> Alarm:
    at = T0 + round(began_s * SECOND)
    return Alarm(
        id=name,
        key=name,
        rule="R1",
        rule_version=1,
        asset="a",
        area="KZ",
        title=name,
        priority=Priority.LOW,
        state=AlarmState.SUPPRESSED if parent else AlarmState.UNACKNOWLEDGED,
        value=1.0,
        limit=0.0,
        unit="MW",
        quality="good",
        t_source=at,
        t_received=at,
        raised_at=T0 + round((raised_s or began_s) * SECOND),
        updated_at=at,
        began_at=at,
        parent=parent,
    )


def test_the_condition_that_began_first_is_first_whatever_its_delay() -> None:
    places = first_out(
        [
            alarm("pole", 10.0, 10.5),
            alarm("tie", 9.0, 129.0, parent="pole"),
            alarm("area", 12.25, 42.0, parent="pole"),
            alarm("other", 1.0),
        ]
    )
    assert list(places) == ["tie", "pole", "area"]
    assert places == {
        "tie": Place("pole", 1, 3, 0, 0),
        "pole": Place("pole", 2, 3, 1000, 1000),
        "area": Place("pole", 3, 3, 3250, 2250),
    }


def test_those_of_one_second_share_a_place() -> None:
    places = first_out(
        [
            alarm("a", 5.0),
            alarm("b", 5.0, parent="a"),
            alarm("c", 6.0, parent="a"),
            alarm("d", 6.0, parent="a"),
        ]
    )
    assert [(place.order, place.after_first_ms) for place in places.values()] == [
        (1, 0),
        (1, 0),
        (3, 1000),
        (3, 1000),
    ]


def test_a_cause_that_is_gone_leaves_a_cascade_behind() -> None:
    assert list(first_out([alarm("b", 5.0, parent="gone"), alarm("c", 4.0, parent="gone")])) == ["c", "b"]
    assert not first_out([alarm("b", 5.0, parent="gone"), alarm("c", 4.0)])
    assert not first_out([])
