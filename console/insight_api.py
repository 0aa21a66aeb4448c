"""The part of the HTTP API that looks inside: quality, parts, audit, agreements, explanations, indicators."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from alerts.kpi import ALL
from alerts.ports import AlarmDesk
from console.insight import Insight
from console.insight_views import agreed_view, audit_view, indicators_view, machinery_view, quality_view
from console.parameters import integer
from console.problems import ApiError, json_response
from console.views import ms
from telemetry.clock import Clock

MAX_AGREED_S = 40 * 86400
"""Longest time that schedules are shown for [s]."""
MAX_AUDIT = 500
"""Audit entries in one answer."""


class InsightApi:
    """The answers."""

    def __init__(self, insight: Insight, desk: AlarmDesk, clock: Clock) -> None:
        self._insight = insight
        self._desk = desk
        self._clock = clock

    async def quality(self, _: Request) -> Response:
        """GET /api/v1/quality: completeness, gaps, delays, dead letters and round trips of the last hour."""
        return json_response(quality_view(await self._insight.quality()))

    async def machinery(self, _: Request) -> Response:
        """GET /api/v1/machinery: parts of the process, cursors, queue and disk."""
        return json_response(machinery_view(await self._insight.machinery()))

    async def audit(self, request: Request) -> Response:
        """GET /api/v1/audit?limit=N&before=NUMBER: who did what, newest first."""
        limit = integer(request, "limit", 100, 1, MAX_AUDIT)
        before = integer(request, "before", 0, 0, 2**53)
        return json_response(audit_view(await self._insight.audit(limit, before or None)))

    async def agreed(self, request: Request) -> Response:
        """GET /api/v1/agreed?start=MS&end=MS: the schedule of each tie and contract as a polyline.

        Without ``end`` it reaches to an hour from now, without ``start`` it is two hours long.
        """
        end = integer(request, "end", ms(self._clock.now_ns()) + 3_600_000, 0, 2**43)
        start = integer(request, "start", max(0, end - 7_200_000), 0, 2**43)
        if not 0 < end - start <= MAX_AGREED_S * 1000:
            raise ApiError(
                400,
                f"from {start} to {end} is not a span of schedules",
                f"give start before end, both in ms since 1970, at most {MAX_AGREED_S // 86400} days apart",
            )
        agreed = self._insight.agreed(start * 1_000_000, end * 1_000_000)
        return json_response(agreed_view(agreed, self._insight.tolerances()))

    async def explanation(self, request: Request) -> Response:
        """GET /api/v1/explanation?asset=ID: what the newest state estimate says of a branch, node or area."""
        return json_response(dict(self._insight.explained(request.query_params.get("asset", ""))))

    async def indicators(self, request: Request) -> Response:
        """GET /api/v1/alarms/indicators?position=AREA: ISA-18.2 indicators of the last day."""
        return json_response(indicators_view(self._desk.kpi(request.query_params.get("position", ALL))))
