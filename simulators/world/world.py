"""The world: one true state of the whole corridor, stepped second by second from a seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from simulators.world import generation, network, powerflow
from simulators.world.corridor import Corridor
from simulators.world.generation import Regulation
from simulators.world.network import BASE_MVA, Network
from simulators.world.plants import Fleet, Plant, PlantState
from simulators.world.powerflow import Collapse, Solution
from simulators.world.weather import Drift

Array = NDArray[np.float64]

NOMINAL_HZ = 50.0
FREQUENCY_SIGMA_HZ, FREQUENCY_TAU_S = 0.006, 45.0
LOAD_SIGMA, LOAD_TAU_S = 0.004, 300.0
"""Relative standard deviation and time constant of the local load of a node."""

REFERENCE_SYNC_AREAS: Mapping[str, str] = {"KZ": "IPS/UPS", "UZ": "IPS/UPS", "AZ": "IPS/UPS"}
"""All three areas run synchronously with IPS/UPS (general knowledge, so kept as configuration)."""


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """True state of one moment: ``end_*`` over :attr:`World.ends`, ``node_*`` over :attr:`World.nodes`."""

    step: int
    t_ns: int
    collapse: Collapse | None
    """Why the grid is down; then nothing flows, and every voltage and frequency is zero."""
    end_p_mw: Array
    """+ leaving the busbar into the branch."""
    end_q_mvar: Array
    end_i_a: Array
    end_v_kv: Array
    node_p_mw: Array
    """Injection, + into the bus: all that is not a branch (plants, loads, shunts, a neighbouring grid)."""
    node_q_mvar: Array
    node_v_kv: Array
    node_f_hz: Array
    slack_mw: Array
    """Supply of the neighbouring grid at each slack bus, + into the bus."""
    balance_pu: float
    """Largest mismatch between what the buses are given and what lines and shunts take."""
    plants: PlantState


@dataclass(frozen=True, slots=True)
class WorldPlan:
    """Everything that defines a world besides its seed and its start."""

    corridor: Corridor
    plants: tuple[Plant, ...]
    regulations: tuple[Regulation, ...] = generation.REFERENCE
    sync_areas: Mapping[str, str] = field(default_factory=lambda: REFERENCE_SYNC_AREAS)
    injection_scale: float = 1.0
    """Factor on base injections, regulated exports and the HVDC order, to visit other loadings."""


class World:
    """Steps the true state. Start: every node injects exactly its base case.

    Local loads and unnamed conventional plants make up the difference between a node's base injection and the
    expected output of its plants at any hour of the day, as day-ahead commitment would; what remains are the
    deviations of wind, clouds and load, and generation control.
    """

    def __init__(self, plan: WorldPlan, seed: int, start_ns: int) -> None:
        corridor = plan.corridor
        self.plan = plan
        self.nodes = tuple(bus.id for bus in corridor.nodes)
        self.ends: tuple[tuple[str, str], ...] = (
            *((line.id, bus) for line in corridor.lines for bus in (line.from_bus, line.to_bus)),
            (corridor.hvdc.id, corridor.hvdc.from_bus),
            (corridor.hvdc.id, corridor.hvdc.to_bus),
        )
        """(branch, node) of every branch end."""
        self.hvdc_order_mw = corridor.hvdc.p_order_mw * plan.injection_scale
        self._end_index = {end: i for i, end in enumerate(self.ends)}
        weather_seed, load_seed = np.random.SeedSequence(seed).spawn(2)
        self._rng = np.random.default_rng(load_seed)
        self.fleet = Fleet(plan.plants, np.random.default_rng(weather_seed))
        self._t_ns = start_ns
        self._step = 0
        buses = {bus.id: i for i, bus in enumerate(corridor.buses)}
        self._base_p = np.array([bus.p_mw for bus in corridor.buses]) * plan.injection_scale
        self._base_q = np.array([bus.q_mvar for bus in corridor.buses]) * plan.injection_scale
        self._plant_bus = np.array([buses[plant.node] for plant in plan.plants], np.intp)
        self._node_bus = np.array([buses[node] for node in self.nodes], np.intp)
        self._end_bus = np.array([buses[node] for _, node in self.ends], np.intp)
        self._hvdc_buses = (buses[corridor.hvdc.from_bus], buses[corridor.hvdc.to_bus])
        end_node = [self.nodes.index(node) for _, node in self.ends]
        self._gather = np.zeros((len(self.nodes), len(self.ends)))
        self._gather[end_node, np.arange(len(self.ends))] = 1.0
        self._slack_bus = np.array([buses[slack.bus] for slack in corridor.slacks], np.intp)
        self._slack_index = {slack.bus: i for i, slack in enumerate(corridor.slacks)}
        metered = np.array([float(bus.metered) for bus in corridor.buses])
        sigma = LOAD_SIGMA * np.maximum(np.abs(self._base_p), 100.0) * metered
        sigma[self._slack_bus] = 0.0
        self._load = Drift(sigma, np.full(len(sigma), LOAD_TAU_S))
        areas = [plan.sync_areas.get(bus.area, bus.area) for bus in corridor.nodes]
        self._sync_areas = sorted(set(areas))
        self._node_sync = np.array([self._sync_areas.index(area) for area in areas], np.intp)
        n_sync = len(self._sync_areas)
        self._frequency = Drift(np.full(n_sync, FREQUENCY_SIGMA_HZ), np.full(n_sync, FREQUENCY_TAU_S))
        self._taps: dict[str, float] = {}
        self._network = network.build(corridor)
        self._solution: Solution | None = None
        self._collapse: Collapse | None = None
        self.snapshot = self._solve()

    @property
    def network(self) -> Network:
        """The network as it is now, taps included."""
        return self._network

    @property
    def t_ns(self) -> int:
        """The world's own time [ns, UTC]."""
        return self._t_ns

    def set_taps(self, taps: Mapping[str, float]) -> None:
        """Loads [MW] that hang in the middle of lines, by line, from the next step on.

        Raises
        ------
        KeyError
            A tap names no line.

        """
        if set(taps) != set(self._network.taps):
            previous, self._network = self._network, network.build(self.plan.corridor, taps)
            self._solution = (
                None if self._solution is None else _carried(self._solution, previous, self._network)
            )
        self._taps = dict(taps)

    def step(self, dt_s: float = 1.0) -> Snapshot:
        """Advances the world by ``dt_s`` [s] and returns its new state.

        A grid that has collapsed stays down: restoring one is a procedure of its own, not modelled here.
        """
        self._step += 1
        self._t_ns += round(dt_s * 1e9)
        noise = self._rng.standard_normal(len(self._base_p) + len(self._sync_areas))
        self._load.step(dt_s, noise[: len(self._base_p)])
        self._frequency.step(dt_s, noise[len(self._base_p) :])
        self.fleet.step(dt_s)
        if self._collapse is None:
            for regulation in self.plan.regulations:
                self._regulate(regulation, dt_s)
        self.snapshot = self._solve()
        return self.snapshot

    def end(self, branch: str, node: str) -> int:
        """Position of a branch end in the ``end_*`` columns.

        Raises
        ------
        KeyError
            The branch has no end at that node.

        """
        return self._end_index[(branch, node)]

    def export_mw(self, regulation: Regulation) -> float:
        """What an area exports now over the ties that its generation control watches [MW]."""
        now = self.snapshot
        if regulation.meters:
            return float(sum(now.end_p_mw[self.end(branch, node)] for branch, node in regulation.meters))
        return -float(now.slack_mw[self._slack_index[regulation.slack]])

    def _regulate(self, regulation: Regulation, dt_s: float) -> None:
        i = self.fleet.index[regulation.plant]
        scaled = replace(regulation, export_mw=regulation.export_mw * self.plan.injection_scale)
        self.fleet.setpoint_mw[i] = generation.setpoint(
            scaled,
            float(self.fleet.setpoint_mw[i]),
            float(self.fleet.rated_mw[i]),
            self.export_mw(scaled),
            dt_s,
        )

    def _solve(self) -> Snapshot:
        plants = self.fleet.state(self._t_ns)
        if self._collapse is not None:
            return self._dark(self._collapse, plants)
        p, q = self._injections(plants)
        result = powerflow.solve(self._network, p, q, self._solution)
        if isinstance(result, Collapse) and self._solution is not None:
            result = powerflow.solve(self._network, p, q)
        if isinstance(result, Collapse):
            self._collapse = result
            return self._dark(result, plants)
        self._solution = result
        return self._observed(result, p, plants)

    def _injections(self, plants: PlantState) -> tuple[Array, Array]:
        """Injections of all buses [pu]."""
        p, q = self._base_p + self._load.value, self._base_q.copy()
        np.add.at(p, self._plant_bus, plants.p_mw - self.fleet.forecast_mw(self._t_ns))
        sending, receiving = self._hvdc_buses
        p[sending] -= self.hvdc_order_mw
        p[receiving] += self.plan.corridor.hvdc.received_mw(self.hvdc_order_mw)
        extra = len(self._network.buses) - len(p)
        p, q = np.concatenate([p, np.zeros(extra)]), np.concatenate([q, np.zeros(extra)])
        for line, bus in zip(self._network.taps, self._network.tap_bus, strict=True):
            p[bus] -= self._taps[line]
        return p / BASE_MVA, q / BASE_MVA

    def _observed(self, solution: Solution, p: Array, plants: PlantState) -> Snapshot:
        into_from, into_to = powerflow.line_flows(self._network, solution)
        flows = np.zeros(len(self.ends), np.complex128)
        flows[0:-2:2], flows[1:-2:2] = into_from * BASE_MVA, into_to * BASE_MVA
        flows[-2:] = self.hvdc_order_mw, -self.plan.corridor.hvdc.received_mw(self.hvdc_order_mw)
        kv = solution.voltage * self.plan.corridor.u_rated_kv
        end_kv = kv[self._end_bus]
        nodes = self._gather @ flows
        wanted = solution.injected.real.copy()
        wanted[self._network.free] -= p[self._network.free]
        slack = (solution.injected.real - p)[self._slack_bus] * BASE_MVA
        wanted[self._network.slack] = 0.0
        return Snapshot(
            step=self._step,
            t_ns=self._t_ns,
            collapse=None,
            end_p_mw=flows.real,
            end_q_mvar=flows.imag,
            end_i_a=np.abs(flows) * 1e3 / (np.sqrt(3.0) * end_kv),
            end_v_kv=end_kv,
            node_p_mw=nodes.real,
            node_q_mvar=nodes.imag,
            node_v_kv=kv[self._node_bus],
            node_f_hz=(NOMINAL_HZ + self._frequency.value)[self._node_sync],
            slack_mw=slack,
            balance_pu=float(np.abs(wanted).max()),
            plants=plants,
        )

    def _dark(self, collapse: Collapse, plants: PlantState) -> Snapshot:
        ends, nodes = np.zeros(len(self.ends)), np.zeros(len(self.nodes))
        slack = np.zeros(len(self._slack_bus))
        return Snapshot(
            self._step,
            self._t_ns,
            collapse,
            ends,
            ends,
            ends,
            ends,
            nodes,
            nodes,
            nodes,
            nodes,
            slack,
            0.0,
            plants.dark(),
        )


def _carried(solution: Solution, old: Network, new: Network) -> Solution:
    """A state of the old network as a start for the new one; an added bus starts between its neighbours."""
    kept = {bus: i for i, bus in enumerate(old.buses)}
    voltage, angle = np.ones(len(new.buses)), np.zeros(len(new.buses))
    for i, bus in enumerate(new.buses):
        near = (
            [bus]
            if bus in kept
            else [b for j, b in enumerate(new.buses) if new.admittance[i, j] and b in kept]
        )
        voltage[i] = np.mean([solution.voltage[kept[b]] for b in near])
        angle[i] = np.mean([solution.angle[kept[b]] for b in near])
    return replace(solution, voltage=voltage, angle=angle)
