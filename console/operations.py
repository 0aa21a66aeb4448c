"""What each address of the HTTP API takes and answers, by the types that serve it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import Meta

from console.acknowledging import AlarmLinkView
from console.bodies import Acknowledge, Nothing, OutOfService, Shelve
from console.corridor import PointView, SiteView
from console.entrance import NewPassword, SessionView, SetUp, SignIn
from console.insight_views import AgreedView, AuditView, IndicatorsView, MachineryView, QualityView
from console.people import NewRole, NewToken, NewUser, SetPassword, TokenView, UserView
from console.problems import ProblemView
from console.settlement import LedgerView, PostedSchedule, VersionView
from console.trends import TrendView
from console.views import (
    AlarmsView,
    AlarmView,
    AnnouncementView,
    IndeterminateView,
    ReadingView,
    StatusView,
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value in the query string."""

    name: str
    type: Any
    about: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One address: what it takes and answers."""

    tag: str
    summary: str
    answer: Any
    """Type of the body of a success; None for no body, ``dict`` for JSON of another system's shape."""
    parameters: tuple[Parameter, ...] = ()
    body: Any = None
    status: int = 200
    problem: Any = ProblemView
    """Type of the body of a refusal."""


_TIME = Annotated[int, Meta(ge=0, le=2**43)]
_START = Parameter("start", _TIME, "From this time on [ms since 1970].")
_END = Parameter("end", _TIME, "Up to this time, itself not included [ms since 1970]; now without it.")
_POINT = "Path of a point, DEVICE/NAME."


def _limit(most: int) -> Parameter:
    return Parameter("limit", Annotated[int, Meta(ge=1, le=most)], f"At most so many, up to {most}.")


OPERATIONS: Mapping[tuple[str, str], Operation] = {
    ("POST", "/api/v1/setup"): Operation("access", "Make the first user", SessionView, body=SetUp),
    ("POST", "/api/v1/session"): Operation("access", "Sign in", SessionView, body=SignIn),
    ("GET", "/api/v1/session"): Operation("access", "Who is signed in", SessionView),
    ("DELETE", "/api/v1/session"): Operation("access", "Sign out", None, status=204),
    ("POST", "/api/v1/password"): Operation("access", "Change one's password", SessionView, body=NewPassword),
    ("GET", "/api/v1/tokens"): Operation(
        "access", "API tokens, one's own or, of an admin, all", list[TokenView]
    ),
    ("POST", "/api/v1/tokens"): Operation(
        "access", "Make an API token", TokenView, body=NewToken, status=201
    ),
    ("DELETE", "/api/v1/tokens/{token}"): Operation("access", "End an API token", None, status=204),
    ("GET", "/api/v1/users"): Operation("access", "Users", list[UserView]),
    ("POST", "/api/v1/users"): Operation("access", "Add a user", UserView, body=NewUser, status=201),
    ("POST", "/api/v1/users/{user}/role"): Operation("access", "Set a user's role", UserView, body=NewRole),
    ("POST", "/api/v1/users/{user}/password"): Operation(
        "access", "Set a user's password", UserView, body=SetPassword
    ),
    ("DELETE", "/api/v1/users/{user}"): Operation("access", "Remove a user", None, status=204),
    ("GET", "/api/v1/site"): Operation("site", "Areas, nodes, branches, devices and points", SiteView),
    ("GET", "/api/v1/points"): Operation(
        "readings",
        "Points with their units",
        list[PointView],
        (Parameter("device", str, "Only those of this device."),),
    ),
    ("GET", "/api/v1/last"): Operation(
        "readings",
        "Newest readings, with the quality of now",
        list[ReadingView],
        (Parameter("point", list[str], _POINT), Parameter("device", list[str], "All points of this device.")),
    ),
    ("GET", "/api/v1/range"): Operation(
        "readings",
        "Readings of points as they are stored",
        list[ReadingView],
        (Parameter("point", list[str], _POINT, required=True), _START, _END, _limit(20_000)),
    ),
    ("GET", "/api/v1/series"): Operation(
        "readings",
        "The trend of a point",
        TrendView,
        (
            Parameter("point", str, _POINT, required=True),
            _START,
            _END,
            Parameter("intervals", Annotated[int, Meta(ge=1, le=2000)], "About so many intervals."),
        ),
    ),
    ("GET", "/api/v1/alarms"): Operation("alarms", "Alarms, those held back, and orders", AlarmsView),
    ("GET", "/api/v1/alarms/history"): Operation(
        "alarms", "Occurrences, newest first", list[AlarmView], (_limit(1000),)
    ),
    ("GET", "/api/v1/alarms/indicators"): Operation(
        "alarms",
        "ISA-18.2 indicators of the last day",
        IndicatorsView,
        (Parameter("position", str, "An area; all without it."),),
    ),
    ("POST", "/api/v1/alarms/{alarm}/acknowledge"): Operation(
        "alarms", "Acknowledge an alarm", AlarmView, body=Acknowledge
    ),
    ("POST", "/api/v1/alarms/{alarm}/shelve"): Operation(
        "alarms", "Shelve an alarm", AlarmView | None, body=Shelve
    ),
    ("POST", "/api/v1/alarms/{alarm}/unshelve"): Operation(
        "alarms", "End a shelving", AlarmView | None, body=Nothing
    ),
    ("POST", "/api/v1/alarms/{alarm}/out-of-service"): Operation(
        "alarms", "Take an alarm out of service", AlarmView | None, body=OutOfService
    ),
    ("POST", "/api/v1/alarms/{alarm}/in-service"): Operation(
        "alarms", "Put an alarm back into service", AlarmView | None, body=Nothing
    ),
    ("POST", "/api/v1/alarms/{alarm}/reset"): Operation(
        "alarms", "Reset a latched alarm", AlarmView | None, body=Nothing
    ),
    ("GET", "/api/v1/acknowledgements/{token}"): Operation("alarms", "The alarm of a link", AlarmLinkView),
    ("POST", "/api/v1/acknowledgements/{token}"): Operation(
        "alarms", "Acknowledge the alarm of a link", AlarmLinkView, body=Acknowledge
    ),
    ("GET", "/api/v1/indeterminate"): Operation(
        "alarms", "Rules that cannot be judged", list[IndeterminateView]
    ),
    ("GET", "/api/v1/explanation"): Operation(
        "alarms",
        "What the newest state estimate says of an asset",
        dict[str, Any],
        (Parameter("asset", str, "A branch, node or area."),),
    ),
    ("GET", "/api/v1/schedules"): Operation(
        "settlement",
        "Schedule versions, newest first",
        list[VersionView],
        (Parameter("tie", str, "Only those of this tie or contract."),),
    ),
    ("POST", "/api/v1/schedules"): Operation(
        "settlement", "Send in schedules, all or none", list[VersionView], body=PostedSchedule, status=201
    ),
    ("GET", "/api/v1/agreed"): Operation(
        "settlement", "Schedules as polylines", AgreedView, (_START, Parameter("end", _TIME, _END.about))
    ),
    ("GET", "/api/v1/ledger"): Operation(
        "settlement",
        "Settled and open intervals, newest first",
        LedgerView,
        (
            _START,
            _END,
            Parameter("account", str, "Only this tie, contract or area."),
            Parameter("minutes", Annotated[int, Meta(ge=0, le=60)], "15, 60, or 0 for both."),
            Parameter("revisions", Annotated[int, Meta(ge=0, le=1)], "1 for earlier versions too."),
            _limit(5000),
        ),
    ),
    ("GET", "/api/v1/status"): Operation("system", "Links, conservation, latency and lag", StatusView),
    ("GET", "/api/v1/quality"): Operation("system", "Completeness, gaps, dead letters", QualityView),
    ("GET", "/api/v1/machinery"): Operation("system", "Parts, cursors, queue and disk", MachineryView),
    ("GET", "/api/v1/audit"): Operation(
        "system",
        "Who did what, newest first",
        AuditView,
        (_limit(500), Parameter("before", Annotated[int, Meta(ge=0, le=2**53)], "Older than this entry.")),
    ),
    ("GET", "/api/v1/announcements"): Operation("system", "Messages of the banner", list[AnnouncementView]),
    ("GET", "/api/v1/influx/query"): Operation(
        "readings",
        "The queries of Grafana's panels, in InfluxDB's shape",
        dict[str, Any],
        (
            Parameter("q", str, "InfluxQL.", required=True),
            Parameter("epoch", str, "Unit of times: ms."),
            Parameter("db", str, "Not looked at."),
        ),
        problem=dict[str, str],
    ),
}
"""Every address that answers JSON, by method and path pattern."""

NOT_JSON = frozenset({("GET", "/api/v1/stream"), ("GET", "/api/v1/openapi.json")})
"""Addresses of the API that are described in words: server-sent events, and this description itself."""
