"""Settles an interval: energies of every account from readings and schedules; pure.

Metered energy is the difference of the counters. Where they say nothing, because they were reset, exchanged
or silent, the check meter or the integral of the power stands in, and the quality says so.

Contracts share their ties with other business. What a tie carried is attributed to a contract in proportion
to its part of what was scheduled over its entry, or its exit, in the interval: pro rata, an assumption of the
model and illustrative.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from alerts.schedules import ScheduleBook
from alerts.settlement.accounts import Accounts, AreaAccount, Border, ContractAccount, Metering, TieAccount
from alerts.settlement.curve import Curve, Readings, of_counter, of_power
from alerts.settlement.interval import MINUTE, AccountKind, EnergyQuality, Interval

SECOND = 1_000_000_000
BRIDGE_S = 7200.0
"""Longest gap of a counter that is split over its time; of a longer one nobody knows the course [s]."""
MARGIN = round(BRIDGE_S) * SECOND
"""Readings of so long before and after an interval take part in it [ns]."""
_BLIND = (EnergyQuality.INCOMPLETE, EnergyQuality.MISSING)
_TOLERANCE_S = 0.01
"""Time that may lack [s]: rounding."""


class Energy(NamedTuple):
    """Metered energy between two times."""

    mwh: float | None
    """None is not known."""
    measured_s: float
    quality: EnergyQuality


class Meter:
    """The energy through one meter over a stretch of time, from its readings in it and around it.

    Where its counters say nothing, those of its check meter stand in, then the integral of its own power,
    then that of the check meter's power.
    """

    def __init__(self, metering: Metering, readings: Mapping[int, Readings]) -> None:
        def of(point: int | None) -> Readings:
            return Readings.none() if point is None else readings.get(point, Readings.none())

        m = metering
        self._exported, self._imported = (
            of_counter(of(point), m.limit_mw, m.gap_s, BRIDGE_S, m.modulus_mwh)
            for point in (m.exported, m.imported)
        )
        self._power = of_power(of(m.power), m.gap_s)
        self._check = None if m.check is None else Meter(m.check, readings)

    def energy(self, start: int, end: int) -> Energy:
        """Energy out of the busbar between two times [ns, UTC]."""
        out, into = self._exported.share(start, end), self._imported.share(start, end)
        net = out.plus(into, -1.0)
        if net.unknown_s <= _TOLERANCE_S:
            quality = EnergyQuality.BRIDGED if net.bridged_s > _TOLERANCE_S else EnergyQuality.COUNTER
            return Energy(net.mwh, min(net.measured_s, (end - start) / SECOND), quality)
        counted = self._counted([(start, end)])
        by_check = _Filled(0.0, 0.0, 0.0, counted.holes)
        if self._check is not None:
            by_check = self._check._counted(counted.holes)
        by_power = _filled([self._power], by_check.holes)
        if self._check is not None:
            last = _filled([self._check._power], by_power.holes)
            by_check, by_power = by_check.plus(last), by_power._replace(holes=last.holes)
        parts = (counted, by_check, by_power)
        known_s = sum(part.covered_s for part in parts)
        if known_s <= _TOLERANCE_S:
            return Energy(None, 0.0, EnergyQuality.MISSING)
        if (end - start) / SECOND - known_s > _TOLERANCE_S:
            quality = EnergyQuality.INCOMPLETE
        elif max(counted.covered_s, by_check.covered_s) > _TOLERANCE_S:
            quality = EnergyQuality.SUBSTITUTED
        else:
            quality = EnergyQuality.POWER
        measured_s = sum(part.measured_s for part in parts)
        return Energy(sum(part.mwh for part in parts), min(measured_s, (end - start) / SECOND), quality)

    def by_power(self, start: int, end: int) -> tuple[float, float]:
        """Energy by the integral of the power [MWh], and the time that it is known for [s]."""
        share = self._power.share(start, end)
        return share.mwh, share.measured_s

    def _counted(self, stretches: Sequence[tuple[int, int]]) -> _Filled:
        """What the counters know of some stretches of time."""
        return _filled([self._exported, self._imported], stretches)


class _Filled(NamedTuple):
    """What one source knows of some stretches of time."""

    mwh: float
    measured_s: float
    covered_s: float
    """Time that it knows the energy of, gaps that it bridges included."""
    holes: Sequence[tuple[int, int]]
    """What it does not know."""

    def plus(self, other: _Filled) -> _Filled:
        """With what another source knows of the holes."""
        return _Filled(
            self.mwh + other.mwh,
            self.measured_s + other.measured_s,
            self.covered_s + other.covered_s,
            other.holes,
        )


def _filled(curves: Sequence[Curve], stretches: Sequence[tuple[int, int]]) -> _Filled:
    """What curves, of which the second one counts against the first, know together."""
    mwh = measured_s = covered_s = 0.0
    left: list[tuple[int, int]] = []
    for start, end in stretches:
        holes = joined([hole for curve in curves for hole in curve.unknown(start, end)])
        left += holes
        for low, high in complement(holes, start, end):
            share = curves[0].share(low, high)
            for curve in curves[1:]:
                share = share.plus(curve.share(low, high), -1.0)
            mwh, measured_s = mwh + share.mwh, measured_s + share.measured_s
            covered_s += (high - low) / SECOND
    return _Filled(mwh, measured_s, covered_s, left)


class Flows(NamedTuple):
    """What was metered over the ties in an interval, by tie."""

    energies: Mapping[str, Energy]
    losses: Mapping[str, float | None]
    estimates: Mapping[str, float | None]


def settle(
    accounts: Accounts,
    schedules: ScheduleBook,
    readings: Mapping[int, Readings],
    spans: Iterable[tuple[int, int]],
) -> list[Interval]:
    """Settles every account in some intervals.

    Parameters
    ----------
    accounts
        What there is to settle.
    schedules
        What was agreed.
    readings
        By point, of the intervals and :data:`MARGIN` around them, as far as there are any.
    spans
        Begin [ns, UTC] and length [min] of each interval.

    """
    delivery = {a.tie.id: Meter(a.delivery, readings) for a in accounts.ties if a.delivery is not None}
    far = {a.tie.id: Meter(a.far, readings) for a in accounts.ties if a.far is not None}
    estimated = {
        a.tie.id: of_power(readings.get(a.estimate.point, Readings.none()), a.estimate.gap_s)
        for a in accounts.ties
        if a.estimate is not None
    }
    found = []
    for start, minutes in spans:
        end = start + minutes * MINUTE
        energies = {tie: meter.energy(start, end) for tie, meter in delivery.items()}
        flows = Flows(
            energies,
            {tie: _loss(energies.get(tie), meter.energy(start, end)) for tie, meter in far.items()},
            {tie: _estimate(curve, start, end) for tie, curve in estimated.items()},
        )
        found += _Books(accounts, schedules, flows, start, minutes).intervals()
    return found


class _Books:
    """The accounts of one interval."""

    def __init__(
        self, accounts: Accounts, schedules: ScheduleBook, flows: Flows, start: int, minutes: int
    ) -> None:
        self._accounts = accounts
        self._schedules = schedules
        self._flows = flows
        self._start, self._minutes = start, minutes
        self._end = start + minutes * MINUTE
        self._scheduled = {a.tie.id: self._agreed(a.tie.id) for a in accounts.ties}

    def intervals(self) -> list[Interval]:
        """One for each account."""
        return [
            *(self._tie(account) for account in self._accounts.ties),
            *(self._area(account) for account in self._accounts.areas),
            *(self._contract(account) for account in self._accounts.contracts),
        ]

    def _agreed(self, subject: str) -> float:
        return self._schedules.of(subject).energy_mwh(self._start, self._end)

    def _version(self, subject: str) -> int:
        version = self._schedules.holding(subject, self._start)
        return 0 if version is None else version.number

    def _tie(self, account: TieAccount) -> Interval:
        tie = account.tie.id
        energy = self._energy(tie)
        scheduled = self._scheduled[tie]
        wheeled = None
        shares = [share for c in self._accounts.contracts if (share := self._share(c, tie)) is not None]
        if shares and energy.mwh is not None:
            wheeled = sum(shares) * energy.mwh
        return self._interval(
            tie,
            AccountKind.TIE,
            account.tie.from_area,
            scheduled,
            [energy],
            metered=energy.mwh,
            inadvertent=None if energy.mwh is None else energy.mwh - scheduled,
            estimated=self._flows.estimates.get(tie),
            wheeled=wheeled,
            losses=self._flows.losses.get(tie),
            version=self._version(tie),
        )

    def _area(self, account: AreaAccount) -> Interval:
        ties = account.border.ties
        scheduled = sum(sign * self._scheduled[tie] for tie, sign in ties)
        found = [self._energy(tie) for tie, _ in ties]
        flows = [sign * e.mwh for (_, sign), e in zip(ties, found, strict=True) if e.mwh is not None]
        known = len(flows) == len(ties)
        guesses = [(sign, self._flows.estimates.get(tie)) for tie, sign in ties]
        estimated = [sign * mwh for sign, mwh in guesses if mwh is not None]
        transit = min(sum(f for f in flows if f > 0), -sum(f for f in flows if f < 0))
        return self._interval(
            account.area,
            AccountKind.AREA,
            account.area,
            scheduled,
            found,
            metered=sum(flows) if known else None,
            inadvertent=sum(flows) - scheduled if known else None,
            estimated=sum(estimated) if len(estimated) == len(ties) else None,
            wheeled=transit if known else None,
        )

    def _contract(self, account: ContractAccount) -> Interval:
        contract = account.contract
        agreed = self._agreed(contract.id)
        ties = [*account.entry.ties, *account.exit.ties]
        found = [self._energy(tie) for tie, _ in ties]
        came = self._attributed(account.entry, agreed)
        left = self._attributed(account.exit, agreed * (1 - contract.loss_share))
        losses = None if came is None else contract.loss_share * came
        balance = None if came is None or left is None or losses is None else came - left - losses
        return self._interval(
            contract.id,
            AccountKind.CONTRACT,
            contract.transit_area,
            agreed * (1 - contract.loss_share),
            found,
            metered=left,
            inadvertent=balance,
            wheeled=came,
            losses=losses,
            version=self._version(contract.id),
        )

    def _energy(self, tie: str) -> Energy:
        return self._flows.energies.get(tie, Energy(None, 0.0, EnergyQuality.MISSING))

    def _attributed(self, border: Border, agreed: float) -> float | None:
        """Part of what was metered over a border that a contract with an agreed energy gets [MWh]."""
        part = self._part(border, agreed)
        found = [(sign, self._energy(tie).mwh) for tie, sign in border.ties]
        known = [sign * mwh for sign, mwh in found if mwh is not None]
        return part * sum(known) if part is not None and len(known) == len(found) else None

    def _part(self, border: Border, agreed: float) -> float | None:
        """Part of a border's schedule, 0 to 1; None where nothing is scheduled in its direction."""
        total = sum(sign * self._scheduled[tie] for tie, sign in border.ties)
        return min(agreed / total, 1.0) if total > 0 else None

    def _share(self, account: ContractAccount, tie: str) -> float | None:
        """Part of a tie's flow that a contract gets, with its sign; None if it does not pass there."""
        agreed = self._agreed(account.contract.id)
        for border, energy in (
            (account.entry, agreed),
            (account.exit, agreed * (1 - account.contract.loss_share)),
        ):
            if any(name == tie for name, _ in border.ties):
                return self._part(border, energy)
        return None

    def _interval(
        self,
        account: str,
        kind: AccountKind,
        area: str,
        scheduled: float,
        energies: Sequence[Energy],
        *,
        metered: float | None = None,
        inadvertent: float | None = None,
        estimated: float | None = None,
        wheeled: float | None = None,
        losses: float | None = None,
        version: int = 0,
    ) -> Interval:
        length_s = self._minutes * 60
        worst = max((e.quality for e in energies), key=lambda q: q.rank, default=EnergyQuality.MISSING)
        if worst is EnergyQuality.MISSING and any(e.quality is not worst for e in energies):
            worst = EnergyQuality.INCOMPLETE
        if worst in _BLIND:
            inadvertent = None  # of part of the time it would be taken for a deviation
        measured_s = min((e.measured_s for e in energies), default=0.0)
        return Interval(
            account,
            kind,
            area,
            self._minutes,
            self._start,
            round(scheduled, 6),
            _rounded(metered),
            _rounded(estimated),
            _rounded(inadvertent),
            _rounded(wheeled),
            _rounded(losses),
            round(100 * min(measured_s / length_s, 1.0), 1),
            worst,
            version,
        )


def _loss(near: Energy | None, far: Energy) -> float | None:
    """Energy that did not come out [MWh], where both ends are metered throughout."""
    if near is None or near.mwh is None or far.mwh is None or near.quality in _BLIND or far.quality in _BLIND:
        return None
    return near.mwh + far.mwh


def _estimate(curve: Curve, start: int, end: int) -> float | None:
    """Estimated energy [MWh], where the estimate covers the interval."""
    share = curve.share(start, end)
    # estimates come every few seconds: what lacks at the edges is taken as the mean
    if share.measured_s < 0.95 * (end - start) / SECOND:
        return None
    return share.mwh * (end - start) / SECOND / share.measured_s


def _rounded(mwh: float | None) -> float | None:
    """To the watt-hour; that is also how far two revisions must differ [MWh]."""
    return None if mwh is None else round(mwh, 6)


def joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans in order, those that overlap as one."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def complement(holes: Sequence[tuple[int, int]], start: int, end: int) -> list[tuple[int, int]]:
    """What is left of a span between holes, which are in order."""
    found, at = [], start
    for low, high in holes:
        if low > at:
            found.append((at, low))
        at = max(at, high)
    return [*found, (at, end)] if at < end else found
