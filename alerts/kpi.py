"""How well the alarms serve the people who get them: the indicators of ISA-18.2 and EEMUA 191. Pure.

Counted is what people are told of: raises of alarms that are not shelved, suppressed or out of service.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from alerts.alarms import HELD, Alarm, AlarmState, Priority
from alerts.lifecycle import Event
from ingest.ports import EventRecord

SECOND = 1_000_000_000
INTERVAL = 600 * SECOND
"""Rates are counted over so long [ns]."""
DAY = 86_400 * SECOND
KIND = "alarm_kpi"
"""Kind of the event records."""
ALL = "all"
"""Position of one person who sees every area."""

FLOOD_ABOVE, FLOOD_BELOW = 10, 5
"""A flood begins above so many alarms in ten minutes and ends below so many (EEMUA 191)."""
STALE = DAY
"""An alarm that stands longer is stale [ns]."""
_MOST = 100_000
"""Raises and acknowledgements of the last day that are remembered; beyond it the oldest are forgotten."""
_TOP = 10


@dataclass(frozen=True, slots=True)
class Talker:
    """A condition that is raised often."""

    key: str
    count: int
    share_pct: float
    """Of all raises of the day [%]."""


@dataclass(frozen=True, slots=True)
class Indicators:
    """The indicators of one position at one time; what is counted is counted over the last day."""

    position: str
    """Area, or ``all``."""
    at: int
    """[ns, UTC]."""
    last_10_min: int
    last_hour: int
    last_day: int
    peak_10_min: int
    """Most alarms in ten minutes of the last day."""
    in_flood: bool
    flood_pct: float
    """Time in flood [%]."""
    standing: int
    """Alarms that people are told of now."""
    unacknowledged: int
    stale: int
    """Standing for more than a day."""
    held: int
    """Shelved, suppressed or out of service now."""
    chattering: int
    """Conditions that chattered."""
    fleeting: int
    """Alarms that returned before anybody could act."""
    acknowledge_median_s: float | None
    """From the raise to the acknowledgement [s]."""
    acknowledge_p90_s: float | None
    priority_pct: dict[str, float] = field(default_factory=dict)
    """Shares of the priorities among the raises [%]."""
    top: tuple[Talker, ...] = ()
    """Conditions that were raised most often, worst first."""

    @property
    def top_share_pct(self) -> float:
        """Share of the ten worst conditions [%]."""
        return round(sum(talker.share_pct for talker in self.top), 1)

    def record(self) -> EventRecord:
        """For the stores."""
        fields: dict[str, float | int | str | bool] = {
            "last_10_min": self.last_10_min,
            "last_hour": self.last_hour,
            "last_day": self.last_day,
            "peak_10_min": self.peak_10_min,
            "in_flood": self.in_flood,
            "flood_pct": self.flood_pct,
            "standing": self.standing,
            "unacknowledged": self.unacknowledged,
            "stale": self.stale,
            "held": self.held,
            "chattering": self.chattering,
            "fleeting": self.fleeting,
            "top_share_pct": self.top_share_pct,
            "worst": self.top[0].key if self.top else "",
        }
        waited = {
            "acknowledge_median_s": self.acknowledge_median_s,
            "acknowledge_p90_s": self.acknowledge_p90_s,
        }
        fields |= {name: value for name, value in waited.items() if value is not None}
        fields |= {f"{priority}_pct": share for priority, share in self.priority_pct.items()}
        return EventRecord(KIND, f"{self.position}-{self.at}", self.at, {"position": self.position}, fields)


@dataclass(frozen=True, slots=True)
class _Raise:
    at: int
    key: str
    area: str
    priority: Priority
    chattering: bool


@dataclass(frozen=True, slots=True)
class _Lasted:
    at: int
    area: str
    seconds: float


class AlarmKpis:
    """Remembers a day of steps and counts.

    Parameters
    ----------
    fleeting_s
        An alarm that returns within this time is fleeting [s].

    """

    def __init__(self, fleeting_s: float = 10.0) -> None:
        self._fleeting_s = fleeting_s
        self._raises: deque[_Raise] = deque(maxlen=_MOST)
        self._acknowledged: deque[_Lasted] = deque(maxlen=_MOST)
        self._fleeting: deque[_Lasted] = deque(maxlen=_MOST)

    def take(self, event: Event, before: AlarmState, alarm: Alarm) -> None:
        """Notes one step of an alarm, in the order of time; ``alarm`` as it is after it."""
        if event is Event.RAISE and alarm.state is AlarmState.UNACKNOWLEDGED:
            raised = _Raise(alarm.updated_at, alarm.key, alarm.area, alarm.priority, alarm.chattering)
            self._raises.append(raised)
        elif event is Event.ACKNOWLEDGE and alarm.acknowledged_at is not None:
            seconds = max(0, alarm.acknowledged_at - alarm.raised_at) / SECOND
            self._acknowledged.append(_Lasted(alarm.acknowledged_at, alarm.area, seconds))
        elif event in {Event.CLEAR, Event.LATCH} and before not in HELD:
            seconds = (alarm.updated_at - alarm.raised_at) / SECOND
            if seconds < self._fleeting_s:
                self._fleeting.append(_Lasted(alarm.updated_at, alarm.area, seconds))

    def indicators(
        self, now: int, active: Sequence[Alarm], held: Sequence[Alarm], position: str = ALL
    ) -> Indicators:
        """The indicators of a position.

        Parameters
        ----------
        now
            [ns, UTC].
        active, held
            Alarms as they are now.
        position
            An area, or :data:`ALL`.

        """
        raises = [r for r in self._raises if now - DAY < r.at <= now and position in {ALL, r.area}]
        active = [alarm for alarm in active if position in {ALL, alarm.area}]
        day = len(raises)
        counts = Counter(r.key for r in raises)
        priorities = Counter(r.priority for r in raises)
        waited = sorted(self._recent(self._acknowledged, now, position))
        rates = _rates(now, [r.at for r in raises])
        floods = list(_floods(rates))
        return Indicators(
            position,
            now,
            last_10_min=rates[-1],
            last_hour=sum(rates[-6:]),
            last_day=day,
            peak_10_min=max(rates),
            in_flood=floods[-1],
            flood_pct=round(100 * sum(floods) / len(floods), 2),
            standing=len(active),
            unacknowledged=sum(alarm.acknowledged_at is None for alarm in active),
            stale=sum(now - alarm.raised_at > STALE for alarm in active),
            held=sum(position in {ALL, alarm.area} for alarm in held),
            chattering=len({r.key for r in raises if r.chattering}),
            fleeting=len(list(self._recent(self._fleeting, now, position))),
            acknowledge_median_s=round(median(waited), 1) if waited else None,
            acknowledge_p90_s=round(quantiles(waited, n=10)[-1], 1) if len(waited) > 1 else None,
            priority_pct={p.value: round(100 * priorities[p] / day, 1) for p in Priority} if day else {},
            top=tuple(Talker(key, n, round(100 * n / day, 1)) for key, n in counts.most_common(_TOP)),
        )

    def _recent(self, lasted: Iterable[_Lasted], now: int, position: str) -> Iterator[float]:
        return (e.seconds for e in lasted if now - DAY < e.at <= now and position in {ALL, e.area})


def _rates(now: int, raises: Iterable[int]) -> list[int]:
    """Raises in each ten minutes of the day before now, the last of them last."""
    rates = [0] * (DAY // INTERVAL)
    for at in raises:
        rates[-1 - (now - at) // INTERVAL] += 1
    return rates


def _floods(rates: Iterable[int]) -> Iterator[bool]:
    flood = False
    for rate in rates:
        flood = rate >= FLOOD_BELOW if flood else rate > FLOOD_ABOVE
        yield flood
