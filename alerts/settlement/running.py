"""An interval that is still open: its energy so far and what it will be at its end; pure.

II = integral of (P - S) dt since the begin; II_end = II + mean over 5 min of (P - S) x time left (rule R3 of
the catalogue). The energy so far is that of the counters; the mean is of the power.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alerts.schedules import ScheduleBook
from alerts.settlement.accounts import Accounts, Border
from alerts.settlement.curve import Readings
from alerts.settlement.interval import LENGTHS, MINUTE, AccountKind, begin_of
from alerts.settlement.settle import Meter

SECOND = 1_000_000_000
MEAN = 5 * MINUTE
"""Time over which the present deviation is averaged [ns]."""
COVERAGE = 0.8
"""Part of the time so far, and of the mean, that must have been measured."""


@dataclass(frozen=True, slots=True)
class Running:
    """An open interval of a tie or area at an instant; energies [MWh] with the sign of the schedule."""

    account: str
    kind: AccountKind
    area: str
    minutes: int
    start: int
    """[ns, UTC]."""
    at: int
    """The instant [ns, UTC]."""
    scheduled_mwh: float
    """Of the whole interval."""
    throughput_mwh: float
    """What is scheduled over all its ties, whatever the direction."""
    metered_mwh: float | None
    """So far; None is not known."""
    inadvertent_mwh: float | None
    """So far."""
    mean_mw: float | None
    """Mean deviation of the last five minutes [MW]."""
    projected_mwh: float | None
    """Inadvertent energy at the end, if it goes on like that."""
    completeness_pct: float
    """Part of the time so far that was measured [%]."""
    fault: str = ""
    """Why nothing can be said: ``SHY-TAS: 40 % of the interval was measured``; empty when something can."""

    @property
    def end(self) -> int:
        """[ns, UTC]."""
        return self.start + self.minutes * MINUTE


def running(
    accounts: Accounts, schedules: ScheduleBook, readings: Mapping[int, Readings], at: int
) -> list[Running]:
    """The open intervals of every tie and area.

    Parameters
    ----------
    accounts
        What there is to settle.
    schedules
        What was agreed.
    readings
        By point, from a few minutes before the begin of the hour on.
    at
        The instant; what was measured up to it must have come [ns, UTC].

    """
    meters = {a.tie.id: Meter(a.delivery, readings) for a in accounts.ties if a.delivery is not None}
    found = []
    for minutes in LENGTHS:
        start = begin_of(at, minutes)
        at_work = _Open(schedules, meters, start, minutes, at)
        found += [
            at_work.of(a.tie.id, AccountKind.TIE, a.tie.from_area, Border(((a.tie.id, 1),)))
            for a in accounts.ties
        ]
        found += [at_work.of(a.area, AccountKind.AREA, a.area, a.border) for a in accounts.areas]
    return found


class _Open:
    """The open intervals of one length."""

    def __init__(
        self, schedules: ScheduleBook, meters: Mapping[str, Meter], start: int, minutes: int, at: int
    ) -> None:
        self._schedules = schedules
        self._start, self._minutes, self._at = start, minutes, at
        self._end = start + minutes * MINUTE
        self._energies = {tie: meter.energy(start, at) for tie, meter in meters.items()}
        self._recent = {tie: meter.by_power(at - MEAN, at) for tie, meter in meters.items()}

    def of(self, account: str, kind: AccountKind, area: str, border: Border) -> Running:
        scheduled = self._agreed(border, self._start, self._end)
        agreed = [self._schedules.of(tie).energy_mwh(self._start, self._end) for tie, _ in border.ties]
        gross = sum(map(abs, agreed))
        so_far_s = (self._at - self._start) / SECOND
        fault, covered = self._covered(border, so_far_s)
        if fault:
            pct = round(100 * covered, 1)
            return Running(
                *(account, kind, area, self._minutes, self._start, self._at, scheduled, gross),
                *(None, None, None, None, pct, fault),
            )
        metered = sum(sign * (self._energies[tie].mwh or 0.0) for tie, sign in border.ties)
        inadvertent = metered - self._agreed(border, self._start, self._at)
        mean = self._mean(border)
        left_h = (self._end - self._at) / SECOND / 3600
        return Running(
            *(account, kind, area, self._minutes, self._start, self._at, scheduled, gross),
            *(metered, inadvertent, mean, inadvertent + mean * left_h, round(100 * covered, 1)),
        )

    def _agreed(self, border: Border, start: int, end: int) -> float:
        return sum(sign * self._schedules.of(tie).energy_mwh(start, end) for tie, sign in border.ties)

    def _covered(self, border: Border, so_far_s: float) -> tuple[str, float]:
        """Why an account cannot be judged, and the part of the time that was measured."""
        covered = 1.0
        for tie, _ in border.ties:
            if tie not in self._energies:
                return f"{tie} has no main meter at its delivery node", 0.0
            part = self._energies[tie].measured_s / so_far_s if so_far_s > 0 else 0.0
            recent = self._recent[tie][1] * SECOND / MEAN
            covered = min(covered, part)
            if part < COVERAGE:
                return f"{tie}: only {100 * part:.0f} % of the interval so far was measured", covered
            if recent < COVERAGE:
                return f"{tie}: only {100 * recent:.0f} % of the last five minutes was measured", covered
        return "", covered

    def _mean(self, border: Border) -> float:
        """Mean deviation of the last five minutes [MW]."""
        total = -self._agreed(border, self._at - MEAN, self._at)
        for tie, sign in border.ties:
            mwh, measured_s = self._recent[tie]
            total += sign * mwh * MEAN / SECOND / measured_s
        return total / (MEAN / SECOND / 3600)
