"""The story of the killed desk: what each condition does in a cycle, and what an operator orders. Pure.

Every condition has steps of its own; together they pass every edge of the transition table that there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alerts.alarms import AlarmState
from alerts.lifecycle import HOLDING, TRANSITIONS, Event
from prove.desk_site import CALM, HIGH, HIGHER

STEP_S = 6
"""Time of a step [s]: its value is judged within its first seconds."""
ORDER_FROM_S = 4
"""Second of a step from which its order is given, until it is done [s]."""
SHELVED_S = 9.0
"""A shelving that ends by itself does so in the step after the one in which it was ordered [s]."""
RELEASE_S = 1.0
VALUES = {"-": CALM, "a": HIGH, "e": HIGHER}
_KINDS = {
    "shelve": AlarmState.SHELVED,
    "suppress": AlarmState.SUPPRESSED,
    "remove": AlarmState.OUT_OF_SERVICE,
}
LATCHING = (
    "latch",
    "latch-acked",
    *(f"{hold}-{of}" for hold in ("suppress", "remove") for of in ("lu", "la")),
)
OUTAGE = "outage"
"""Condition that a planned outage suppresses in every cycle, from one of its steps to another."""
OUTAGE_STEPS = (1, 3)
STAGGERED = 4
"""Conditions begin in so many different steps, so that not everything happens at once."""


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator does about a condition."""

    action: str
    """``ack``, ``reset``, ``hold`` or ``end``."""
    kind: AlarmState = AlarmState.SHELVED
    """Of a hold."""
    again: bool = False
    """Renews a hold that is there."""
    for_s: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What a point shows, and what is ordered."""

    value: float
    order: Order | None = None


def _step(text: str) -> Step:
    value, _, word = text.partition(" ")
    if not word or word in {"ack", "reset"}:
        return Step(VALUES[value], Order(word) if word else None)
    action, kind = ("end", word.removeprefix("un")) if word.startswith("un") else ("hold", word)
    kind, _, how = kind.partition(":")
    lasts = SHELVED_S if how == "short" else None if kind == "remove" else 8 * 3600.0
    return Step(VALUES[value], Order(action, _KINDS[kind], how == "again", lasts))


def _scripts() -> dict[str, str]:
    scripts = {
        "acked": "a, a ack, -",
        "returns": "a, -, a, -, - ack",
        "grows": "a, e, e ack, -",
        "grows-acked": "a, a ack, e, e ack, -",
        "latch": "a, -, a, -, - ack, - reset",
        "latch-acked": "a, a ack, -, a, a ack, -, - reset",
        OUTAGE: "a, a, a, a, a ack, -",
        "stacked": "a, a shelve, a suppress, a remove, a unremove, a unsuppress, a unshelve, a ack, -",
        "jumped": "a, a shelve, a remove, a unremove, a unshelve, a ack, -",
        "expires": "a, a shelve:short, a, a, a ack, -",
    }
    for hold in _KINDS:
        scripts |= {
            f"{hold}-u": f"a, a {hold}, e, -, a, a un{hold}, a ack, -",
            f"{hold}-a": f"a, a ack, a {hold}, a {hold}:again, -, - un{hold}",
            f"{hold}-r": f"a, -, - {hold}, - un{hold}",
            # a condition that was raised lately is known to a new process before it is judged
            f"{hold}-n": f"a, a ack, -, - {hold}, a, a un{hold}, a ack, -",
        }
    for hold in ("suppress", "remove"):
        scripts |= {
            f"{hold}-lu": f"a, -, - {hold}, - un{hold}, - ack, - reset",
            f"{hold}-la": f"a, a ack, -, - {hold}, - un{hold}, - ack, - reset",
        }
    return scripts


STORY: Mapping[str, tuple[Step, ...]] = {
    name: (*(Step(CALM),) * (i % STAGGERED), *map(_step, script.split(", ")))
    for i, (name, script) in enumerate(_scripts().items())
}
CYCLE_S = STEP_S * (max(map(len, STORY.values())) + 1)
"""Time after which everything is normal and the story begins again [s]."""
Edge = tuple[AlarmState, Event]

UNREACHABLE: frozenset[Edge] = frozenset(
    {
        # there is nothing to be shelved of an alarm that waits for its reset: the book refuses it
        (AlarmState.LATCHED_UNACKNOWLEDGED, Event.SHELVE),
        (AlarmState.LATCHED_ACKNOWLEDGED, Event.SHELVE),
        # out of service outweighs every hold that would be left behind for it
        (AlarmState.NORMAL, HOLDING[AlarmState.OUT_OF_SERVICE]),
    }
)
"""Edges of the table that no desk passes."""
EDGES: frozenset[Edge] = frozenset(TRANSITIONS) - UNREACHABLE
"""What is killed at."""


def outage_s() -> tuple[int, int]:
    """When in a cycle the planned outage begins and ends [s]."""
    late = list(STORY).index(OUTAGE) % STAGGERED
    begin, end = (STEP_S * (late + step) for step in OUTAGE_STEPS)
    return begin, end


def step_at(name: str, second: int) -> Step:
    """What a condition does at a second of the story; between its steps and the end of the cycle, nothing."""
    number = second % CYCLE_S // STEP_S
    steps = STORY[name]
    return steps[number] if number < len(steps) else Step(CALM)
