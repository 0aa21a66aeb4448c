"""R8: what an HVDC link takes differs from its model, a pole has tripped, or the link is blocked.

No device tells how many poles are in service. A trip is what nothing else can be: the power falls within
seconds, faster than any order is ramped, to what the poles left can carry, while more is agreed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

from alerts.alignment import Snapshot, first_fault
from alerts.rule_config import ConverterSettings
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing
from alerts.rules.line_state import MeterAccuracy
from alerts.rules.window import RangeWindow
from alerts.schedules import Agreed
from alerts.two_port import hvdc_loss_mw
from telemetry.grid import Hvdc

_POLES = 2
_MARGIN = 1.02
"""A pole carries its rating and so much of it more, for a while."""
_BLOCKED = 0.02
"""Part of the rating below which a link carries nothing."""


@dataclass(frozen=True, slots=True)
class LinkEnds:
    """Power points of the two main meters of a link, and how exact they are."""

    p_from: int
    p_to: int
    accuracy_from: MeterAccuracy
    accuracy_to: MeterAccuracy


class ConverterRule:
    """R8 on one HVDC link: grade 1 the loss, grade 2 a pole, grade 3 the whole link."""

    def __init__(
        self,
        link: Hvdc,
        area: str,
        ends: LinkEnds,
        schedule: Agreed | None,
        settings: ConverterSettings,
    ) -> None:
        self.subject = Subject("R8", 1, link.id, area)
        self.inputs: Sequence[int] = (ends.p_from, ends.p_to)
        self.timing = Timing(
            (
                Grade(settings.loss_priority, settings.loss_on_s),
                Grade(settings.pole_priority, settings.trip_on_s),
                Grade(settings.block_priority, settings.trip_on_s),
            ),
            settings.off_s,
        )
        self._link = link
        self._ends = ends
        self._schedule = schedule
        self._settings = settings
        self._recent = RangeWindow(settings.fall_s)

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the link at the instant."""
        link, at, settings = self._link, snapshot.instant, self._settings
        near, far = snapshot.leg(self._ends.p_from), snapshot.leg(self._ends.p_to)
        named = [(f"{link.id} at {link.from_node}", near), (f"{link.id} at {link.to_node}", far)]
        if fault := first_fault(named):
            return self.subject.unknown(at, fault)
        carried = max(abs(near.value), abs(far.value))
        self._recent.add(at, carried)
        agreed = abs(self._schedule.at(at)) if self._schedule is not None else self._recent.most
        fell = self._recent.most - carried > settings.fall_pct / 100 * link.limit_mw
        few = self._too_few(carried, agreed)
        residual, limit = self._loss(near.value, far.value, snapshot)
        level = few if fell else 0
        off = abs(residual)
        if not level:
            level = int(off > limit)
        held = max(few, level, int(off > limit * (1 - settings.deadband_pct / 100)))
        if few > 1 or level > 1:
            value, limit, unit = carried, agreed, "MW"
        else:
            value, unit = off, "MW"
        figures = (near.value, far.value, residual, agreed)
        return Finding(
            self.subject,
            at,
            level,
            held,
            value,
            limit,
            unit,
            max(near, far, key=lambda leg: leg.quality).label,
            at,
            max(near.t_received, far.t_received),
            texts=self._texts(max(level, min(few, held)), figures) if held else None,
        )

    def _too_few(self, carried: float, agreed: float) -> int:
        """Grade of what the flow can only be with fewer poles than the schedule needs; 0 for none."""
        rating = self._link.limit_mw
        if carried < _BLOCKED * rating <= agreed:
            return 3
        most = rating * (_POLES - 1) / _POLES * _MARGIN
        return 2 if carried <= most < agreed else 0

    def _loss(self, near: float, far: float, snapshot: Snapshot) -> tuple[float, float]:
        """Loss less the model's [MW], and its limit [MW]."""
        carried = max(abs(near), abs(far))
        blocked = carried < _BLOCKED * self._link.limit_mw
        expected = 0.0 if blocked else hvdc_loss_mw(self._link, carried)
        ends, clock_sigma_s = self._ends, self._settings.clock_sigma_s
        sigma = hypot(
            ends.accuracy_from.sigma_mw(snapshot.leg(ends.p_from), clock_sigma_s),
            ends.accuracy_to.sigma_mw(snapshot.leg(ends.p_to), clock_sigma_s),
        )
        limit = max(self._settings.sigmas * sigma, self._settings.pct_p / 100 * carried)
        return near + far - expected, limit

    def _texts(self, level: int, figures: tuple[float, float, float, float]) -> Texts:
        near, far, residual, agreed = figures
        link = self._link
        carried = max(abs(near), abs(far))
        evidence: dict[str, float | str] = {
            f"P at {link.from_node} [MW]": round(near, 1),
            f"P at {link.to_node} [MW]": round(far, 1),
            "Agreed [MW]": round(agreed, 1),
            "Loss less its model [MW]": round(residual, 1),
        }
        if level >= 2:
            what = "blocked" if level > 2 else "a pole has tripped"
            return Texts(
                f"{link.id}: {what}, {carried:.0f} MW of {agreed:.0f}",
                f"Within {self._settings.fall_s:.0f} s the flow of {link.id} fell to {carried:.0f} MW where "
                f"{agreed:.0f} MW are agreed, faster than an order is ramped: a converter or the cable "
                "tripped.",
                f"{agreed - carried:.0f} MW are missing behind {link.id} and too much before it: lines take "
                "it up, frequency and exchanges follow.",
                "1. Rebalance both sides: reserve up on the receiving side, generation down on the sending "
                "one. 2. Agree the schedule that is possible now. 3. Call the converter stations.",
                evidence,
            )
        return Texts(
            f"{link.id}: loss {abs(residual):.1f} MW {'above' if residual > 0 else 'below'} its model",
            f"{link.id} takes {near + far:.1f} MW, {abs(residual):.1f} MW "
            f"{'more' if residual > 0 else 'less'} than converters and cable should: a meter, or the "
            "converters or the cable.",
            "What is delivered is billed wrongly, or equipment is overheating.",
            "1. Compare main and check meters at both ends. 2. If they agree, call the engineer of the "
            "converter stations.",
            evidence,
        )
