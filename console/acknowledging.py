"""Acknowledgement by the link in a message: whoever holds it may see one alarm, and acknowledge it.

Looking changes nothing, for mail scanners follow links; only the POST of the page acknowledges.
"""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from alerts.alarms import Alarm, AlarmError, AlarmState
from alerts.notify.paging import by_link
from alerts.notify.signing import Claim, ExpiredLinkError, LinkError
from console.bodies import Acknowledge, body_of, text_of
from console.feed import Feed
from console.ports import Ports
from console.problems import ApiError, json_response
from console.views import AlarmView, alarm_view, ms
from telemetry.clock import Clock

_WAITS = frozenset({AlarmState.UNACKNOWLEDGED, AlarmState.RETURNED, AlarmState.LATCHED_UNACKNOWLEDGED})
_ELSEWHERE = "sign in at the console to see what is open"


class AlarmLinkView(msgspec.Struct, frozen=True):
    """What a link shows."""

    site: str
    recipient: str
    """Whom the message was for; in whose name it is acknowledged."""
    expires: int
    """[ms since 1970]."""
    waits: bool
    """It can be acknowledged."""
    alarm: AlarmView


class Acknowledging:
    """The answers under /api/v1/acknowledgements."""

    def __init__(self, clock: Clock, site: str, ports: Ports, feed: Feed) -> None:
        self._clock = clock
        self.site = site
        """Name of the site that is shown."""
        self._desk = ports.desk
        self._links = ports.links
        self._feed = feed

    async def look(self, request: Request) -> Response:
        """GET /api/v1/acknowledgements/TOKEN: the alarm of a link; changes nothing."""
        claim = self._claim(request)
        alarm = await self._desk.find(claim.alarm)
        if alarm is None:
            raise AlarmError(f"there is no alarm {claim.alarm} any more")
        return json_response(self._view(claim, alarm))

    async def acknowledge(self, request: Request) -> Response:
        """POST /api/v1/acknowledgements/TOKEN with an optional comment: acknowledges the alarm of a link."""
        claim = self._claim(request)
        comment = text_of("comment", (await body_of(request, Acknowledge)).comment)
        alarm = await self._desk.acknowledge(claim.alarm, by_link(claim.recipient), comment)
        await self._feed.turn()
        return json_response(self._view(claim, alarm))

    def _claim(self, request: Request) -> Claim:
        links = self._links()
        if links is None:
            raise ApiError(404, "alarms cannot be acknowledged by links here", _ELSEWHERE)
        try:
            return links.read(request.path_params["token"], self._clock.now_ns())
        except LinkError as error:
            raise ApiError(
                410 if isinstance(error, ExpiredLinkError) else 403, str(error), _ELSEWHERE
            ) from None

    def _view(self, claim: Claim, alarm: Alarm) -> AlarmLinkView:
        return AlarmLinkView(
            self.site, claim.recipient, ms(claim.expires), alarm.state in _WAITS, alarm_view(alarm)
        )
