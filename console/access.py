"""Which right each address needs: a new address is refused until it stands here. Pure.

Addresses that are open to everybody have no right in this table; that they are open is said where they are
made (:class:`console.app.Access`).
"""

from __future__ import annotations

from collections.abc import Mapping

from console.roles import Right

NEEDS: Mapping[tuple[str, str], Right] = {
    ("GET", "/"): Right.READ,
    ("GET", "/areas"): Right.READ,
    ("GET", "/areas/{area}"): Right.READ,
    ("GET", "/plants"): Right.READ,
    ("GET", "/plants/{device}"): Right.READ,
    ("GET", "/ties"): Right.READ,
    ("GET", "/ties/{tie}"): Right.READ,
    ("GET", "/trends"): Right.READ,
    ("GET", "/alarms"): Right.READ,
    ("GET", "/quality"): Right.READ,
    ("GET", "/system"): Right.READ,
    ("GET", "/audit"): Right.READ,
    ("GET", "/account"): Right.READ,
    ("GET", "/metrics"): Right.METRICS,
    ("GET", "/api/v1/session"): Right.READ,
    ("DELETE", "/api/v1/session"): Right.READ,
    ("GET", "/api/v1/site"): Right.READ,
    ("GET", "/api/v1/last"): Right.READ,
    ("GET", "/api/v1/series"): Right.READ,
    ("GET", "/api/v1/alarms"): Right.READ,
    ("GET", "/api/v1/alarms/history"): Right.READ,
    ("POST", "/api/v1/alarms/{alarm}/acknowledge"): Right.ALARMS,
    ("POST", "/api/v1/alarms/{alarm}/shelve"): Right.ALARMS,
    ("POST", "/api/v1/alarms/{alarm}/unshelve"): Right.ALARMS,
    ("POST", "/api/v1/alarms/{alarm}/out-of-service"): Right.SERVICE,
    ("POST", "/api/v1/alarms/{alarm}/in-service"): Right.SERVICE,
    ("POST", "/api/v1/alarms/{alarm}/reset"): Right.ALARMS,
    ("GET", "/api/v1/openapi.json"): Right.READ,
    ("GET", "/api/v1/points"): Right.READ,
    ("GET", "/api/v1/range"): Right.READ,
    ("GET", "/api/v1/indeterminate"): Right.READ,
    ("GET", "/api/v1/status"): Right.READ,
    ("GET", "/api/v1/announcements"): Right.READ,
    ("GET", "/api/v1/schedules"): Right.READ,
    ("POST", "/api/v1/schedules"): Right.SCHEDULES,
    ("GET", "/api/v1/ledger"): Right.READ,
    ("GET", "/api/v1/stream"): Right.READ,
    ("GET", "/api/v1/alarms/indicators"): Right.READ,
    ("GET", "/api/v1/quality"): Right.READ,
    ("GET", "/api/v1/machinery"): Right.READ,
    ("GET", "/api/v1/audit"): Right.AUDIT,
    ("GET", "/api/v1/agreed"): Right.READ,
    ("GET", "/api/v1/explanation"): Right.READ,
    ("GET", "/api/v1/influx/query"): Right.READ,
    ("POST", "/api/v1/password"): Right.READ,
    ("GET", "/api/v1/tokens"): Right.READ,
    ("POST", "/api/v1/tokens"): Right.READ,
    ("DELETE", "/api/v1/tokens/{token}"): Right.READ,
    ("GET", "/api/v1/users"): Right.USERS,
    ("POST", "/api/v1/users"): Right.USERS,
    ("POST", "/api/v1/users/{user}/role"): Right.USERS,
    ("POST", "/api/v1/users/{user}/password"): Right.USERS,
    ("DELETE", "/api/v1/users/{user}"): Right.USERS,
}
"""The right that somebody needs for an address, by method and path pattern."""


def needed(method: str, path: str) -> Right:
    """The right that an address needs.

    Raises
    ------
    LookupError
        It is not classified yet.

    """
    right = NEEDS.get((method, path))
    if right is None:
        raise LookupError(f"{method} {path} needs no right yet: classify it in NEEDS of console/access.py")
    return right
