"""R1: the flow of a tie differs from its schedule.

Only ties whose flow can be scheduled alone are judged: radial ones and HVDC links. In a meshed ring the
deviation of one tie includes loop flow; there the area's sum is the thing to watch (rule R2).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from alerts.alignment import SECOND, Snapshot
from alerts.config import ExchangeSettings
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing, level_of
from alerts.schedules import Agreed
from telemetry.grid import Tie

_COVERAGE = 0.8
"""Part of the window that must have been measured."""

_NO_EXCHANGE_MW = 0.5
"""A schedule below this has no direction; that of the flow counts then [MW]."""


class ExchangeRule:
    """R1 on one tie: mean over a window of P - S(t).

    The difference is averaged, not the power: a ramp that is followed perfectly would otherwise show a
    deviation. ``outflow`` are the areas that power comes from and goes to when the meter at the delivery node
    reads +. ``period_s`` is the period of the power's readings: new ones are what is averaged. Another
    schedule version counts for the whole window at once.
    """

    def __init__(
        self,
        tie: Tie,
        schedule: Agreed,
        outflow: tuple[str, str],
        power: int,
        settings: ExchangeSettings,
        *,
        period_s: float = 1.0,
    ) -> None:
        self.subject = Subject("R1", 1, tie.id, tie.from_area)
        self.inputs: Sequence[int] = (power,)
        self.timing = Timing(
            tuple(Grade(limit.priority, limit.on_s) for limit in settings.limits), settings.off_s
        )
        self._tie = tie
        self._schedule = schedule
        self._revision = schedule.revision
        self._limits = [max(limit.mw, limit.pct_ntc / 100 * tie.ntc_mw) for limit in settings.limits]
        self._deadband = settings.deadband_pct / 100
        self._window = round(settings.mean_s * SECOND)
        self._due = max(1.0, settings.mean_s / max(1.0, period_s))
        self._outflow = outflow
        self._powers: deque[tuple[int, float, float]] = deque()
        """Instant [ns, UTC], power and its difference to the schedule [MW]."""
        self._sum = 0.0

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges the mean difference over the window that ends at the instant."""
        instant = snapshot.instant
        if self._schedule.revision != self._revision:
            self._reconsider()
        while self._powers and not instant - self._window < self._powers[0][0] < instant:
            self._sum -= self._powers.popleft()[2]
        leg = snapshot.leg(self.inputs[0])
        if not leg.usable:
            reason = leg.fault.replace("_", " ")
            return self.subject.unknown(
                instant, f"leg {self._tie.id} at {self._tie.delivery_node} is {reason}"
            )
        agreed = self._schedule.at(instant)
        self._powers.append((instant, leg.value, leg.value - agreed))
        self._sum += leg.value - agreed
        count = len(self._powers)
        if count < _COVERAGE * self._due:
            return self.subject.early(
                instant, f"the mean of {self._window / SECOND:.0f} s has too few data yet"
            )
        delta = self._sum / count
        level, held = level_of(abs(delta), self._limits, self._deadband)
        limit = self._limits[max(level, 1) - 1]
        return Finding(
            self.subject,
            instant,
            level,
            held,
            abs(delta),
            limit,
            "MW",
            leg.label,
            instant,
            leg.t_received,
            texts=self._texts(leg.value, agreed, delta, limit) if held else None,
        )

    def _reconsider(self) -> None:
        """Compares what was measured with the schedule that holds now."""
        self._revision = self._schedule.revision
        self._powers = deque((t, power, power - self._schedule.at(t)) for t, power, _ in self._powers)
        self._sum = sum(difference for _, _, difference in self._powers)

    def _texts(self, power: float, agreed: float, delta: float, limit: float) -> Texts:
        tie, node, mean = self._tie, self._tie.delivery_node, agreed + delta
        along = 1 if (agreed if abs(agreed) >= _NO_EXCHANGE_MW else mean) >= 0 else -1
        source, sink = self._outflow[:: 1 if mean >= 0 else -1]
        flow = f"{abs(mean):.0f} MW from {source} to {sink}"
        other_way = " the other way" if mean * along < 0 else ""
        sense = "much" if delta * along > 0 else "little"
        return Texts(
            title=(f"{tie.id}: {flow}, agreed {abs(agreed):.0f}{other_way}: {abs(delta):.0f} MW too {sense}"),
            cause=(
                f"Over the last {self._window / SECOND:.0f} s {tie.id} carried {flow} where "
                f"{tie.from_area} and {tie.to_area} agreed {abs(agreed):.0f} MW{other_way}, "
                f"{abs(delta):.1f} MW too {sense}: a missed or wrong schedule version, a plant or "
                "converter off its order, or missing reserve."
            ),
            consequence=(
                f"Inadvertent exchange with {tie.to_area}: it will be settled, and the neighbour has to "
                "balance it."
            ),
            response=(
                f"1. Check that the schedule version for {tie.id} is the agreed one. "
                f"2. Call the dispatcher of {tie.to_area}. "
                "3. Correct the order or redispatch generation."
            ),
            evidence={
                f"P at {node} [MW]": round(power, 1),
                "Schedule [MW]": round(agreed, 1),
                "Mean difference [MW]": round(delta, 1),
                "Limit [MW]": round(limit, 1),
            },
        )
