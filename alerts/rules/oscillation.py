"""R23 on a tie: its flow oscillates between areas with little damping.

The band of inter-area modes reaches to 0.8 Hz. A flow that is read less often than ``samples_per_cycle``
times per cycle of it cannot be judged: at once a second, as most meters are read, 0.7 Hz looks like 0.3 Hz
and has another damping ratio. The catalogue does not build the rule there, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alerts.alignment import SECOND, Snapshot
from alerts.operation_config import DynamicsSettings
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing
from alerts.rules.ringdown import Mode, dominant_mode

_GAP = 2.5
"""Two readings further apart than so many periods do not belong to one window."""
_CLEAR_PCT = 100.0
"""Lack of damping [%] that stands for a flow that does not oscillate."""


class OscillationRule:
    """R23 on one AC tie: damping ratio of the dominant mode of its flow.

    Parameters
    ----------
    subject
        Rule and tie.
    power
        Point of its flow.
    period_s
        Time between two readings of it [s].
    limit_mw
        Transfer limit of the tie [MW].
    settings
        Band, damping and amplitude.

    """

    def __init__(
        self, subject: Subject, power: int, period_s: float, limit_mw: float, settings: DynamicsSettings
    ) -> None:
        self.subject = subject
        self.inputs: Sequence[int] = (power,)
        self.timing = Timing(
            (
                Grade(settings.damping_priority, settings.damping_on_s),
                Grade(settings.growing_priority, settings.growing_on_s),
            ),
            settings.off_s,
        )
        self._power = power
        self._period_s = period_s
        self._least_mw = settings.least_pct / 100 * limit_mw
        self._settings = settings
        self._t: NDArray[np.int64] = np.empty(0, np.int64)
        self._p: NDArray[np.float64] = np.empty(0)

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the window that ends at the instant."""
        at, subject, settings = snapshot.instant, self.subject, self._settings
        leg = snapshot.leg(self._power)
        if not leg.usable:
            self._forget()
            return subject.unknown(at, f"leg {subject.asset} is {leg.fault.replace('_', ' ')}")
        self._extend(snapshot)
        if len(self._t) < 2 or (self._t[-1] - self._t[0]) / SECOND < 0.9 * settings.window_s:
            return subject.early(at, "its window is not filled yet")
        mode = self._mode()
        lack = 0.0 if mode is None else settings.damping_pct - 100 * mode.damping
        held = mode is not None and lack > -settings.damping_deadband_pct
        level = 0 if mode is None else (lack > 0) + (mode.damping < 0)
        return Finding(
            subject,
            at,
            level,
            max(level, int(held)),
            100 * mode.damping if mode is not None else _CLEAR_PCT,
            0.0 if level > 1 else settings.damping_pct,
            "%",
            leg.label,
            at,
            leg.t_received,
            texts=self._texts(mode) if mode is not None and held else None,
        )

    def _extend(self, snapshot: Snapshot) -> None:
        """Takes the readings since the last instant; a gap, or one that is bad, begins the window anew."""
        at = snapshot.instant
        span = round(self._settings.window_s * SECOND)
        if len(self._t) and not self._t[-1] <= at <= self._t[-1] + span:
            self._forget()
        since = int(self._t[-1]) if len(self._t) else at - span
        t, p = snapshot.readings(self._power, since)
        t, p = np.concatenate([self._t, t]), np.concatenate([self._p, p])
        breaks = np.flatnonzero(np.diff(t) > _GAP * self._period_s * SECOND) + 1
        bad = np.flatnonzero(np.isnan(p)) + 1
        begin = max((int(each[-1]) for each in (breaks, bad) if len(each)), default=0)
        begin = max(begin, int(np.searchsorted(t, at - span)))
        self._t, self._p = t[begin:], p[begin:]

    def _mode(self) -> Mode | None:
        """The dominant mode, if it is large enough to matter."""
        if np.ptp(self._p) < 2 * self._least_mw:
            return None
        seconds = (self._t - self._t[0]) / SECOND
        grid = np.arange(0.0, seconds[-1], self._period_s)
        samples = np.interp(grid, seconds, self._p)
        settings = self._settings
        mode = dominant_mode(samples, self._period_s, settings.lowest_hz, settings.highest_hz)
        return mode if mode is not None and mode.amplitude > self._least_mw else None

    def _forget(self) -> None:
        self._t, self._p = self._t[:0], self._p[:0]

    def _texts(self, mode: Mode) -> Texts:
        tie, pct = self.subject.asset, 100 * mode.damping
        grows = mode.damping < 0
        return Texts(
            title=f"{tie}: flow swings {mode.amplitude:.0f} MW at {mode.frequency_hz:.2f} Hz, "
            f"{'growing' if grows else f'damping {pct:.1f} %'}",
            cause=f"The areas at both ends of {tie} swing against each other at {mode.frequency_hz:.2f} Hz "
            f"and the swing {'grows' if grows else 'hardly decays'}: long lines carry much, a parallel path "
            "was lost, or a stabiliser is off.",
            consequence="A swing that grows trips lines by their distance protection and splits the grid.",
            response=f"1. Reduce the flow over {tie}. 2. Ask the plants nearby whether their power system "
            "stabilisers are in service. 3. Put parallel circuits back; undo what was switched just before.",
            evidence={
                "Frequency of the mode [Hz]": round(mode.frequency_hz, 3),
                "Damping [%]": round(pct, 1),
                "Limit [%]": self._settings.damping_pct,
                "Amplitude [MW]": round(mode.amplitude, 1),
                "Part of the signal explained [%]": round(100 * mode.share),
                "Time between readings [s]": self._period_s,
            },
        )
