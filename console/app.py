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
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from alerts.alarms import AlarmError, NotAllowedError
from alerts.schedule_table import ScheduleError
from console import metrics, openapi
from console.access import needed
from console.accounts import AccountError
from console.api import Api
from console.config import ConsoleSettings
from console.feed import Feed
from console.guard import Guard
from console.people import People
from console.ports import SystemStatus
from console.problems import ApiError, problem_response
from console.roles import Identity, least_role
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
    "/account",
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
    """Everybody as long as only this machine reaches the address; else those who are signed in."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One address: method, path, who may use it and what answers. Its right is in :mod:`console.access`."""

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
        self._feed = feed
        self._status = status
        self._people = People(sessions.accounts, api.entrance)
        self._streams = 0
        self.routes = self._routes()
        """The rules as routes, and the files under /static."""
        self.app: ASGIApp = Guard(self._starlette(), settings.hosts, secure=settings.secure)
        """What a server runs."""

    def _rules(self) -> list[Rule]:
        api, entrance, people = self._api, self._api.entrance, self._people
        return [
            *(Rule("GET", path, Access.PAGE, _page("index.html")) for path in PAGES),
            Rule("GET", "/signin", Access.OPEN, _page("signin.html")),
            Rule("GET", "/setup", Access.OPEN, _page("setup.html")),
            Rule("GET", "/healthz", Access.OPEN, _healthy),
            Rule("GET", "/readyz", Access.OPEN, self._ready),
            Rule("GET", "/metrics", Access.LOCAL, _metrics),
            Rule("POST", "/api/v1/setup", Access.OPEN, entrance.set_up),
            Rule("POST", "/api/v1/session", Access.OPEN, entrance.sign_in),
            Rule("GET", "/api/v1/session", Access.SESSION, entrance.session),
            Rule("DELETE", "/api/v1/session", Access.SESSION, entrance.sign_out),
            Rule("POST", "/api/v1/password", Access.SESSION, entrance.change_password),
            Rule("GET", "/api/v1/tokens", Access.SESSION, people.tokens),
            Rule("POST", "/api/v1/tokens", Access.SESSION, people.add_token),
            Rule("DELETE", "/api/v1/tokens/{token}", Access.SESSION, people.end_token),
            Rule("GET", "/api/v1/users", Access.SESSION, people.users),
            Rule("POST", "/api/v1/users", Access.SESSION, people.add),
            Rule("POST", "/api/v1/users/{user}/role", Access.SESSION, people.set_role),
            Rule("POST", "/api/v1/users/{user}/password", Access.SESSION, people.set_password),
            Rule("DELETE", "/api/v1/users/{user}", Access.SESSION, people.remove),
            Rule("GET", "/api/v1/site", Access.SESSION, api.site),
            Rule("GET", "/api/v1/openapi.json", Access.SESSION, _openapi),
            Rule("GET", "/api/v1/points", Access.SESSION, api.points),
            Rule("GET", "/api/v1/range", Access.SESSION, api.range),
            Rule("GET", "/api/v1/last", Access.SESSION, api.last),
            Rule("GET", "/api/v1/series", Access.SESSION, api.series),
            Rule("GET", "/api/v1/alarms", Access.SESSION, api.alarms),
            Rule("GET", "/api/v1/alarms/history", Access.SESSION, api.history),
            Rule("POST", "/api/v1/alarms/{alarm}/acknowledge", Access.SESSION, api.acknowledge),
            Rule("POST", "/api/v1/alarms/{alarm}/shelve", Access.SESSION, api.shelve),
            Rule("POST", "/api/v1/alarms/{alarm}/unshelve", Access.SESSION, api.unshelve),
            Rule("POST", "/api/v1/alarms/{alarm}/out-of-service", Access.SESSION, api.take_out),
            Rule("POST", "/api/v1/alarms/{alarm}/in-service", Access.SESSION, api.put_back),
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
                AccountError: _answer_problem,
                AlarmError: _answer_problem,
                ScheduleError: _answer_problem,
                StorageError: _answer_problem,
                UnavailableError: _answer_problem,
                HTTPException: _answer_problem,
                ClientDisconnect: _answer_problem,
                500: _answer_problem,
            },
        )

    def _checked(self, rule: Rule) -> Endpoint:
        right = None if rule.access is Access.OPEN else needed(rule.method, rule.path)

        async def endpoint(request: Request) -> Response:
            identity = self._api.entrance.identity(request)
            if not self._lets_in(rule.access, identity):
                if rule.access is Access.PAGE:
                    return RedirectResponse("/signin", 303)
                raise ApiError(
                    401,
                    "you are not signed in",
                    "sign in at /signin, or send Authorization: Token with an API token",
                )
            if right is not None and identity is not None:
                if right not in identity.rights:
                    metrics.REFUSED.labels("right").inc()
                    raise ApiError(
                        403,
                        f"{identity.name} has no right to {rule.method} {rule.path}",
                        f"that needs the right {right.value!r}, which the role {least_role(right).value!r} "
                        "and those above it have",
                    )
                # what a page asks by itself does not keep a session from growing idle
                if "x-background" not in request.headers and rule.path != "/api/v1/stream":
                    await self._api.entrance.seen(request)
            response = await rule.endpoint(request)
            metrics.REQUESTS.labels(rule.path, f"{response.status_code // 100}xx").inc()
            return response

        return endpoint

    def _lets_in(self, access: Access, identity: Identity | None) -> bool:
        """Whether an address answers a stranger, or this is none."""
        if access is Access.OPEN or (access is Access.LOCAL and self._settings.is_local):
            return True
        return identity is not None

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
        right = needed("GET", "/api/v1/stream")

        def entitled() -> bool:
            identity = self._api.entrance.identity(request)
            return identity is not None and right in identity.rights

        return _Streaming(self, EventStream(self._feed, entitled))

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


async def _openapi(_: Request) -> Response:
    return Response(openapi.text(), media_type="application/json")


async def _metrics(_: Request) -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _answer_problem(request: Request, error: Exception) -> Response:
    match error:
        case ApiError():
            problem = error
        case AccountError():
            problem = ApiError(409, str(error), "nothing was changed")
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
        case ClientDisconnect():
            problem = ApiError(400, "the request did not come whole", "send all of it")
        case HTTPException():
            headers = {"allow": _allowed(request)} if error.status_code == 405 else None
            problem = ApiError(error.status_code, error.detail, _FIXES.get(error.status_code, ""), headers)
        case _:
            log.error("request_broke", path=_pattern(request) or request.url.path, error=repr(error))
            problem = ApiError(500, "the console could not answer", "see the log of the process")
    metrics.REQUESTS.labels(_pattern(request), f"{problem.status // 100}xx").inc()
    return problem_response(problem)


_FIXES = {
    404: "see /api/v1/site for what is there",
    405: "use the method that the address offers",
}


def _allowed(request: Request) -> str:
    """The methods of an address: an answer 405 names them (RFC 9110, section 15.5.6)."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    offered = [route.methods or set() for route in routes if route.path_regex.match(request.url.path)]
    return ", ".join(sorted(set().union(*offered))) or "GET, HEAD"


def _pattern(request: Request) -> str:
    """Path pattern of the route, a bounded label; empty where no route matched."""
    route = request.scope.get("route")
    return route.path if isinstance(route, Route) else ""
