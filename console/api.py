"""The HTTP API under /api/v1: what each address answers. Who may ask is decided in :mod:`console.app`."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from alerts.alarms import Alarm, AlarmState
from alerts.first_out import first_out
from console.acknowledging import Acknowledging
from console.bodies import Acknowledge, Nothing, OutOfService, Shelve, body_of, text_of
from console.config import ConsoleSettings
from console.corridor import SiteView
from console.entrance import Entrance
from console.feed import Feed
from console.influx import Influx
from console.insight_api import InsightApi
from console.parameters import integer, shown
from console.ports import Ports
from console.problems import ApiError, json_response
from console.sessions import Sessions
from console.settlement import (
    MAX_SCHEDULE_BYTES,
    LedgerView,
    PostedSchedule,
    interval_view,
    running_view,
    version_view,
)
from console.trends import step_for, trend
from console.views import (
    AlarmsView,
    alarm_view,
    announcement_views,
    indeterminate_views,
    ms,
    order_views,
    reading_views,
    status_view,
)
from telemetry.clock import Clock
from telemetry.site import Site, SitePoint

MAX_POINTS = 1000
"""Points that one request may ask the newest readings of."""
MAX_INTERVALS = 2000
"""Intervals that one trend may have."""
MAX_READINGS = 20_000
"""Stored readings that one answer holds."""
MAX_HISTORY = 1000
"""Alarms that one request for the history may ask for."""
MAX_SPAN_S = 400 * 86400
"""Longest trend [s]."""
MAX_SETTLED = 5000
"""Settled intervals that one answer holds."""
MAX_VERSIONS = 100
"""Schedule versions that one answer holds."""


class Api:
    """The answers, given what the console depends on."""

    def __init__(
        self,
        settings: ConsoleSettings,
        *,
        clock: Clock,
        site: Site,
        view: SiteView,
        ports: Ports,
        sessions: Sessions,
        feed: Feed,
    ) -> None:
        self._clock = clock
        self.entrance = Entrance(settings, clock, sessions)
        """Lets people in, and knows who asks."""
        self.by_link = Acknowledging(clock, site.name, ports, feed)
        """Answers those who hold a link from a message."""
        self.insight = InsightApi(ports.insight, ports.desk, clock)
        """Answers what looks inside."""
        self.show(site, view)
        self.influx = Influx(ports.query, lambda: self._site)
        """Answers Grafana's panels."""
        self._live = ports.live
        self._query = ports.query
        self._desk = ports.desk
        self._status = ports.status
        self._announcements = ports.announcements
        self._schedules = ports.schedules
        self._ledger = ports.ledger
        self._feed = feed

    def show(self, site: Site, view: SiteView) -> None:
        """Answers for another site from now on."""
        self._site = site
        self.by_link.site = site.name
        self._view = view
        self._site_body = msgspec.json.encode(view)

    def who(self, request: Request) -> str | None:
        """Who a request comes from, as the audit names them; None for a stranger."""
        identity = self.entrance.identity(request)
        return None if identity is None else identity.name

    async def site(self, _: Request) -> Response:
        """GET /api/v1/site: areas, nodes, branches, devices and points."""
        return Response(self._site_body, media_type="application/json")

    async def last(self, request: Request) -> Response:
        """GET /api/v1/last?point=PATH&point=PATH or ?device=ID: newest readings, with the quality of now."""
        paths = request.query_params.getlist("point")
        points = [self._point(path).index for path in paths]
        for device in request.query_params.getlist("device"):
            if device not in self._site.devices:
                raise ApiError(404, f"no device is called {shown(device)}", "see devices in /api/v1/site")
            points += [point.index for point in self._site.points_of(device)]
        if not points:
            raise ApiError(400, "no point is asked for", "add ?point=DEVICE/NAME or ?device=DEVICE")
        if len(points) > MAX_POINTS:
            raise ApiError(
                400, f"{len(points)} points are asked for", f"ask for at most {MAX_POINTS} at a time"
            )
        return json_response(reading_views(self._live.latest(points)))

    async def points(self, request: Request) -> Response:
        """GET /api/v1/points?device=ID: points with their units, of one device or of all."""
        device = request.query_params.get("device")
        if device is None:
            return json_response(self._view.points)
        if device not in self._site.devices:
            raise ApiError(404, f"no device is called {shown(device)}", "see devices in /api/v1/site")
        return json_response([point for point in self._view.points if point.device == device])

    async def range(self, request: Request) -> Response:
        """GET /api/v1/range?point=PATH&start=MS&end=MS&limit=N: stored readings, by point and time.

        Without ``end`` it reaches to now, without ``start`` it is an hour long.
        """
        points = [self._point(path).index for path in request.query_params.getlist("point")]
        if not 0 < len(points) <= MAX_POINTS:
            raise ApiError(
                400,
                f"{len(points)} points are asked for",
                f"add ?point=DEVICE/NAME, up to {MAX_POINTS} times",
            )
        end = integer(request, "end", ms(self._clock.now_ns()) + 1, 0, 2**43)
        start = integer(request, "start", max(0, end - 3_600_000), 0, 2**43)
        limit = integer(request, "limit", MAX_READINGS, 1, MAX_READINGS)
        if start >= end:
            raise ApiError(
                400, f"from {start} to {end} is no time", "give start before end, in ms since 1970"
            )
        found = await self._query.range(points, start * 1_000_000, end * 1_000_000, limit)
        return json_response(reading_views(found))

    async def series(self, request: Request) -> Response:
        """GET /api/v1/series?point=PATH&start=MS&end=MS&intervals=N: the trend of a point.

        Without ``end`` it reaches to now, without ``start`` it is an hour long.
        """
        path = request.query_params.get("point", "")
        if not path:
            raise ApiError(400, "no point is asked for", "add ?point=DEVICE/NAME")
        point = self._point(path)
        end = integer(request, "end", ms(self._clock.now_ns()) + 1, 0, 2**43)
        start = integer(request, "start", max(0, end - 3_600_000), 0, 2**43)
        intervals = integer(request, "intervals", 600, 1, MAX_INTERVALS)
        if not 0 < end - start <= MAX_SPAN_S * 1000:
            raise ApiError(
                400,
                f"from {start} to {end} is not a span that can be drawn",
                f"give start before end, both in ms since 1970, at most {MAX_SPAN_S // 86400} days apart",
            )
        # one interval more than asked for may be cut at either end
        step = step_for((end - start) * 1_000_000, intervals)
        found = await self._query.series(point.index, start * 1_000_000, end * 1_000_000, step)
        by_exception, deadband = point.profile.by_exception, point.spec.deadband
        holds = by_exception or deadband is not None
        return json_response(
            trend(
                found,
                point=point.index,
                path=point.path,
                title=point.spec.title,
                unit=point.spec.unit.value,
                period_s=point.profile.period_of(point.key.name),
                start=start * 1_000_000,
                end=min(end * 1_000_000, self._clock.now_ns()) if holds else end * 1_000_000,
                step=step,
                by_exception=by_exception,
                silence_s=0.0 if deadband is None else deadband.max_silence_s,
                newest=self._newest(point.index) if holds else None,
            )
        )

    def _newest(self, index: int) -> tuple[int, float, int] | None:
        """Time [ns], value and quality now of a point's newest reading."""
        found = self._live.latest([index])
        if not len(found):
            return None
        return int(found.t_source[0]), float(found.value[0]), int(found.quality[0])

    async def alarms(self, _: Request) -> Response:
        """GET /api/v1/alarms: those that people are told of, those held back, and the list's version."""
        # the version first: a change in between makes the page ask again, never miss one
        version = self._desk.version
        active, held = self._desk.active(), self._desk.held()
        places = first_out([*active, *held])
        return json_response(
            AlarmsView(
                version,
                [alarm_view(alarm, places.get(alarm.id)) for alarm in active],
                [alarm_view(alarm, places.get(alarm.id)) for alarm in held],
                order_views(self._desk.orders()),
                indeterminate_views(self._desk.indeterminate()),
            )
        )

    async def history(self, request: Request) -> Response:
        """GET /api/v1/alarms/history?limit=N: past and present occurrences, newest first."""
        limit = integer(request, "limit", 200, 1, MAX_HISTORY)
        return json_response([alarm_view(alarm) for alarm in await self._desk.history(limit)])

    async def acknowledge(self, request: Request) -> Response:
        """POST /api/v1/alarms/ID/acknowledge with an optional comment."""
        comment = text_of("comment", (await body_of(request, Acknowledge)).comment)
        alarm = await self._desk.acknowledge(request.path_params["alarm"], self.who(request) or "", comment)
        await self._feed.turn()
        return json_response(alarm_view(alarm))

    async def shelve(self, request: Request) -> Response:
        """POST /api/v1/alarms/ID/shelve with a reason and for how many minutes."""
        wanted = await body_of(request, Shelve)
        reason = text_of("reason", wanted.reason)
        alarm, who = request.path_params["alarm"], self.who(request) or ""
        found = await self._desk.hold(alarm, AlarmState.SHELVED, who, reason, wanted.minutes * 60.0)
        return await self._acted(found)

    async def unshelve(self, request: Request) -> Response:
        """POST /api/v1/alarms/ID/unshelve."""
        await body_of(request, Nothing)
        alarm, who = request.path_params["alarm"], self.who(request) or ""
        return await self._acted(await self._desk.unhold(alarm, AlarmState.SHELVED, who))

    async def take_out(self, request: Request) -> Response:
        """POST /api/v1/alarms/ID/out-of-service with a reason, for some minutes or until it is put back."""
        wanted = await body_of(request, OutOfService)
        reason = text_of("reason", wanted.reason)
        alarm, who = request.path_params["alarm"], self.who(request) or ""
        for_s = None if wanted.minutes is None else wanted.minutes * 60.0
        return await self._acted(await self._desk.hold(alarm, AlarmState.OUT_OF_SERVICE, who, reason, for_s))

    async def put_back(self, request: Request) -> Response:
        """POST /api/v1/alarms/ID/in-service."""
        await body_of(request, Nothing)
        alarm, who = request.path_params["alarm"], self.who(request) or ""
        return await self._acted(await self._desk.unhold(alarm, AlarmState.OUT_OF_SERVICE, who))

    async def reset(self, request: Request) -> Response:
        """POST /api/v1/alarms/ID/reset: lets an acknowledged latched alarm go."""
        await body_of(request, Nothing)
        alarm, who = request.path_params["alarm"], self.who(request) or ""
        return await self._acted(await self._desk.reset(alarm, who))

    async def _acted(self, alarm: Alarm | None) -> Response:
        await self._feed.turn()
        return json_response(None if alarm is None else alarm_view(alarm))

    async def indeterminate(self, _: Request) -> Response:
        """GET /api/v1/indeterminate: rules that cannot be judged now."""
        return json_response(indeterminate_views(self._desk.indeterminate()))

    async def status(self, _: Request) -> Response:
        """GET /api/v1/status: links, conservation, latency and lag."""
        return json_response(status_view(self._status.status()))

    async def announcements(self, _: Request) -> Response:
        """GET /api/v1/announcements: the banner's messages."""
        return json_response(announcement_views(self._announcements.announcements()))

    async def schedules(self, request: Request) -> Response:
        """GET /api/v1/schedules?tie=ID: schedule versions, newest first, at most a hundred."""
        found = await self._schedules.versions(request.query_params.get("tie", ""))
        return json_response([version_view(version) for version in found[:MAX_VERSIONS]])

    async def post_schedules(self, request: Request) -> Response:
        """POST /api/v1/schedules: takes in the schedules that the rows make, all or none."""
        posted = await body_of(request, PostedSchedule, MAX_SCHEDULE_BYTES)
        author, source = text_of("author", posted.author), text_of("source", posted.source)
        who = self.who(request) or ""
        taken = await self._schedules.post(
            posted.table(), "rows", party=posted.party, who=who, author=author, source=source or "HTTP"
        )
        return json_response([version_view(version) for version in taken], 201)

    async def ledger(self, request: Request) -> Response:
        """GET /api/v1/ledger?start=MS&end=MS&account=ID&minutes=15&revisions=1: settled and open intervals.

        Without ``end`` it reaches to now, without ``start`` it is a day long; ``minutes`` is 15, 60 or 0 for
        both. Newest first, at most some thousand.
        """
        end = integer(request, "end", ms(self._clock.now_ns()) + 1, 0, 2**43)
        start = integer(request, "start", max(0, end - 86_400_000), 0, 2**43)
        minutes = integer(request, "minutes", 15, 0, 60)
        account = request.query_params.get("account", "")
        found = await self._ledger.intervals(
            start * 1_000_000,
            end * 1_000_000,
            account=account,
            minutes=minutes,
            revisions=bool(integer(request, "revisions", 0, 0, 1)),
            limit=integer(request, "limit", 1000, 1, MAX_SETTLED),
        )
        open_ = [
            running_view(each)
            for each in self._ledger.running()
            if account in {"", each.account} and minutes in {0, each.minutes}
        ]
        return json_response(LedgerView([interval_view(each) for each in found], open_))

    def _point(self, path: str) -> SitePoint:
        device, _, name = path.partition("/")
        point = self._site.find(device, name)
        if point is None:
            raise ApiError(404, f"no point is called {shown(path)}", "see points in /api/v1/site")
        return point
