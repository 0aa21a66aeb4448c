"""R2: the sum of an area's exchanges is off the sum of their schedules.

In a meshed ring the flow of one tie includes loop flow; the sum over the ties of an area does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alerts.alignment import SECOND, Leg, Snapshot, first_fault
from alerts.rule_config import NetPositionSettings
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing, graded
from alerts.rules.window import Window
from alerts.schedules import HOUR_S, Agreed

_COVERAGE = 0.8
"""Part of the window that must have been measured."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One tie as an area sees it."""

    tie: str
    delivery_node: str
    sign: int
    """+1 when the meter at the delivery node reads + for export of the area, else -1."""
    power: int
    """Power point at the delivery node."""
    schedule: Agreed
    neighbour: str


@dataclass(frozen=True, slots=True)
class NetPosition:
    """Exchanges of an area at an instant."""

    fault: str
    """Why it is not known: ``leg SHY-TAS at TAS is stale``; empty when it is."""
    legs: Sequence[Leg]
    export_mw: float
    agreed_mw: float
    by_tie: Sequence[tuple[str, float]]
    """Export less agreed export of each tie [MW]."""

    @property
    def delta_mw(self) -> float:
        """Export less agreed export [MW]."""
        return self.export_mw - self.agreed_mw


def net_position(exchanges: Sequence[Exchange], snapshot: Snapshot) -> NetPosition:
    """The net position of an area, + for export, at the snapshot's instant."""
    legs = [(f"{e.tie} at {e.delivery_node}", snapshot.leg(e.power)) for e in exchanges]
    fault = first_fault(legs)
    used = [leg for _, leg in legs]
    if fault:
        return NetPosition(fault, used, float("nan"), float("nan"), ())
    agreed = [e.sign * e.schedule.at(snapshot.instant) for e in exchanges]
    actual = [e.sign * leg.value for e, leg in zip(exchanges, used, strict=True)]
    by_tie = [(e.tie, p - s) for e, p, s in zip(exchanges, actual, agreed, strict=True)]
    return NetPosition("", used, sum(actual), sum(agreed), by_tie)


def agreed_mean_mw(exchanges: Sequence[Exchange], start: int, end: int) -> float:
    """Mean of the agreed net position between two instants [ns, UTC], ramps included [MW]."""
    hours = (end - start) / SECOND / HOUR_S
    return sum(e.sign * e.schedule.energy_mwh(start, end) for e in exchanges) / hours


class NetPositionRule:
    """R2 on one area: mean over a window of the sum of P - S(t).

    Another schedule version counts for the whole window at once.
    """

    def __init__(self, area: str, exchanges: Sequence[Exchange], settings: NetPositionSettings) -> None:
        self.subject = Subject("R2", 1, area, area)
        self.inputs: Sequence[int] = tuple(exchange.power for exchange in exchanges)
        self.timing = Timing(
            tuple(Grade(limit.priority, limit.on_s) for limit in settings.limits), settings.off_s
        )
        self._exchanges = exchanges
        self._settings = settings
        self._limits = [limit.above for limit in settings.limits]
        self._window = Window(settings.mean_s)

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the mean deviation over the window that ends at the instant."""
        at, position = snapshot.instant, net_position(self._exchanges, snapshot)
        if position.fault:
            return self.subject.unknown(at, position.fault)
        self._window.add(at, position.export_mw)
        if self._window.covered_s < _COVERAGE * self._settings.mean_s:
            return self.subject.early(at, f"the mean of {self._settings.mean_s:.0f} s has too few data yet")
        delta = self._window.mean - agreed_mean_mw(self._exchanges, self._window.since, at)
        return graded(
            self.subject,
            at,
            abs(delta),
            self._limits,
            unit="MW",
            legs=position.legs,
            texts=lambda limit: self._texts(position, delta, limit),
            deadband=self._settings.deadband_pct / 100,
            less=self._settings.deadband_mw,
        )

    def _texts(self, position: NetPosition, delta: float, limit: float) -> Texts:
        area, mean = self.subject.asset, position.agreed_mw + delta
        neighbours = " and ".join(sorted({exchange.neighbour for exchange in self._exchanges}))
        much = "more" if delta > 0 else "less"
        return Texts(
            title=f"{area}: {abs(delta):.0f} MW {much} export than agreed "
            f"({_direction(mean)}, agreed {_direction(position.agreed_mw)})",
            cause=f"Over the last {self._settings.mean_s:.0f} s {area} {_verb(mean)} where it should have "
            f"{_verb(position.agreed_mw)}: "
            + (
                "a load was lost, or plants run above their programme."
                if delta > 0
                else "a plant was lost or runs below its programme, or consumption is above the forecast."
            ),
            consequence=f"Inadvertent exchange: {neighbours} must balance it, and transit lines carry it.",
            response=f"1. {'Reduce' if delta > 0 else 'Activate'} reserve in {area}. "
            f"2. Redispatch, or agree another schedule with {neighbours}. "
            "3. If every plant follows its programme, check the meters of the ties.",
            evidence={
                "Net position [MW]": round(mean, 1),
                "Agreed [MW]": round(position.agreed_mw, 1),
                "Mean deviation [MW]": round(delta, 1),
                "Limit [MW]": round(limit, 1),
                **{f"{tie} off its schedule [MW]": round(off, 1) for tie, off in position.by_tie},
            },
        )


def _direction(mw: float) -> str:
    return f"{'export' if mw >= 0 else 'import'} {abs(mw):.0f} MW"


def _verb(mw: float) -> str:
    return f"{'exported' if mw >= 0 else 'imported'} {abs(mw):.0f} MW"
