"""Life of an edge node's session, as one table (Sparkplug 3.0, 5.4 and 5.5)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Phase(StrEnum):
    """Where a session stands."""

    OFFLINE = "offline"
    CONNECTING = "connecting"
    """The Will is with the broker as soon as it accepts."""
    SUBSCRIBING = "subscribing"
    WAITING = "waiting"
    """For the primary host to be online."""
    BORN = "born"
    """Births are published; data may be."""
    LEAVING = "leaving"
    """Only the disconnect is left to do."""


class Event(StrEnum):
    """What moves a session on."""

    CONNECT = "connect"
    CONNECTED = "connected"
    MUST_WAIT = "must_wait"
    BIRTH = "birth"
    LEAVE = "leave"
    DISCONNECTED = "disconnected"


class LifecycleError(RuntimeError):
    """An event that cannot happen in this phase: the caller is wrong."""


TRANSITIONS: Mapping[tuple[Phase, Event], Phase] = {
    (Phase.OFFLINE, Event.CONNECT): Phase.CONNECTING,
    (Phase.CONNECTING, Event.CONNECTED): Phase.SUBSCRIBING,
    (Phase.SUBSCRIBING, Event.MUST_WAIT): Phase.WAITING,
    (Phase.SUBSCRIBING, Event.BIRTH): Phase.BORN,
    (Phase.WAITING, Event.BIRTH): Phase.BORN,
    (Phase.BORN, Event.BIRTH): Phase.BORN,
    (Phase.SUBSCRIBING, Event.LEAVE): Phase.LEAVING,
    (Phase.WAITING, Event.LEAVE): Phase.LEAVING,
    (Phase.BORN, Event.LEAVE): Phase.LEAVING,
    (Phase.CONNECTING, Event.DISCONNECTED): Phase.OFFLINE,
    (Phase.SUBSCRIBING, Event.DISCONNECTED): Phase.OFFLINE,
    (Phase.WAITING, Event.DISCONNECTED): Phase.OFFLINE,
    (Phase.BORN, Event.DISCONNECTED): Phase.OFFLINE,
    (Phase.LEAVING, Event.DISCONNECTED): Phase.OFFLINE,
}
"""Where each event leads; what is not in it cannot happen."""


def moved(phase: Phase, event: Event) -> Phase:
    """The phase after an event.

    Raises
    ------
    LifecycleError
        The event cannot happen in this phase.

    """
    try:
        return TRANSITIONS[phase, event]
    except KeyError:
        raise LifecycleError(f"{event.value} cannot happen while {phase.value}") from None
