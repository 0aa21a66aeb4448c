"""The true state of one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulators.world.plants import PlantState
from simulators.world.powerflow import Collapse

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Columns: ``end_*`` over :attr:`World.ends`, ``node_*`` over :attr:`World.nodes`, ``circuit_*`` over
    :attr:`World.circuit_ends`; all powers in MW and Mvar.

    Where there is no grid, every flow, voltage and frequency is zero. An open line's ends carry nothing;
    their voltage is that of the busbar.
    """

    step: int
    t_ns: int
    collapse: Collapse | None
    """Why part of the grid, or all of it, is down, and which nodes with it."""
    dead_nodes: tuple[str, ...]
    """Nodes without voltage: collapsed, or cut off from every slack."""
    end_p_mw: Array
    """+ leaving the busbar into the branch."""
    end_q_mvar: Array
    end_i_a: Array
    end_v_kv: Array
    circuit_p_mw: Array
    """+ leaving the busbar into the circuit; for the HVDC link its poles."""
    circuit_q_mvar: Array
    circuit_i_a: Array
    circuit_closed: NDArray[np.bool_]
    """Breakers: whether the circuit is in service."""
    node_p_mw: Array
    """Metered injection, + into the bus: all that is not a branch, except an unmetered take-off."""
    node_q_mvar: Array
    node_v_kv: Array
    node_f_hz: Array
    node_load_mw: Array
    """Consumption (an illustrative split of the injection)."""
    node_local_mw: Array
    """Local generation and storage that is no named plant (the rest of the injection)."""
    slack_mw: Array
    """Supply of the neighbouring grid at each slack bus of the data set, + into the bus."""
    balance_pu: float
    """Largest difference between what a bus is given and what lines and shunts take."""
    plants: PlantState
    schedule_mw: Mapping[str, float]
    """Scheduled exchange of each tie, ramped."""
    reactor_units: NDArray[np.int64]
    """Units in service of each reactor group of the data set; those of an open line are off with it."""
    hvdc_poles: int
