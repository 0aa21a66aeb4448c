"""The application: one table of routes, each classified by who may use it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from alerts.alarms import AlarmError, NotAllowedError
from alerts.schedule_table import ScheduleError
from console import metrics
from console.api import COOKIE, Api
from console.config import ConsoleSettings
from console.feed import Feed
from console.guard import Guard
from console.ports import SystemStatus
from console.problems import ApiError, problem_response
from console.sessions import Sessions
from console.stream import EventStream
from telemetry.errors import StorageError, UnavailableError

log = structlog.get_logger(__name__)

STATIC = Path(__file__).parent / "static"

PAGES = (
    "/",
    "/areas",
    "/areas/{area}",
    "/plants",
    "/plants/{device}",
    "/ties",
    "/ties/{tie}",
    "/trends",
    "/alarms",
    "/quality",
    "/system",
    "/audit",
)
"""Addresses of the page; which part of it is shown is the page's own affair."""

Endpoint = Callable[[Request], Awaitable[Response]]


class Access(Enum):
    """Who may use a route."""

    OPEN = "open"
    """Everybody who can reach the address."""
    SESSION = "session"
    """Those who are signed in; others are answered 401."""
    PAGE = "page"
    """Those who are signed in; others are sent to the sign-in page."""
    LOCAL = "local"
    """Everybody as long as no proxy is in front; behind one, those who are signed in."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One address: method, path, who may use it and what answers."""

    method: str
    path: str
    access: Access
    endpoint: Endpoint


class Console:
    """The routes, as an ASGI application in :attr:`app`."""

    def __init__(
        self, settings: ConsoleSettings, api: Api, sessions: Sessions, feed: Feed, status: SystemStatus
    ) -> None:
        self._settings = settings
        self._api = api
        self._sessions = sessions
        self._feed = feed
        self._status = status
        self._streams = 0
        self.routes = self._routes()
        """The rules as routes, and the files under /static."""
        self.app: ASGIApp = Guard(self._starlette(), settings.hosts)
        """What a server runs."""

    def _rules(self) -> list[Rule]:
        api = self._api
        return [
            *(Rule("GET", path, Access.PAGE, _page("index.html")) for path in PAGES),
            Rule("GET", "/signin", Access.OPEN, _page("signin.html")),
            Rule("GET", "/healthz", Access.OPEN, _healthy),
            Rule("GET", "/readyz", Access.OPEN, self._ready),
            Rule("GET", "/metrics", Access.LOCAL, _metrics),
            Rule("POST", "/api/v1/session", Access.OPEN, api.sign_in),
            Rule("GET", "/api/v1/session", Access.SESSION, api.session),
            Rule("DELETE", "/api/v1/session", Access.SESSION, api.sign_out),
            Rule("GET", "/api/v1/site", Access.SESSION, api.site),
            Rule("GET", "/api/v1/last", Access.SESSION, api.last),
            Rule("GET", "/api/v1/series", Access.SESSION, api.series),
            Rule("GET", "/api/v1/alarms", Access.SESSION, api.alarms),
            Rule("GET", "/api/v1/alarms/history", Access.SESSION, api.history),
            Rule("POST", "/api/v1/alarms/{alarm}/acknowledge", Access.SESSION, api.acknowledge),
            Rule("POST", "/api/v1/alarms/{alarm}/shelve", Access.SESSION, api.shelve),
            Rule("POST", "/api/v1/alarms/{alarm}/unshelve", Access.SESSION, api.unshelve),
            Rule("POST", "/api/v1/alarms/{alarm}/reset", Access.SESSION, api.reset),
            Rule("GET", "/acknowledge/{token}", Access.OPEN, _page("acknowledge.html")),
            # the token says who may
            Rule("GET", "/api/v1/acknowledgements/{token}", Access.OPEN, api.by_link.look),
            Rule("POST", "/api/v1/acknowledgements/{token}", Access.OPEN, api.by_link.acknowledge),
            Rule("GET", "/api/v1/indeterminate", Access.SESSION, api.indeterminate),
            Rule("GET", "/api/v1/schedules", Access.SESSION, api.schedules),
            Rule("GET", "/api/v1/ledger", Access.SESSION, api.ledger),
            Rule("POST", "/api/v1/schedules", Access.SESSION, api.post_schedules),
            Rule("GET", "/api/v1/status", Access.SESSION, api.status),
            Rule("GET", "/api/v1/alarms/indicators", Access.SESSION, api.insight.indicators),
            Rule("GET", "/api/v1/quality", Access.SESSION, api.insight.quality),
            Rule("GET", "/api/v1/machinery", Access.SESSION, api.insight.machinery),
            Rule("GET", "/api/v1/audit", Access.SESSION, api.insight.audit),
            Rule("GET", "/api/v1/agreed", Access.SESSION, api.insight.agreed),
            Rule("GET", "/api/v1/explanation", Access.SESSION, api.insight.explanation),
            Rule("GET", "/api/v1/announcements", Access.SESSION, api.announcements),
            Rule("GET", "/api/v1/stream", Access.SESSION, self._stream),
            Rule("GET", "/api/v1/influx/query", Access.SESSION, api.influx.ask),
        ]

    def _routes(self) -> list[Route | Mount]:
        routes: list[Route | Mount] = [
            Route(rule.path, self._checked(rule), methods=[rule.method]) for rule in self._rules()
        ]
        return [*routes, Mount("/static", StaticFiles(directory=STATIC), name="static")]

    def _starlette(self) -> Starlette:
        return Starlette(
            routes=self.routes,
            exception_handlers={
                ApiError: _answer_problem,
                AlarmError: _answer_problem,
                ScheduleError: _answer_problem,
                StorageError: _answer_problem,
                UnavailableError: _answer_problem,
                HTTPException: _answer_problem,
                500: _answer_problem,
            },
        )

    def _checked(self, rule: Rule) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            if not self._may(rule.access, request):
                if rule.access is Access.PAGE:
                    return RedirectResponse("/signin", 303)
                raise ApiError(
                    401,
                    "you are not signed in",
                    "open the sign-in address that was printed at the last start",
                )
            response = await rule.endpoint(request)
            metrics.REQUESTS.labels(rule.path, f"{response.status_code // 100}xx").inc()
            return response

        return endpoint

    def _may(self, access: Access, request: Request) -> bool:
        if access is Access.OPEN or (access is Access.LOCAL and not self._settings.behind_proxy):
            return True
        return self._api.who(request) is not None

    async def _ready(self, _: Request) -> Response:
        reason = self._status.status().not_ready
        if self._feed.closing:
            reason = "stopping"
        return PlainTextResponse(reason or "ready", 503 if reason else 200)

    async def _stream(self, request: Request) -> Response:
        if self._feed.closing or self._streams >= self._settings.max_streams:
            metrics.REFUSED.labels("streams").inc()
            raise ApiError(
                503,
                f"{self._streams} pages are open",
                "close one, or raise max_streams in [console]",
                {"retry-after": "5"},
            )
        session = request.cookies[COOKIE]
        return _Streaming(self, EventStream(self._feed, lambda: self._sessions.who(session) is not None))

    async def counted(self, stream: EventStream, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs a stream while it counts as open."""
        self._streams += 1
        try:
            await stream(scope, receive, send)
        finally:
            self._streams -= 1


class _Streaming(Response):
    """A stream in the shape that a route returns."""

    def __init__(self, console: Console, stream: EventStream) -> None:
        super().__init__()
        self._console = console
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._console.counted(self._stream, scope, receive, send)


def _page(name: str) -> Endpoint:
    async def endpoint(_: Request) -> Response:
        return FileResponse(STATIC / name, headers={"cache-control": "no-store"})

    return endpoint


async def _healthy(_: Request) -> Response:
    return PlainTextResponse("ok")


async def _metrics(_: Request) -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _answer_problem(request: Request, error: Exception) -> Response:
    match error:
        case ApiError():
            problem = error
        case NotAllowedError():
            problem = ApiError(409, str(error), "see /api/v1/alarms for what it is now")
        case AlarmError():
            problem = ApiError(404, str(error), "see /api/v1/alarms for those that are there")
        case ScheduleError():
            problem = ApiError(
                422, str(error), "correct the rows and send all of them again; none was taken in"
            )
        case StorageError() | UnavailableError():
            log.warning("request_failed", path=_pattern(request) or request.url.path, error=str(error))
            problem = ApiError(503, str(error), "try again; if it stays, see the log of the process")
        case HTTPException():
            problem = ApiError(error.status_code, error.detail, _FIXES.get(error.status_code, ""))
        case _:
            log.error("request_broke", path=_pattern(request) or request.url.path, error=repr(error))
            problem = ApiError(500, "the console could not answer", "see the log of the process")
    metrics.REQUESTS.labels(_pattern(request), f"{problem.status // 100}xx").inc()
    return problem_response(problem)


_FIXES = {
    404: "see /api/v1/site for what is there",
    405: "use the method that the address offers",
}


def _pattern(request: Request) -> str:
    """Path pattern of the route, a bounded label; empty where no route matched."""
    route = request.scope.get("route")
    return route.path if isinstance(route, Route) else ""
