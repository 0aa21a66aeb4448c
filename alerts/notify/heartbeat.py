"""What leaves again and again while alarms are judged, so that its silence pages: a dead-man's heartbeat."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
import structlog

from alerts.notify.channel import RefusedError
from alerts.notify.config import Heartbeat
from alerts.notify.outbox import PART
from alerts.notify.posting import post
from alerts.notify.signing import request_headers
from ingest.ports import Ailment
from telemetry.backoff import Backoff
from telemetry.clock import Clock
from telemetry.errors import UnavailableError

_log = structlog.get_logger(__name__)

_SECOND = 1_000_000_000
_FIRST_RETRY_S = 1.0


class Beat:
    """Sends something at a pace; what could not be sent is not repeated, the next one follows sooner.

    Parameters
    ----------
    name
        For logs and ailments: ``heartbeat``.
    every_s
        Time between two [s].
    send
        Sends one; told the wall time [ns, UTC].
    clock
        Time.

    """

    def __init__(
        self, name: str, every_s: float, send: Callable[[int], Awaitable[None]], clock: Clock
    ) -> None:
        self._name = name
        self._every_s = every_s
        self._send = send
        self._clock = clock
        self._failing_since: int | None = None
        self._last_error = ""

    async def run(self) -> None:
        """Sends until cancelled."""
        backoff = Backoff(min(_FIRST_RETRY_S, self._every_s), self._every_s)
        while True:
            now = self._clock.now_ns()
            try:
                await self._send(now)
            except (UnavailableError, RefusedError) as error:
                self._failing_since = self._failing_since or now
                self._last_error = str(error)
                pause = backoff.next()
                _log.warning("beat_failed", name=self._name, retry_in_s=round(pause, 1), error=str(error))
            else:
                backoff.reset()
                self._failing_since, self._last_error = None, ""
                pause = self._every_s
            await self._clock.sleep(pause)

    def ailments(self) -> list[Ailment]:
        """That it has failed for longer than it may be missing once."""
        since = self._failing_since
        if since is None or self._clock.now_ns() - since < self._every_s * _SECOND:
            return []
        return [Ailment(f"{PART}/{self._name}", "failing", self._last_error, since)]


class Pulse:
    """The heartbeat to one address: a JSON document, signed if there is a key.

    Parameters
    ----------
    settings
        The table.
    site
        Name of the site.
    key
        Signs it; None without one.
    clock
        Time.
    judging
        Whether alarms are judged; otherwise it is withheld.

    """

    def __init__(
        self, settings: Heartbeat, site: str, key: bytes | None, clock: Clock, judging: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._site = site
        self._key = key
        self._judging = judging
        self.beat = Beat("heartbeat", settings.every_s, self._send, clock)
        """Sends it."""

    async def _send(self, now: int) -> None:
        if not self._judging():
            _log.error("heartbeat_withheld", reason="alarms are not judged")
            return
        body = msgspec.json.encode({"site": self._site, "at": now, "every_s": self._settings.every_s})
        headers = {}
        if self._key is not None:
            headers = request_headers(self._key, f"heartbeat-{now}", body, now)
        await post("heartbeat", self._settings.url, body, headers, self._settings.timeout_s)
