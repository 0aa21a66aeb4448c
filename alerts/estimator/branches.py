"""Branches as the estimator sees them: how the far end follows from the near one at an instant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite

from alerts.two_port import LineModel, LineModels, hvdc_loss_mw
from telemetry.grid import Grid, Hvdc, Line

_DEAD_MVA = 1.0
"""Power below which a line is switched off: an energised one draws its charging power [MVA]."""
_DEAD_PU = 0.5
"""Voltage below which a reading is none of an energised line [pu]."""

Loss = Callable[[float], float]
"""Power sent from the near end [MW] to the loss [MW]."""


@dataclass(frozen=True, slots=True)
class EndReading:
    """What is measured at one end of a branch; NaN where nothing is."""

    p_mw: float = float("nan")
    q_mvar: float = float("nan")
    v_kv: float = float("nan")


@dataclass(frozen=True, slots=True)
class Course:
    """A branch at an instant, from the end that its loss is computed from."""

    reverse: bool
    """The near end is the ``to`` end."""
    loss: Loss
    circuits: int
    """Circuits in service, as the reactive power tells; of a link 1."""
    loss_sigma_mw: float
    """Standard uncertainty of the loss model [MW]; 0 for none."""


@dataclass(frozen=True, slots=True)
class LineBranch:
    """An AC line; its loss is that of the exact two-port with the voltage and reactive power of one end."""

    grid: Grid
    line: Line
    forward: LineModels = field(init=False)
    backward: LineModels = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "forward", LineModels(self.grid, self.line))
        object.__setattr__(self, "backward", LineModels(self.grid, reversed_line(self.line)))

    @property
    def id(self) -> str:
        """Of the line."""
        return self.line.id

    @property
    def nodes(self) -> tuple[str, str]:
        """Of its two ends."""
        return self.line.from_node, self.line.to_node

    def course(self, here: EndReading, there: EndReading) -> Course:
        """The line as its ends are measured now.

        Without voltage or reactive power of either end, the rated voltage and no reactive power are taken,
        and the loss is as uncertain as it is large.
        """
        kw_per_km = self.grid.parameters_of(self.line).corona_sigma_kw_per_km
        powers = [abs(x) for end in (here, there) for x in (end.p_mw, end.q_mvar) if isfinite(x)]
        if powers and max(powers) < _DEAD_MVA:
            return Course(False, _nothing, 0, 0.0)
        dead_kv = _DEAD_PU * self.grid.u_rated_kv
        for reverse, near, far, models in (
            (False, here, there, self.forward),
            (True, there, here, self.backward),
        ):
            if isfinite(near.p_mw) and isfinite(near.q_mvar) and near.v_kv > dead_kv:
                q_far = far.q_mvar if isfinite(far.q_mvar) else None
                circuits, _ = models.explained(near.v_kv, near.p_mw, near.q_mvar, q_far)
                sigma = kw_per_km * self.line.km * circuits / 1000
                return Course(reverse, _loss_at(models.of(circuits), near), circuits, sigma)
        rated = _loss_at(self.forward.of(self.line.circuits), EndReading(0.0, 0.0, self.grid.u_rated_kv))
        guess = abs(rated(max(powers, default=0.0)))
        return Course(False, rated, self.line.circuits, max(guess, 1.0))


@dataclass(frozen=True, slots=True)
class LinkBranch:
    """An HVDC link; its loss follows from what the sending end sends."""

    hvdc: Hvdc

    @property
    def id(self) -> str:
        """Of the link."""
        return self.hvdc.id

    @property
    def nodes(self) -> tuple[str, str]:
        """Of its two ends."""
        return self.hvdc.from_node, self.hvdc.to_node

    def course(self, here: EndReading, there: EndReading) -> Course:
        """The link as its ends are measured now; the near end is the one that sends."""
        net = (here.p_mw if isfinite(here.p_mw) else 0.0) - (there.p_mw if isfinite(there.p_mw) else 0.0)
        if abs(net) < _DEAD_MVA:
            return Course(net < 0, _nothing, 0, 0.0)
        return Course(net < 0, lambda p: hvdc_loss_mw(self.hvdc, p), 1, 0.0)


def reversed_line(line: Line) -> Line:
    """The same line seen from its other end."""
    sections = line.sections
    joints = [section.joint for section in sections[:-1]]
    turned = tuple(
        section.model_copy(update={"joint": joint})
        for section, joint in zip(reversed(sections), [*reversed(joints), None], strict=True)
    )
    return line.model_copy(update={"from_node": line.to_node, "to_node": line.from_node, "sections": turned})


def _loss_at(model: LineModel, near: EndReading) -> Loss:
    """The loss of a line with the voltage and reactive power of its near end."""
    return lambda p: model.loss_mw(near.v_kv, p, near.q_mvar)


def _nothing(_: float) -> float:
    return 0.0
