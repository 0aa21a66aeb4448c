"""Losses of a line and of an HVDC link from what is measured at one end.

A line is a chain of uniform sections, each the exact two-port of the long-line equations: A = D = cosh(gamma
l), B = Zc sinh(gamma l), C = sinh(gamma l) / Zc, with gamma = sqrt(z y) and Zc = sqrt(z / y) (Kundur, Power
System Stability and Control, 1994, section 6.1.2; Glover, Sarma and Overbye, Power System Analysis and
Design, section 5.2). Fair-weather corona is the conductance of y. A nominal pi is not valid at these lengths.

Voltages are line to line [kV] and currents are sqrt(3) times the line current [kA], so that S = V conj(I) is
the three-phase power [MVA] and the per-phase two-port holds unchanged.
"""

from __future__ import annotations

import cmath
from dataclasses import dataclass

from telemetry.grid import Grid, Hvdc, Line, LineParameters, Reactive


@dataclass(frozen=True, slots=True)
class FarEnd:
    """The far end of a line, as its meter should read: + when power leaves the busbar into the line."""

    v_kv: float
    """Voltage, line to line [kV]."""
    p_mw: float
    q_mvar: float
    loss_mw: float
    """P of both ends together: what the line itself takes [MW]."""


@dataclass(frozen=True, slots=True)
class SectionModel:
    """Two-port of one section with all circuits in parallel, and what stands at its far joint."""

    a: complex
    b: complex
    """[ohm]."""
    c: complex
    """[S]."""
    joint: Reactive | None


class LineModel:
    """The chained two-ports of one line, with all its circuits in service or some of them.

    The shunt reactors at a joint belong to the circuits and go with them; a voltage controller stays.
    """

    def __init__(self, grid: Grid, line: Line, circuits: int | None = None) -> None:
        self._u_kv = grid.u_rated_kv
        parameters = grid.parameters_of(line)
        closed = line.circuits if circuits is None else circuits
        self._sections = [
            section_model(
                parameters,
                grid.u_rated_kv,
                section.km,
                closed,
                part_of(section.joint, closed / line.circuits),
            )
            for section in line.sections
        ]

    def far_end(self, v_kv: float, p_mw: float, q_mvar: float) -> FarEnd:
        """The far end from the near end's measurements.

        Parameters
        ----------
        v_kv
            Voltage at the near end, line to line [kV]; above 0.
        p_mw, q_mvar
            Power from the near busbar into the line [MW, Mvar].

        """
        v = complex(v_kv)
        i = (complex(p_mw, q_mvar) / v).conjugate()
        for section in self._sections:
            v, i = section.a * v - section.b * i, section.a * i - section.c * v
            if section.joint is not None:
                i -= (self._drawn(section.joint, abs(v)) / v).conjugate()
        received = v * i.conjugate()
        return FarEnd(abs(v), -received.real, -received.imag, p_mw - received.real)

    def loss_mw(self, v_kv: float, p_mw: float, q_mvar: float) -> float:
        """Loss of the line [MW], from the near end's voltage [kV] and power [MW, Mvar]."""
        return self.far_end(v_kv, p_mw, q_mvar).loss_mw

    def _drawn(self, joint: Reactive, v_kv: float) -> complex:
        """Power that the equipment at a joint takes from the line [MVA]."""
        square = (v_kv / joint.reactor_kv) ** 2
        q_control = joint.control_k_mvar_per_pu2 * (joint.control_vset_pu**2 - (v_kv / self._u_kv) ** 2)
        q_control = min(max(q_control, joint.control_qmin_mvar), joint.control_qmax_mvar)
        return complex(joint.reactor_loss_mw * square, joint.reactor_mvar * square - q_control)


class LineModels:
    """A line with each number of its circuits in service."""

    def __init__(self, grid: Grid, line: Line) -> None:
        self._all = line.circuits
        self._models = {n: LineModel(grid, line, n) for n in range(line.circuits, 0, -1)}

    def of(self, circuits: int) -> LineModel:
        """The line with so many circuits in service, from 1."""
        return self._models[circuits]

    def explained(
        self, v_kv: float, p_mw: float, q_mvar: float, q_far_mvar: float | None
    ) -> tuple[int, float]:
        """Number of circuits that explains the far end's reactive power best, and its loss [MW].

        Each circuit's charging power is tens to hundreds of Mvar, which neither a tap nor a meter within its
        class can imitate. Where the far end's is not known, all circuits are taken to be in service.
        """
        if q_far_mvar is None or self._all == 1:
            return self._all, self._models[self._all].loss_mw(v_kv, p_mw, q_mvar)
        far_ends = {n: model.far_end(v_kv, p_mw, q_mvar) for n, model in self._models.items()}
        circuits = min(far_ends, key=lambda n: abs(far_ends[n].q_mvar - q_far_mvar))
        return circuits, far_ends[circuits].loss_mw


def section_model(
    parameters: LineParameters, u_kv: float, km: float, circuits: int, joint: Reactive | None
) -> SectionModel:
    """A section of a length [km] with so many circuits in parallel, from 1."""
    z = complex(parameters.r_ohm_per_km, parameters.x_ohm_per_km)
    y = complex(parameters.corona_kw_per_km * 1e-3 / u_kv**2, parameters.b_us_per_km * 1e-6)
    gamma_l = cmath.sqrt(z * y) * km
    z_c = cmath.sqrt(z / y) / circuits
    return SectionModel(cmath.cosh(gamma_l), z_c * cmath.sinh(gamma_l), cmath.sinh(gamma_l) / z_c, joint)


def part_of(joint: Reactive | None, part: float) -> Reactive | None:
    """A joint with only a part of its reactors."""
    if joint is None:
        return None
    change = {
        "reactor_mvar": joint.reactor_mvar * part,
        "reactor_loss_mw": joint.reactor_loss_mw * part,
    }
    return joint.model_copy(update=change)


def hvdc_loss_mw(link: Hvdc, sent_mw: float) -> float:
    """Loss of an HVDC link [MW] that sends a power [MW] of either direction; 0 when it is blocked.

    Each converter takes a constant and a part proportional to its power; the cable takes 2 R I^2, with the
    current of a symmetrical pair of poles (out and return): I = P / (2 U).
    """
    sent = abs(sent_mw)
    if sent == 0.0:
        return 0.0
    into_cable = sent - _converter_loss_mw(link, sent)
    i_ka = into_cable / (2 * link.u_dc_kv)
    out_of_cable = into_cable - 2 * link.r_ohm_per_km * link.km * i_ka**2
    return sent - (out_of_cable - _converter_loss_mw(link, out_of_cable))


def _converter_loss_mw(link: Hvdc, p_mw: float) -> float:
    return link.converter_const_loss_mw + link.converter_prop_loss * p_mw
