"""The world: one true state of the whole corridor, stepped from a seed, and all that can be done to it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from simulators.world import generation, loads, powerflow
from simulators.world.frequency import NOMINAL_HZ, Frequency, governed
from simulators.world.generation import Regulation
from simulators.world.grid import Grid, Weather
from simulators.world.hvdc import POLES, HvdcLink
from simulators.world.network import BASE_MVA, Network
from simulators.world.places import Places
from simulators.world.plan import WorldPlan
from simulators.world.plants import Fleet, PlantState
from simulators.world.powerflow import Solution
from simulators.world.schedules import Schedules, Steps
from simulators.world.snapshot import Snapshot
from simulators.world.weather import Drift
from telemetry.settings import nearest

__all__ = ["Snapshot", "World", "WorldPlan"]

Array = NDArray[np.float64]

MAX_STEP_S = 60.0
FREQUENCY_SIGMA_HZ, FREQUENCY_TAU_S = 0.006, 45.0
LOAD_SIGMA, LOAD_TAU_S = 0.004, 300.0
"""Relative standard deviation and time constant of the local load of a node."""
LOAD_SWING_SHARE = 0.2
"""Share of a node's daily swing of consumption that the grid brings; local generation follows the rest."""
EVERYWHERE = "all"
_SHAPE_NS = 10 * 10**9


class World:
    """Steps the true state. Start: every node injects nearly its base case, at any hour and in any wind.

    Local generation, storage and flexible load at each node (all illustrative) follow what wind, sun and
    habits make of the node's plants and consumption, as day-ahead commitment and balancing would, with a
    short lag; what remains are quick deviations, part of the daily swing of consumption, generation control,
    and every disturbance that is injected: nothing local makes up for those.

    Methods that change something set the cause; the next :meth:`step` shows the effect. Unknown names raise
    :class:`KeyError` with the name and the nearest valid one.
    """

    def __init__(self, plan: WorldPlan, seed: int, start_ns: int) -> None:
        corridor = plan.corridor
        self.plan = plan
        self._places = places = Places(plan)
        self.nodes = places.nodes
        self.ends = places.ends
        """(branch, node) of every branch end."""
        self.circuit_ends = places.circuit_ends
        """(branch, node, number from 1) of every end of a circuit or pole."""
        self.schedules = Schedules(plan.contracts, plan.injection_scale)
        self.hvdc = HvdcLink(corridor.hvdc, self.schedules.tie_mw(corridor.hvdc.id, start_ns))
        self.grid = Grid(corridor, plan.standby, switch_reactors=plan.switch_reactors)
        self.runback_armed = False
        weather_seed, load_seed = np.random.SeedSequence(seed).spawn(2)
        self._rng = np.random.default_rng(load_seed)
        self.fleet = Fleet(plan.plants, np.random.default_rng(weather_seed), start_ns)
        self._t_ns = start_ns
        self._step = 0
        self._base_p = np.array([bus.p_mw for bus in corridor.buses]) * plan.injection_scale
        self._base_q = np.array([bus.q_mvar for bus in corridor.buses]) * plan.injection_scale
        self._demand = np.array([plan.demand_mw.get(node, 0.0) for node in self.nodes]) * plan.injection_scale
        metered = np.array([float(bus.metered) for bus in corridor.buses])
        sigma = LOAD_SIGMA * np.maximum(np.abs(self._base_p), 100.0) * metered
        sigma[self._places.slack_bus] = 0.0
        self._noise = Drift(sigma, np.full(len(sigma), LOAD_TAU_S))
        self._load_scale = np.ones(len(self.nodes))
        self._uncontrolled: set[str] = set()
        """Areas whose generation control is out of service."""
        self._theft = np.zeros(len(self.nodes))
        n_sync = len(self._places.sync_areas)
        self._flicker = Drift(np.full(n_sync, FREQUENCY_SIGMA_HZ), np.full(n_sync, FREQUENCY_TAU_S))
        self._frequency = Frequency(self._places.sync_areas)
        self._deviation = dict.fromkeys(self._places.areas, 0.0)
        self._shaped_at = -1
        self._shape: Array = np.ones(len(self._places.areas))
        self.snapshot = self._solve()
        self._commit()

    def _commit(self) -> None:
        """Starts with every area at its schedule, as if generation control had always been at work."""
        for _ in range(5):
            for regulation in self.plan.regulations:
                i = self.fleet.index[regulation.plant]
                lacking = self._scheduled_mw(regulation) - self.export_mw(regulation)
                wanted = float(self.fleet.setpoint_mw[i]) + lacking
                self.fleet.regulate(i, min(max(wanted, 0.0), float(self.fleet.rated_mw[i])))
                self.snapshot = self._solve()

    @property
    def network(self) -> Network:
        """The network as it is now, taps included."""
        return self.grid.network

    @property
    def t_ns(self) -> int:
        """The world's own time [ns, UTC]."""
        return self._t_ns

    # ---- causes

    def set_tap(self, line: str, mw: float) -> None:
        """A load in the middle of a line's first circuit [MW]; 0 removes it."""
        self._places.line(line)
        if mw < 0 or not math.isfinite(mw):
            raise ValueError(f"a tap of {mw:g} MW on {line} is not a load")
        self.grid.set_tap(line, mw)

    def set_theft(self, node: str, mw: float) -> None:
        """A take-off at a bus that its injection meter does not see [MW]; 0 removes it."""
        self._theft[self._places.node(node)] = mw

    def set_circuits(self, line: str, in_service: int) -> None:
        """Circuits of a line that are in service.

        Raises
        ------
        ValueError
            The line does not have so many.

        """
        self._places.line(line)
        self.grid.set_circuits(line, in_service)

    def trip_plant(self, plant: str) -> None:
        """Takes a whole plant off the grid at once."""
        self.fleet.trip(self._places.plant(plant))

    def restore_plant(self, plant: str) -> None:
        """Lets a tripped plant come back; it ramps up."""
        self.fleet.release(self._places.plant(plant))

    def set_curtailment(self, plant: str, mw: float | None) -> None:
        """Limits a plant's output [MW]; None takes the limit away."""
        self.fleet.curtail(self._places.plant(plant), mw)

    def set_hvdc_order(self, mw: float | None) -> None:
        """Orders a power of the HVDC link [MW]; None lets it follow its schedule again.

        Raises
        ------
        ValueError
            The link cannot send so much.

        """
        limit = self.hvdc.link.limit_mw
        if mw is not None and not 0 <= mw <= limit:
            raise ValueError(f"{self.hvdc.link.id} sends between 0 and {limit:g} MW, not {mw:g}")
        self.hvdc.order_mw = mw

    def set_hvdc_poles(self, in_service: int) -> None:
        """Poles of the HVDC link in service; 0 blocks it.

        Raises
        ------
        ValueError
            The link does not have so many.

        """
        if not 0 <= in_service <= POLES:
            raise ValueError(f"{self.hvdc.link.id} has {POLES} poles, not {in_service}")
        self.hvdc.poles = in_service

    def arm_runback(self, armed: bool) -> None:
        """Lets the loss of a line of the plan's ``runbacks`` limit the HVDC link at once, or not."""
        self.runback_armed = armed

    def set_weather(self, target: str, weather: str) -> None:
        """Weather along a line, or along all: fair, dry_snow, rain or hoarfrost."""
        try:
            named = Weather(weather)
        except ValueError:
            raise KeyError(f'no weather "{weather}" ({nearest(weather, list(Weather))})') from None
        targets = [line.id for line in self.plan.corridor.lines] if target == EVERYWHERE else [target]
        for line in targets:
            self._places.line(line)
            self.grid.set_weather(line, named)

    def cloud_front(self, area_or_node: str, duration_s: float) -> None:
        """Thick clouds over the solar plants of an area or node for a time [s]; 0 ends it."""
        self.fleet.cloud(self._places.plants_of(area_or_node), duration_s)

    def storm(self, area_or_node: str, wind_ms: float, duration_s: float) -> None:
        """A mean wind [m/s] over the wind plants of an area or node for a time [s]; 0 s ends it."""
        self.fleet.storm(self._places.plants_of(area_or_node), wind_ms, duration_s)

    def set_schedule(self, tie_or_contract: str, steps: Steps | None) -> None:
        """Replaces the schedule of a tie or contract from given times on; None sets it back."""
        self.schedules.set(tie_or_contract, steps)

    def frequency_event(self, sync_area: str, mw: float) -> None:
        """Loss of generation outside the model [MW]; 0 brings it back."""
        self._places.sync_area(sync_area)
        self._frequency.lose(sync_area, mw)

    def set_load_scale(self, node_or_area: str, factor: float) -> None:
        """Multiplies the consumption of a node or area; 1 sets it back."""
        self._load_scale[self._places.nodes_of(node_or_area)] = factor

    def set_control(self, area: str, *, on: bool) -> None:
        """Takes the generation control of an area out of service: its plant stays where it is, whatever the
        area exchanges; in an island it holds the frequency all the same. On again, it goes on from there.
        """
        if area not in {regulation.area for regulation in self.plan.regulations}:
            raise KeyError(f"no area {area} with generation control")
        (self._uncontrolled.discard if on else self._uncontrolled.add)(area)

    def restore(self) -> None:
        """Energises again what has collapsed; the HVDC link and tripped plants follow their own ways."""
        self.grid.restore()

    # ---- reading

    def end(self, branch: str, node: str) -> int:
        """Position of a branch end in the ``end_*`` columns.

        Raises
        ------
        KeyError
            The branch has no end at that node.

        """
        return self._places.end_index[(branch, node)]

    def circuit_end(self, branch: str, node: str, circuit: int) -> int:
        """Position of an end of a circuit (from 1) in the ``circuit_*`` columns.

        Raises
        ------
        KeyError
            There is no such circuit end.

        """
        return self._places.circuit_index[(branch, node, circuit)]

    def export_mw(self, regulation: Regulation) -> float:
        """What an area exports now over the ties that its generation control watches [MW]."""
        now = self.snapshot
        if regulation.meters:
            return float(sum(now.end_p_mw[self.end(branch, node)] for branch, node in regulation.meters))
        return -float(now.slack_mw[self._places.slack_index[regulation.slack]])

    # ---- stepping

    def step(self, dt_s: float = 1.0) -> Snapshot:
        """Advances the world by ``dt_s`` [s] and returns its new state.

        Raises
        ------
        ValueError
            ``dt_s`` is not above 0 and at most 60 s.

        """
        if not 0 < dt_s <= MAX_STEP_S:
            raise ValueError(f"a step of {dt_s:g} s is not above 0 and at most {MAX_STEP_S:g} s")
        self._step += 1
        self._t_ns += round(dt_s * 1e9)
        count = len(self._base_p)
        noise = self._rng.standard_normal(count + len(self._places.sync_areas))
        self._noise.step(dt_s, noise[:count])
        self._flicker.step(dt_s, noise[count:])
        self._advance_frequency(dt_s)
        for regulation in self.plan.regulations:
            self._regulate(regulation, dt_s)
        self.fleet.step(dt_s, self._t_ns, self.network.live[self._places.plant_bus])
        self.grid.step(dt_s)
        self.grid.rebuild()
        self._follow_hvdc(dt_s)
        self.snapshot = self._solve()
        return self.snapshot

    def _follow_hvdc(self, dt_s: float) -> None:
        armed = self.plan.runbacks.items() if self.runback_armed else ()
        lost = [mw for line, mw in armed if self.grid.in_service(line) == 0]
        self.hvdc.runback_mw = min(lost, default=None)
        scheduled = self.schedules.tie_mw(self.hvdc.link.id, self._t_ns)
        self.hvdc.step(dt_s, scheduled, energised=self._link_energised())

    def _link_energised(self) -> bool:
        return bool(self.network.live[list(self._places.hvdc_buses)].all())

    def _advance_frequency(self, dt_s: float) -> None:
        now = self.snapshot
        drawn: dict[str, float] = {}
        for regulation in self.plan.regulations:
            area = regulation.area
            sync = self.plan.sync_areas[area]
            if self._islanded(regulation):
                self._frequency.island(area, dt_s, self._island_draw, regulation.bias_mw_per_hz)
                continue
            self._frequency.rejoin(area)
            if not regulation.meters and now.collapse is None:
                planned = sum(now.schedule_mw[tie] for tie in regulation.ties)
                supply = float(now.slack_mw[self._places.slack_index[regulation.slack]])
                drawn[sync] = drawn.get(sync, 0.0) + supply + planned
        self._frequency.step(dt_s, drawn)
        self._deviation = {
            area: self._frequency.deviation_hz(area, self.plan.sync_areas[area])
            for area in self._places.areas
        }

    def _islanded(self, regulation: Regulation) -> bool:
        """Whether an area has lost its slack and runs on the one that stands by."""
        return self.plan.standby.get(regulation.slack) in self.grid.own_slacks

    def _regulate(self, regulation: Regulation, dt_s: float) -> None:
        i = self.fleet.index[regulation.plant]
        if not self.network.live[self._places.plant_bus[i]]:
            return
        if regulation.area in self._uncontrolled and not self._islanded(regulation):
            return
        deviation = self._deviation[regulation.area]
        wanted = -regulation.bias_mw_per_hz * governed(deviation)
        if self._islanded(regulation):
            wanted = -regulation.bias_mw_per_hz * deviation
        else:
            wanted += self._scheduled_mw(regulation) - self.export_mw(regulation)
        self.fleet.regulate(
            i,
            generation.setpoint(
                regulation,
                float(self.fleet.setpoint_mw[i]),
                float(self.fleet.rated_mw[i]),
                wanted,
                dt_s,
            ),
        )

    def _scheduled_mw(self, regulation: Regulation) -> float:
        return sum(self.schedules.tie_mw(tie, self._t_ns) for tie in regulation.ties)

    def _solve(self) -> Snapshot:
        plants = self.fleet.state()
        consumption = self._demand * self._shapes()[self._places.node_area]
        p, q = self._injections(plants, consumption)
        solution, wanted = self.grid.solve(p / BASE_MVA, q / BASE_MVA)
        if self.hvdc.sent_mw and not self._link_energised():
            # what has just collapsed takes the link with it, and the other island loses its infeed
            self.hvdc.sent_mw = 0.0
            p, q = self._injections(plants, consumption)
            solution, wanted = self.grid.solve(p / BASE_MVA, q / BASE_MVA)
        return self._observed(solution, wanted, plants, consumption * self._load_scale)

    def _shapes(self) -> Array:
        """Relative consumption of each area; a new value every ten seconds, which nobody can tell."""
        moment = self._t_ns // _SHAPE_NS
        if moment != self._shaped_at:
            self._shaped_at = moment
            self._shape = np.array(
                [loads.shape(loads.COUNTRIES[area], self._t_ns) for area in self._places.areas]
            )
        return self._shape

    def _injections(self, plants: PlantState, consumption: Array) -> tuple[Array, Array]:
        """Injections of the data set's buses [MW, Mvar]."""
        p, q = self._base_p + self._noise.value, self._base_q.copy()
        p += np.bincount(self._places.plant_bus, plants.p_mw - self.fleet.expected_mw, len(p))
        swing = LOAD_SWING_SHARE * (self._demand - consumption)
        p[self._places.node_bus] += swing + consumption * (1 - self._load_scale) - self._theft
        for regulation in self.plan.regulations:
            bus = self._places.plant_bus[self.fleet.index[regulation.plant]]
            deviation = self._deviation[regulation.area]
            # an island's governors act without a dead band: they are all there is
            seen = deviation if self._islanded(regulation) else governed(deviation)
            p[bus] -= regulation.bias_mw_per_hz * seen
        sending, receiving = self._places.hvdc_buses
        p[sending] -= self.hvdc.sent_mw
        p[receiving] += self.hvdc.received_mw
        return p, q

    def _observed(
        self, solution: Solution, wanted: Array, plants: PlantState, consumption: Array
    ) -> Snapshot:
        net, link = self.network, self.hvdc
        sent, received = link.sent_mw, link.received_mw
        into_from, into_to = powerflow.circuit_flows(net, solution)
        into_from, into_to = into_from * BASE_MVA, into_to * BASE_MVA
        flows = np.empty(len(self.ends), np.complex128)
        flows[0:-2:2] = np.add.reduceat(into_from, net.line_start)
        flows[1:-2:2] = np.add.reduceat(into_to, net.line_start)
        flows[-2:] = sent, -received
        pole = np.where(np.arange(POLES) < link.poles, 1 / max(link.poles, 1), 0.0)
        circuits = np.concatenate([into_from, into_to, sent * pole, -received * pole])
        in_service = net.first_share > 0
        kv = solution.voltage * self.plan.corridor.u_rated_kv
        nodes = self._places.gather @ flows
        live = net.live[self._places.node_bus]
        drawn = (solution.injected.real - wanted) * BASE_MVA
        self._island_draw = sum(float(drawn[net.index[bus]]) for bus in self.grid.own_slacks)
        free = drawn[net.free]
        plants = plants.where(
            net.live[self._places.plant_bus], net.live[self._places.plant_bus[self.fleet.unit_plant]]
        )
        node_p = nodes.real + self._theft * live
        load = consumption * live
        named = np.bincount(self._places.plant_bus, plants.p_mw, len(self._base_p))[self._places.node_bus]
        neighbour = np.zeros(len(self._base_p))
        neighbour[self._places.slack_bus] = drawn[self._places.slack_bus] * net.live[self._places.slack_bus]
        deviation = np.array([self._deviation[area] for area in self._places.areas])
        flicker = self._flicker.value[self._places.area_sync]
        hertz = (NOMINAL_HZ + deviation + flicker)[self._places.node_area]
        return Snapshot(
            step=self._step,
            t_ns=self._t_ns,
            collapse=self.grid.collapse,
            dead_nodes=self.grid.dead_nodes,
            end_p_mw=flows.real,
            end_q_mvar=flows.imag,
            end_i_a=_amperes(flows, kv[self._places.end_bus]),
            end_v_kv=kv[self._places.end_bus],
            circuit_p_mw=circuits.real,
            circuit_q_mvar=circuits.imag,
            circuit_i_a=_amperes(circuits, kv[self._places.circuit_bus]),
            circuit_closed=np.concatenate([in_service, in_service, pole > 0, pole > 0]),
            node_p_mw=node_p,
            node_q_mvar=nodes.imag,
            node_v_kv=kv[self._places.node_bus],
            node_f_hz=np.where(live, hertz, 0.0),
            node_load_mw=load,
            node_local_mw=node_p - named - neighbour[self._places.node_bus] + load,
            slack_mw=neighbour[self._places.slack_bus],
            balance_pu=float(np.abs(free).max()) / BASE_MVA if len(free) else 0.0,
            plants=plants,
            schedule_mw={tie: self.schedules.tie_mw(tie, self._t_ns) for tie in self.schedules.ties},
            reactor_units=self.grid.reactors.units.copy(),
            hvdc_poles=link.poles,
        )


def _amperes(flows: NDArray[np.complex128], kv: Array) -> Array:
    volts = np.sqrt(3.0) * kv
    amperes: Array = np.divide(np.abs(flows) * 1e3, volts, out=np.zeros(len(flows)), where=volts > 0)
    return amperes
