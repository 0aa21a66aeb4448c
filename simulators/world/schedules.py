"""Schedules: what is to flow over each tie, made of contracts, ramped around every change.

The wheeling arrangement of the reference corridor (illustrative): Uzbekistan delivers 500 MW through
Kazakhstan to the sending end of the HVDC link, Kazakhstan adds 300 MW of its own; Uzbekistan puts in what is
to arrive and a share for the losses of the transit, and sells the rest of its export to Kazakhstan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from telemetry.settings import nearest

RAMP_HALF_NS = 300 * 10**9
"""A change is followed linearly from 5 min before it to 5 min after it."""
TRANSIT_LOSS = 0.03
"""Share of a wheeled delivery that the transit takes (illustrative)."""

Steps = Sequence[tuple[int, float]]
"""(time [ns, UTC], MW from then on), in order of time."""


@dataclass(frozen=True, slots=True)
class Contract:
    """A delivery, and how it adds to the schedules of ties."""

    id: str
    mw: float
    ties: Mapping[str, float]
    """MW on each tie for each MW of the contract."""


def _uz_export(mw: float) -> Mapping[str, float]:
    # the two AC ties close a ring: their parts are references from the base power flow, only the sum is held
    return {"SHY-TAS": mw * 323 / 1112, "KUN-AKT": mw * 789 / 1112}


REFERENCE_CONTRACTS = (
    Contract("UZ-AZ-wheel", 500.0, {"AKT-ALT": 1.0, **_uz_export(1 / (1 - TRANSIT_LOSS))}),
    Contract("KZ-AZ", 300.0, {"AKT-ALT": 1.0}),
    Contract("UZ-KZ", 1112.0 - 500.0 / (1 - TRANSIT_LOSS), _uz_export(1.0)),
    Contract("AZ-GE", 620.0, {"MGC-SAM": 1.0}),
    Contract("KZ-RU", 0.0, {"RU": 1.0}),
)
"""Contracts of the reference corridor, all illustrative. ``RU`` is the tie of the slack at EKI."""


class Schedules:
    """Values of ties and contracts over time; each can be replaced by steps and set back.

    MW + in the direction of the contract: out of AKT into the HVDC link, out of TAS and KUN towards
    Kazakhstan, out of Azerbaijan at SAM, out of Kazakhstan at EKI.
    """

    def __init__(self, contracts: Sequence[Contract], scale: float = 1.0) -> None:
        self._contracts = {contract.id: contract for contract in contracts}
        self._scale = scale
        self.ties = tuple(dict.fromkeys(tie for contract in contracts for tie in contract.ties))
        self._steps: dict[str, tuple[tuple[int, float], ...]] = {}
        self._agreed = {tie: self._sum(tie, 0) for tie in self.ties}

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that can be scheduled: ties and contracts."""
        return (*self.ties, *self._contracts)

    def set(self, name: str, steps: Steps | None) -> None:
        """Replaces the schedule of a tie or contract; before the first step, and with None, it is as agreed.

        Raises
        ------
        KeyError
            No tie or contract of that name.
        ValueError
            The steps are not in order of time.

        """
        if name not in self.names:
            raise KeyError(f'no tie or contract "{name}" ({nearest(name, self.names)})')
        if steps and any(b[0] <= a[0] for a, b in pairwise(steps)):
            raise ValueError(f"the steps of {name} are not in order of time")
        if steps:
            self._steps[name] = tuple(steps)
        else:
            self._steps.pop(name, None)

    def contract_mw(self, name: str, t_ns: int) -> float:
        """Scheduled amount of a contract [MW]."""
        agreed = self._contracts[name].mw * self._scale
        return _ramped(agreed, self._steps.get(name, ()), t_ns)

    def tie_mw(self, tie: str, t_ns: int) -> float:
        """Scheduled exchange of a tie [MW]."""
        if not self._steps:
            return self._agreed[tie]
        return _ramped(self._sum(tie, t_ns), self._steps.get(tie, ()), t_ns)

    def _sum(self, tie: str, t_ns: int) -> float:
        return sum(
            self.contract_mw(contract.id, t_ns) * contract.ties[tie]
            for contract in self._contracts.values()
            if tie in contract.ties
        )


def _ramped(agreed: float, steps: Steps, t_ns: int) -> float:
    """Mean of the steps over the ramp around a moment: linear ramps, also where they overlap."""
    value = agreed
    for start, mw in steps:
        passed = (t_ns - start + RAMP_HALF_NS) / (2 * RAMP_HALF_NS)
        value += (mw - agreed) * min(max(passed, 0.0), 1.0)
        agreed = mw
    return value
