"""The HVDC link in operation: order, poles, ramps and run-back."""

from __future__ import annotations

from simulators.world.corridor import Hvdc

RAMP_MW_PER_S = 20.0
"""How fast an order is followed (illustrative)."""
POLES = 2


class HvdcLink:
    """Two coupled converters with two poles between two busbars.

    A pole that is lost takes its power with it at once; the other takes over what its rating allows (run-back
    to half the rating). Without an energised busbar at both ends the link is blocked. It sends one way only:
    of a schedule that is negative it delivers nothing.
    """

    def __init__(self, link: Hvdc, scheduled_mw: float) -> None:
        self.link = link
        self.poles = POLES
        """Poles in service."""
        self.order_mw: float | None = None
        """Order of the operator [MW]; without one the link follows its schedule."""
        self.runback_mw: float | None = None
        """Limit that an armed run-back sets [MW]."""
        self.sent_mw = min(max(scheduled_mw, 0.0), link.limit_mw)
        """Power at the sending busbar [MW]."""

    @property
    def capability_mw(self) -> float:
        """What the poles in service can send [MW]."""
        return self.link.limit_mw * self.poles / POLES

    @property
    def received_mw(self) -> float:
        """Power at the receiving busbar [MW]."""
        return self.link.received_mw(self.sent_mw, self.poles)

    def step(self, dt_s: float, scheduled_mw: float, *, energised: bool) -> None:
        """Follows order or schedule for ``dt_s`` [s]."""
        limit = self.capability_mw if energised else 0.0
        if self.runback_mw is not None:
            limit = min(limit, self.runback_mw)
        wanted = max(scheduled_mw if self.order_mw is None else self.order_mw, 0.0)
        ramp = RAMP_MW_PER_S * dt_s
        self.sent_mw = min(self.sent_mw + min(max(wanted - self.sent_mw, -ramp), ramp), limit)
