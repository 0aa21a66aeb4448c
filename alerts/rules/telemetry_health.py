"""R13: devices and links that no longer deliver, and clocks that stand still.

A periodic point is stale when nothing fresh was received for max(3 x period, 5 s). One cause is one alarm: if
every device of a link is stale, or most of many, the link is reported and they are not, and if every link
is, the telemetry as a whole is. A point that is reported by exception (Sparkplug) is silent while it does not
change; it is stale when its source says so, which watches over the session: a message out of turn is a doubt
about values, not a loss. Whether a formula may still use a point is not decided here but by its quality
(:mod:`alerts.alignment`): a stale input makes a rule indeterminate, never false.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alerts.alarms import Priority
from alerts.alignment import SECOND, stale_after_s
from alerts.config import HealthRules
from alerts.heard import Heard
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing
from telemetry.batch import ReadingBatch
from telemetry.devices import Device
from telemetry.quality import Quality, reason_of
from telemetry.site import Site

RULE, VERSION = "R13", 1
WHOLE = "telemetry"
"""Asset of the alarm that stands for all links at once."""

_MANY_DEVICES = 5
"""Behind a link of so many devices, the silence of more than half is taken for one cause."""

_LINKS_FOR_WHOLE = 3
"""With fewer links, all of them being silent is not one cause."""

_BIRTH_S = 60.0
"""A point that is reported by exception and was not heard for so long after the start is stale [s]."""

_NOT_FRESH = np.zeros(256, np.bool_)
_NOT_FRESH[
    [
        Quality.STALE,
        Quality.LINK_LOST,
        Quality.DEVICE_TIMEOUT,
        Quality.DEVICE_REFUSED,
        Quality.PROTOCOL_DOUBT,
        Quality.RETAINED,
    ]
] = True
"""Readings that only tell of a failed attempt, or whose age is unknown."""


@dataclass(frozen=True, slots=True)
class _Watched:
    """One device and where its points stand in the columns."""

    device: Device
    subject: Subject
    first: int
    count: int
    limit_s: float

    @property
    def rows(self) -> slice:
        """Its points in the columns."""
        return slice(self.first, self.first + self.count)


@dataclass(slots=True)
class _State:
    """How a device stands at one moment."""

    stale: int = 0
    waiting: int = 0
    frozen: int = 0
    age_s: float = 0.0
    frozen_s: float = 0.0


class TelemetryHealth:
    """R13 on every device and link of a site."""

    def __init__(self, site: Site, rules: HealthRules) -> None:
        self._timing: dict[str, Timing] = {}
        self._links: dict[str, list[_Watched]] = {}
        self._link_subjects: dict[str, Subject] = {}
        points: list[int] = []
        for link, devices in site.links.items():
            watched = []
            for device in devices:
                settings = rules.of(device.id)
                if not settings.enabled:
                    continue
                indices = [point.index for point in site.points_of(device.id)]
                first = len(points)
                points += indices
                subject = Subject(RULE, VERSION, device.id, site.area_of(device.node))
                limit_s = stale_after_s(site.profiles[device.profile].period_s)
                watched.append(_Watched(device, subject, first, len(indices), limit_s))
                self._timing[subject.key] = Timing(
                    (
                        Grade(settings.point_priority, settings.on_s),
                        Grade(settings.device_priority, settings.on_s),
                    ),
                    settings.off_s,
                )
            settings = rules.of(link)
            if watched and settings.enabled:
                areas = {w.subject.area for w in watched}
                subject = Subject(RULE, VERSION, link, areas.pop() if len(areas) == 1 else "")
                self._link_subjects[link] = subject
                self._timing[subject.key] = _one_grade(settings.link_priority, settings.on_s, settings.off_s)
            self._links[link] = watched
        self._whole = Subject(RULE, VERSION, WHOLE, "")
        self._timing[self._whole.key] = _one_grade(rules.link_priority, rules.on_s, rules.off_s)
        self._row_of = np.full(max(points, default=-1) + 1, -1, np.int64)
        self._row_of[points] = np.arange(len(points))
        self._limit = np.zeros(len(points), np.int64)
        self._by_exception = np.zeros(len(points), np.bool_)
        for watched in self._links.values():
            for entry in watched:
                self._limit[entry.rows] = round(entry.limit_s * SECOND)
                self._by_exception[entry.rows] = site.profiles[entry.device.profile].by_exception
        self._started = 0
        self.forget()

    def forget(self) -> None:
        """Forgets what was received, for example after the wall clock was stepped back."""
        count = len(self._limit)
        self._fresh_at = np.zeros(count, np.int64)
        self._source = np.zeros(count, np.int64)
        self._advanced_at = np.zeros(count, np.int64)
        self._last_quality = np.zeros(count, np.uint8)
        self._lost_at = np.zeros(count, np.int64)
        """Receipt of the first of the latest readings that only tell of a loss; 0 after a fresh one."""

    def start(self, now: int) -> None:
        """Begins to judge: what was never received from now on counts from now [ns, UTC]."""
        self._started = now

    def resume(self, last_received: Mapping[str, int]) -> None:
        """Takes over since when open conditions have been silent, so that a restart does not make them young.

        Parameters
        ----------
        last_received
            Newest receipt [ns, UTC] by condition; it counts for points of which nothing newer is known.

        """
        for link, watched in self._links.items():
            subject = self._link_subjects.get(link, self._whole)
            for entry in watched:
                keys = (entry.subject.key, subject.key, self._whole.key)
                received = next((last_received[key] for key in keys if key in last_received), 0)
                heard, lost = self._fresh_at[entry.rows], self._lost_at[entry.rows]
                unheard = heard == 0
                heard[unheard] = received
                if received:
                    lost[unheard] = received

    @property
    def keys(self) -> set[str]:
        """Every condition that this rule can raise."""
        return set(self._timing)

    def timing(self, key: str) -> Timing:
        """Grades and delays of a condition."""
        return self._timing[key]

    def observe(self, batch: ReadingBatch | Heard) -> None:
        """Notes what was received."""
        known = batch.point < len(self._row_of)
        rows = self._row_of[batch.point[known].astype(np.int64)]
        used = rows >= 0
        rows, quality, t = rows[used], batch.quality[known][used], batch.t_source[known][used]
        received = np.broadcast_to(batch.t_received, len(batch))[known][used]
        # out of turn, but heard: of what is reported by exception only the session tells whether it is lost
        doubts = self._by_exception[rows] & (quality == Quality.PROTOCOL_DOUBT)
        if doubts.any():
            sure = ~doubts
            rows, quality, t, received = rows[sure], quality[sure], t[sure], received[sure]
        self._last_quality[rows] = quality
        lost = _NOT_FRESH[self._last_quality[rows]]
        before = self._lost_at[rows]
        self._lost_at[rows] = np.where(lost, np.where(before > 0, before, received), 0)
        fresh = ~_NOT_FRESH[quality]
        rows, t, received = rows[fresh], t[fresh], received[fresh]
        self._fresh_at[rows] = np.maximum(self._fresh_at[rows], received)
        # a clock that was set back stands no more still than one that goes on
        moved = t != self._source[rows]
        self._advanced_at[rows[moved]] = received[moved]
        self._source[rows] = t

    def findings(self, now: int, open_keys: Collection[str] = ()) -> Iterator[Finding]:
        """What is wrong now [ns, UTC], and how the conditions stand that are open already."""
        silent = now - np.maximum(self._fresh_at, self._started) > self._limit
        # what holds without a word holds over the start too
        unheard = self._fresh_at < np.where(self._by_exception, 1, self._started)
        unborn = unheard & (now - self._started > _BIRTH_S * SECOND)
        stale = np.where(self._by_exception, (self._lost_at > 0) | unborn, silent)
        waiting = ~stale & unheard
        standing = self._fresh_at - self._advanced_at > self._limit
        # what an edge node kept comes late, without a sign that its clock stands still
        frozen = ~stale & ~waiting & ~self._by_exception & standing
        if not open_keys and not (stale.any() or waiting.any() or frozen.any()):
            return
        states = {
            entry.device.id: self._state(entry, now, stale, waiting, frozen)
            for watched in self._links.values()
            for entry in watched
        }
        down = {
            link
            for link, watched in self._links.items()
            if link in self._link_subjects and _one_cause(watched, states)
        }
        whole = len(down) >= _LINKS_FOR_WHOLE and len(down) == len(self._link_subjects)
        if whole or self._whole.key in open_keys:
            yield self._judged_whole(now, whole, states)
        for link, watched in self._links.items():
            subject = self._link_subjects.get(link)
            if subject is not None and (link in down or subject.key in open_keys):
                if whole:
                    yield subject.unknown(now, "no link delivers")
                else:
                    yield self._judged_link(subject, now, watched, states, link in down)
            for entry in watched:
                state = states[entry.device.id]
                calm = not (state.stale or state.waiting or state.frozen)
                if calm and entry.subject.key not in open_keys:
                    continue
                if link in down and _silent(entry, states):
                    yield entry.subject.unknown(now, f"link {link} is down")
                elif state.waiting:
                    yield entry.subject.unknown(now, f"{entry.device.id} was not heard since the start yet")
                else:
                    yield self._judged_device(entry, state, now)

    def _state(
        self,
        entry: _Watched,
        now: int,
        stale: NDArray[np.bool_],
        waiting: NDArray[np.bool_],
        frozen: NDArray[np.bool_],
    ) -> _State:
        rows = entry.rows
        lost = self._by_exception[rows] & (self._lost_at[rows] > 0)
        heard = np.where(lost, self._lost_at[rows], self._fresh_at[rows])
        ages = now - np.where(heard > 0, heard, self._started)
        frozen_s = (self._fresh_at[rows] - self._advanced_at[rows])[frozen[rows]]
        return _State(
            int(stale[rows].sum()),
            int(waiting[rows].sum()),
            int(frozen[rows].sum()),
            float(ages.max(initial=0)) / SECOND,
            float(frozen_s.max(initial=0)) / SECOND,
        )

    def _judged_device(self, entry: _Watched, state: _State, now: int) -> Finding:
        count, name = entry.count, entry.device.id
        if state.stale == count:
            level, age_s = 2, state.age_s
            title = f"{name}: no readings for {age_s:.0f} s"
            cause = f"{name} at {entry.device.node} does not answer or publish: it is off, faulty or cut off."
        elif state.stale:
            level, age_s = 1, state.age_s
            title = f"{name}: {state.stale} of {count} points without readings for {age_s:.0f} s"
            cause = f"{name} answers, but not for all of its points: a wrong register map or a partial fault."
        elif state.frozen:
            level, age_s = 1, state.frozen_s
            title = f"{name}: its clock stands still for {age_s:.0f} s"
            cause = f"{name} keeps sending, but with the same time stamp: its clock or its gateway hangs."
        else:
            level, age_s, title, cause = 0, state.age_s, "", ""
        texts = Texts(
            title,
            cause,
            f"Rules that need {name} are indeterminate: no alarm from them, and no all-clear.",
            f"1. Look at the state of {name} and of the link {entry.device.link}. "
            "2. Send the telecontrol engineer; until then use the check meter or the other end.",
            self._evidence([entry], age_s),
        )
        return self._finding(entry.subject, now, level, age_s, watched=[entry], texts=texts)

    def _judged_link(
        self, subject: Subject, now: int, watched: Sequence[_Watched], states: dict[str, _State], down: bool
    ) -> Finding:
        if not down and any(states[entry.device.id].waiting for entry in watched):
            return subject.unknown(now, f"not every device of {subject.asset} was heard since the start yet")
        silent = [entry for entry in watched if _silent(entry, states)] or watched
        age_s = min(states[entry.device.id].age_s for entry in silent)
        devices = "1 device" if len(watched) == 1 else f"{len(watched)} devices"
        if len(silent) < len(watched):
            devices = f"{len(silent)} of {devices}"
        nodes = ", ".join(sorted({entry.device.node for entry in silent}))
        texts = Texts(
            f"Link {subject.asset} is down: {devices} silent for {age_s:.0f} s",
            f"The gateway or broker of {subject.asset} is off or refuses, or the way to it is cut.",
            f"What this link measures at {nodes} is missing; rules that need it are indeterminate.",
            "1. Check the gateway or broker and the telecommunication line. "
            "2. Ask the station by telephone for the flows meanwhile.",
            self._evidence(watched, age_s),
        )
        return self._finding(subject, now, int(down), age_s, watched=watched, texts=texts)

    def _judged_whole(self, now: int, whole: bool, states: dict[str, _State]) -> Finding:
        everything = [entry for watched in self._links.values() for entry in watched]
        age_s = min(states[entry.device.id].age_s for entry in everything)
        texts = Texts(
            f"No telemetry: all {len(self._link_subjects)} links silent for {age_s:.0f} s",
            "No link delivers anything: this machine's network is cut, or readings cannot be stored.",
            "The corridor is not observed. No rule can raise an alarm or give the all-clear.",
            "1. Check the network and the disk of this machine. 2. Work by telephone until data return.",
            self._evidence(everything, age_s),
        )
        return self._finding(self._whole, now, int(whole), age_s, watched=everything, texts=texts)

    def _finding(
        self,
        subject: Subject,
        now: int,
        level: int,
        age_s: float,
        *,
        watched: Sequence[_Watched],
        texts: Texts,
    ) -> Finding:
        rows = np.concatenate([np.arange(entry.first, entry.first + entry.count) for entry in watched])
        return Finding(
            subject,
            now,
            level,
            level,
            age_s,
            max(entry.limit_s for entry in watched),
            "s",
            Quality.STALE.reason if level else "good",
            int(self._source[rows].max(initial=0)) or self._started,
            int(self._fresh_at[rows].max(initial=0)) or self._started,
            texts=texts if level else None,
        )

    def _evidence(self, watched: Sequence[_Watched], age_s: float) -> dict[str, float | str]:
        qualities = np.concatenate([self._last_quality[entry.rows] for entry in watched])
        reasons = sorted({reason_of(int(code)) for code in qualities[_NOT_FRESH[qualities]]})
        evidence: dict[str, float | str] = {
            "Silent for [s]": round(age_s),
            "Reported": ", ".join(reasons).replace("_", " ") or "nothing",
        }
        if len(watched) > 1:
            evidence["Devices"] = ", ".join(entry.device.id for entry in watched)
        return evidence


def _one_grade(priority: Priority, on_s: float, off_s: float) -> Timing:
    return Timing((Grade(priority, on_s),), off_s)


def _one_cause(watched: Sequence[_Watched], states: Mapping[str, _State]) -> bool:
    """Silence of a whole link, or of most devices of a larger one: one cause, one alarm."""
    silent = sum(_silent(entry, states) for entry in watched)
    return silent == len(watched) or (len(watched) >= _MANY_DEVICES and 2 * silent > len(watched))


def _silent(entry: _Watched, states: Mapping[str, _State]) -> bool:
    return states[entry.device.id].stale == entry.count
