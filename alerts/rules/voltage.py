"""R20: the voltage of a busbar leaves its band. What reactive reserve is left is not measured by any device
yet, so that the second half of the catalogue's rule is not judged."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from alerts.alignment import Snapshot, first_fault
from alerts.operation_config import VoltageSettings
from alerts.rules.finding import Finding, Grade, Subject, Texts, Timing, graded


class VoltageRule:
    """R20 on one busbar: median of its meters against the band."""

    def __init__(
        self,
        node: str,
        area: str,
        u_rated_kv: float,
        meters: Sequence[tuple[str, int]],
        settings: VoltageSettings,
    ) -> None:
        """Takes the busbar's meters by name with their voltage points."""
        self.subject = Subject("R20", 1, node, area)
        self.inputs: Sequence[int] = tuple(point for _, point in meters)
        self.timing = Timing((Grade(settings.priority, settings.on_s),), settings.off_s)
        self._meters = meters
        self._low = settings.low_pct / 100 * u_rated_kv
        self._high = settings.high_pct / 100 * u_rated_kv
        self._dead = settings.dead_pct / 100 * u_rated_kv
        self._less = settings.deadband_pct / 100 * u_rated_kv

    def evaluate(self, snapshot: Snapshot) -> Finding:
        """Judges how far the voltage is from the middle of the band at the instant."""
        legs = [(name, snapshot.leg(point)) for name, point in self._meters]
        usable = [leg for _, leg in legs if leg.usable]
        if not usable:
            return self.subject.unknown(snapshot.instant, first_fault(legs))
        v = median(leg.value for leg in usable)
        middle, half = (self._low + self._high) / 2, (self._high - self._low) / 2
        off = 0.0 if v < self._dead else abs(v - middle)
        return graded(
            self.subject,
            snapshot.instant,
            off,
            [half],
            unit="kV",
            legs=usable,
            texts=lambda _: self._texts(v, len(usable)),
            less=self._less,
        )

    def _texts(self, v: float, meters: int) -> Texts:
        node, low = self.subject.asset, v < self._low
        beyond = f"{self._low:.0f}" if low else f"{self._high:.0f}"
        return Texts(
            title=f"{node}: {v:.0f} kV, {'below' if low else 'above'} {beyond} kV",
            cause=(
                "Reactive power is missing: a heavily loaded or lost line, reactors still connected, or a "
                "plant at its limit."
                if low
                else "Too much reactive power: a lightly loaded line, reactors switched off, or filters on."
            ),
            consequence=(
                "Less can be carried, and the voltage may collapse; plants disconnect by themselves."
                if low
                else "Insulation and transformers are strained; equipment disconnects by itself."
            ),
            response=(
                f"1. Switch reactors near {node} {'off' if low else 'on'}. 2. Change the reactive set-points "
                "of plants and HVDC filters. 3. "
                + ("Unload the lines that end here." if low else "Take a lightly loaded line out of service.")
            ),
            evidence={
                "Voltage [kV]": round(v, 1),
                "Band [kV]": f"{self._low:.0f} to {self._high:.0f}",
                "Meters used": meters,
            },
        )
