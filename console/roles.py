"""Who may do what: rights, and the roles that bundle them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Right(StrEnum):
    """One thing that somebody may do; also the scope of an API token."""

    READ = "read"
    """See pages, values, alarms, schedules and the ledger."""
    METRICS = "metrics"
    """Read the process's metrics."""
    ALARMS = "alarms"
    """Acknowledge, shelve, unshelve and reset alarms."""
    SERVICE = "service"
    """Take alarms out of service, and put them back."""
    SCHEDULES = "schedules"
    """Send in schedules."""
    FAULTS = "faults"
    """Inject faults into the simulators."""
    RELOAD = "reload"
    """Have the configuration read again."""
    AUDIT = "audit"
    """Read who did what."""
    USERS = "users"
    """Add and remove users, set their roles and passwords, end their tokens."""


class Role(StrEnum):
    """What a user is; each role has the rights of those before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ENGINEER = "engineer"
    ADMIN = "admin"


_VIEWER = frozenset({Right.READ, Right.METRICS})
_OPERATOR = _VIEWER | {Right.ALARMS, Right.AUDIT}
_ENGINEER = _OPERATOR | {Right.SERVICE, Right.SCHEDULES, Right.FAULTS, Right.RELOAD}

RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.VIEWER: _VIEWER,
    Role.OPERATOR: _OPERATOR,
    Role.ENGINEER: _ENGINEER,
    Role.ADMIN: _ENGINEER | {Right.USERS},
}
"""What each role may do."""


def least_role(right: Right) -> Role:
    """The lowest role that has a right."""
    return next(role for role in Role if right in RIGHTS[role])


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody who asks, after they have shown who they are."""

    name: str
    """As the audit names them: ``anna``, or ``anna by token grafana``."""
    rights: frozenset[Right]
    role: Role | None = None
    """Of a session; None for an API token, whose scope may be any part of a role."""
    user: str | None = None
    """Their account; None for one who came by the sign-in link, and for an API token."""
