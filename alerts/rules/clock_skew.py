"""R17: a device's clock is wrong.

How long a reading is under way is not known, but devices behind one link share it: the median of what they
show is the link's latency, and what a device differs from it is its clock. A device's own median would learn
the skew. Readings that were stamped here, at receipt, say nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from alerts.alignment import SECOND
from alerts.heard import Heard
from alerts.rule_config import SkewRules
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing, level_of
from telemetry.batch import ReadingBatch
from telemetry.profiles import DeviceProfile
from telemetry.quality import Quality, usable
from telemetry.site import Site

RULE, VERSION = "R17", 1

_REMEMBERED = 9
"""Messages of a device whose median counts: one that was held up on its way is no skew."""
_FEWEST_PEERS = 3
"""With fewer devices behind a link that stamp by themselves, the configured latency stands for theirs."""
_SILENT = 30 * SECOND
"""Without a message for so long nothing is said of a clock [ns]."""
_HOUR_S, _NEAR_HOUR_S = 3600.0, 60.0


class ClockSkew:
    """R17 on every device that stamps by itself."""

    def __init__(self, site: Site, rules: SkewRules) -> None:
        self._subjects: list[Subject] = []
        self._limits: list[list[float]] = []
        self._timing: dict[str, Timing] = {}
        self._deadband: list[float] = []
        self._latency_s: list[float] = []
        links: list[str] = []
        points: dict[int, int] = {}
        for device in site.devices.values():
            settings = rules.of(device.id)
            if not (settings.enabled and device.enabled and _stamps(site.profiles[device.profile])):
                continue
            row = len(self._subjects)
            subject = Subject(RULE, VERSION, device.id, site.area_of(device.node))
            self._subjects.append(subject)
            self._limits.append([limit.above for limit in settings.limits])
            self._deadband.append(settings.deadband_pct / 100)
            self._latency_s.append(settings.latency_s)
            links.append(device.link)
            grades = tuple(Grade(limit.priority, limit.on_s) for limit in settings.limits)
            self._timing[subject.key] = Timing(grades, settings.off_s)
            points |= {point.index: row for point in site.points_of(device.id)}
        self._row_of = np.full(max(points, default=-1) + 1, -1, np.int64)
        self._row_of[list(points)] = list(points.values())
        self._peers = [
            np.array([i for i, link in enumerate(links) if link == one]) for one in dict.fromkeys(links)
        ]
        self.forget()

    def forget(self) -> None:
        """Forgets what was received, for example after the wall clock was stepped back."""
        count = len(self._subjects)
        self._age_s = np.full((count, _REMEMBERED), np.nan)
        self._next = np.zeros(count, np.int64)
        self._heard_at = np.zeros(count, np.int64)

    @property
    def keys(self) -> set[str]:
        """Every condition that this rule can raise."""
        return set(self._timing)

    def timing(self, key: str) -> Timing:
        """Grades and delays of a condition."""
        return self._timing[key]

    def observe(self, batch: ReadingBatch | Heard) -> None:
        """Notes how old the newest reading of each device was at receipt."""
        take = (batch.point < len(self._row_of)) & usable(batch.quality)
        take &= (batch.quality != Quality.RECEIPT_STAMPED) & (batch.quality != Quality.RETAINED)
        rows = self._row_of[batch.point[take].astype(np.int64)]
        used = rows >= 0
        t, received = batch.t_source[take][used], np.broadcast_to(batch.t_received, len(batch))[take][used]
        if not len(t):
            return
        devices, of = np.unique(rows[used], return_inverse=True)
        youngest_s = np.full(len(devices), np.inf)
        np.minimum.at(youngest_s, of, (received - t) / SECOND)
        self._age_s[devices, self._next[devices] % _REMEMBERED] = youngest_s
        self._next[devices] += 1
        self._heard_at[devices] = received.max()

    def findings(self, now: int, open_keys: Collection[str]) -> Iterator[Finding]:
        """Clocks that are wrong, and what is to be said of open conditions.

        Parameters
        ----------
        now
            Wall time [ns, UTC].
        open_keys
            Conditions with an alarm or a running delay.

        """
        known = (self._next >= _REMEMBERED) & (now - self._heard_at <= _SILENT)
        ages = np.full(len(known), np.nan)
        ages[known] = np.median(self._age_s[known], axis=1)
        for peers in self._peers:
            judged = peers[known[peers]]
            enough = len(judged) >= _FEWEST_PEERS
            shared = float(np.median(ages[judged])) if enough else float("nan")
            for row in judged.tolist():
                usual = shared if enough else self._latency_s[row]
                skew_s = usual - float(ages[row])
                near = abs(skew_s) > self._limits[row][0] * (1 - self._deadband[row])
                if near or self._subjects[row].key in open_keys:
                    yield self._finding(row, now, skew_s, usual)
        for row in np.flatnonzero(~known).tolist():
            if self._subjects[row].key in open_keys:
                yield self._subjects[row].unknown(now, f"{self._subjects[row].asset} is silent")

    def _finding(self, row: int, now: int, skew_s: float, usual: float) -> Finding:
        limits = self._limits[row]
        level, held = level_of(abs(skew_s), limits, self._deadband[row])
        limit = limits[max(level, 1) - 1]
        heard_at = int(self._heard_at[row])
        return Finding(
            self._subjects[row],
            now,
            level,
            held,
            abs(skew_s),
            limit,
            "s",
            t_source=heard_at,
            t_received=heard_at,
            texts=self._texts(row, skew_s, usual, limit) if held else None,
        )

    def _texts(self, row: int, skew_s: float, usual: float, limit: float) -> Texts:
        device, sense = self._subjects[row].asset, "ahead" if skew_s > 0 else "behind"
        hours = round(abs(skew_s) / _HOUR_S)
        zone = hours >= 1 and abs(abs(skew_s) - hours * _HOUR_S) <= _NEAR_HOUR_S
        cause = (
            f"its time zone or daylight saving is off by {hours} h (Kazakhstan moved to UTC+5 in 2024)."
            if zone
            else "it is not synchronised, or it stamps at another moment than its peers."
        )
        return Texts(
            f"{device}: its clock is {_span(skew_s)} {sense}",
            f"The stamps of {device} are {_span(skew_s)} {sense} those of its link's other devices: {cause}",
            "While power changes, what it says is compared with what others said at another time: a skew of "
            "5 s on a ramp of 50 MW/min looks like 4.2 MW.",
            f"1. Check the time server and the time zone of {device}. 2. Until then do not trust balances "
            "that use it while power ramps.",
            {
                "Skew [s]": round(skew_s, 2),
                "Usual latency of its link [s]": round(usual, 2),
                "Limit [s]": round(limit, 2),
            },
        )


def _stamps(profile: DeviceProfile) -> bool:
    """Readings carry the device's own time; those of Modbus are stamped here."""
    payload = profile.json_payload
    return profile.by_exception or (payload is not None and payload.time_field is not None)


def _span(seconds: float) -> str:
    span = abs(seconds)
    return f"{span / _HOUR_S:.1f} h" if span >= _HOUR_S / 2 else f"{span:.1f} s"
