"""What people want of an alarm or a condition: as the engine does it and the audit records it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from alerts.alarms import AlarmState
from alerts.book import AlarmBook
from alerts.holds import Hold
from alerts.occurrence import Change

SECOND = 1_000_000_000

ACTIONS: Mapping[AlarmState, tuple[str, str]] = {
    AlarmState.SHELVED: ("shelve", "unshelve"),
    AlarmState.SUPPRESSED: ("suppress", "release"),
    AlarmState.OUT_OF_SERVICE: ("take out of service", "put into service"),
}
"""Names of the orders that begin and end each hold."""


@dataclass(frozen=True, slots=True)
class Order:
    """One order of one person."""

    who: str
    action: str
    """For the audit: ``shelve``."""
    name: str
    """Id of an open alarm, or key of a condition."""
    apply: Callable[[AlarmBook, int], list[Change]]
    """Takes the book and the time [ns, UTC]; raises what the book raises."""
    details: Mapping[str, str] = field(default_factory=dict)
    """For the audit."""


def acknowledge(alarm_id: str, who: str, comment: str) -> Order:
    """A person has taken notice."""

    def apply(book: AlarmBook, now: int) -> list[Change]:
        change = book.acknowledge(alarm_id, who, comment, now)
        return [change] if change is not None else []

    return Order(who, "acknowledge", alarm_id, apply, {"comment": comment} if comment else {})


def reset(alarm_id: str, who: str) -> Order:
    """A latched alarm may go."""
    return Order(who, "reset", alarm_id, lambda book, now: [book.reset(alarm_id, now)])


def hold(name: str, kind: AlarmState, who: str, reason: str, for_s: float | None) -> Order:
    """Nobody is to be told of a condition; for so long [s], or until a person says otherwise."""

    def apply(book: AlarmBook, now: int) -> list[Change]:
        until = None if for_s is None else now + round(for_s * SECOND)
        return book.hold(name, Hold(kind, who, reason, now, until))

    lasts = {} if for_s is None else {"for_s": f"{for_s:g}"}
    return Order(who, ACTIONS[kind][0], name, apply, {"reason": reason, **lasts})


def unhold(name: str, kind: AlarmState, who: str) -> Order:
    """People are to be told of a condition again."""
    return Order(who, ACTIONS[kind][1], name, lambda book, now: book.unhold(name, kind, now))
