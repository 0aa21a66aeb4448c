"""What running simulators announce, fetched from their control interface for the console's banner."""

from __future__ import annotations

from collections.abc import Sequence

import aiohttp
import msgspec
import structlog

from console.ports import Announcement
from telemetry.clock import Clock, Pace, SystemClock

log = structlog.get_logger(__name__)

_EVERY_S = 1.0
_APART_S = 0.05
"""Real time by which the simulators' clock may be off before it is followed [s]."""
_SHOWN = 5


class _Entry(msgspec.Struct, frozen=True):
    t_ns: int
    text: str


class _Status(msgspec.Struct, frozen=True):
    announcements: list[_Entry] = []
    pace: Pace | None = None


class SimulatorAnnouncements:
    """:class:`console.ports.Announcements` of simulators at an address; none while they do not answer."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._current: tuple[Announcement, ...] = ()

    def announcements(self) -> Sequence[Announcement]:
        """The newest few, oldest first."""
        return self._current

    def ask(self, url: str) -> None:
        """Asks at another address from the next :meth:`run` on; not while one is under way."""
        self._url, self._current = url, ()

    @property
    def _speed(self) -> float:
        return self._clock.pace.speed if isinstance(self._clock, SystemClock) else 1.0

    def _follow(self, pace: Pace | None) -> None:
        """Takes over the simulators' time factor at the moment at which they change theirs."""
        if pace is None or not isinstance(self._clock, SystemClock):
            return
        ours = self._clock.upcoming
        apart_s = (pace.at(pace.epoch_ns) - ours.at(pace.epoch_ns)) / 1e9
        if pace.speed != ours.speed or abs(apart_s) > _APART_S * pace.speed:
            self._clock.set_pace(pace)
            log.warning("clock_follows_simulators", speed=pace.speed, apart_s=round(apart_s, 3))

    async def run(self) -> None:
        """Asks every real second until cancelled; returns at once when there is no address."""
        if not self._url:
            return
        answering = True
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while True:
                try:
                    async with session.get(f"{self._url}/api/v1/status") as response:
                        status = msgspec.json.decode(await response.read(), type=_Status)
                except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
                    if answering:
                        log.info("simulators_silent", url=self._url, reason=repr(error))
                    answering, self._current = False, ()
                else:
                    answering = True
                    self._follow(status.pace)
                    newest = status.announcements[-_SHOWN:]
                    self._current = tuple(Announcement(entry.t_ns, entry.text) for entry in newest)
                await self._clock.sleep(_EVERY_S * self._speed)
