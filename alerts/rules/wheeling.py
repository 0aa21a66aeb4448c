"""R5: what a contract brought into the transit area was not delivered.

E_in - E_out - lambda E_in per contract and quarter of an hour, from what was settled; the transit volume of
the area is min(sum of imports, sum of exports).
"""

from __future__ import annotations

from datetime import UTC, datetime

from alerts.ledger_config import WheelingSettings
from alerts.rules.finding import Finding, Subject, Texts, level_of
from alerts.settlement.interval import EnergyQuality, Interval
from alerts.settlement.view import LedgerView
from telemetry.grid import Contract

SECOND = 1_000_000_000
_BLIND = (EnergyQuality.INCOMPLETE, EnergyQuality.MISSING)


class WheelingRule:
    """R5 on one contract: its newest closed quarter of an hour."""

    def __init__(self, contract: Contract, settings: WheelingSettings) -> None:
        self.subject = Subject("R5", 1, contract.id, contract.transit_area)
        self.timing = settings.timing
        self._contract = contract
        self._settings = settings

    def judge(self, view: LedgerView) -> Finding | None:
        """What the newest closed interval says; None before there is one."""
        interval = view.latest.get(self.subject.asset)
        if interval is None:
            return None
        came, left, balance = interval.wheeled_mwh, interval.metered_mwh, interval.inadvertent_mwh
        if came is None or left is None or balance is None or interval.quality in _BLIND:
            c = self._contract
            ties = ", ".join([*c.entry, *c.exit])
            return self.subject.unknown(view.at, f"{ties}: not all were metered, or none was scheduled")
        limits = self._settings.limits_of(came)
        level, held = level_of(abs(balance), limits, self._settings.deadband_pct / 100)
        limit = limits[max(level, 1) - 1]
        transit = view.latest.get(self._contract.transit_area)
        return Finding(
            self.subject,
            view.at,
            level,
            held,
            abs(balance),
            limit,
            "MWh",
            t_source=interval.end,
            t_received=view.at,
            texts=self._texts(interval, (came, left, balance), limit, transit) if held else None,
        )

    def _texts(
        self,
        interval: Interval,
        energies: tuple[float, float, float],
        limit: float,
        transit: Interval | None,
    ) -> Texts:
        came, left, balance = energies
        contract, area = self._contract, self._contract.transit_area
        begin, end = (
            datetime.fromtimestamp(t // SECOND, UTC).strftime("%H:%M") for t in (interval.start, interval.end)
        )
        short = "less" if balance > 0 else "more"
        volume = transit.wheeled_mwh if transit is not None else None
        evidence: dict[str, float | str] = {
            "Came in [MWh]": round(came, 2),
            "Left [MWh]": round(left, 2),
            "Agreed losses [MWh]": round(contract.loss_share * came, 2),
            "Agreed delivery [MWh]": round(interval.scheduled_mwh, 2),
            "Limit [MWh]": round(limit, 2),
        }
        if volume is not None:
            evidence[f"Transit volume of {area} [MWh]"] = round(volume, 2)
        return Texts(
            title=f"{contract.id}: {abs(balance):.1f} MWh {short} delivered than came in, {begin}-{end} UTC",
            cause=f"Of {contract.id} {came:.1f} MWh came into {area} over {' and '.join(contract.entry)}, "
            f"and {left:.1f} MWh left over {' and '.join(contract.exit)}, agreed losses of "
            f"{contract.loss_share:.1%} apart: an entry or exit off its schedule, or a meter that is wrong.",
            consequence=f"{area} {'owes' if balance > 0 else 'has advanced'} {abs(balance):.1f} MWh to the "
            "parties of the contract.",
            response="1. See which border is off its schedule (R1, R2, R3). "
            "2. Reconcile the counters of both borders with the neighbours. "
            "3. Agree on compensation, or correct the schedule.",
            evidence=evidence,
        )
