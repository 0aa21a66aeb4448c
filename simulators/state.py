"""The bench without its wires: the world, the devices that observe it, and what is done to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import get_args

import structlog

from simulators.bench import Bench, SimulatedDevice, TapScript
from simulators.control import Status
from simulators.devices import catalogue
from simulators.devices.generation import WHOLE, Generation, GenerationBank, Sight
from simulators.devices.modbus import MappedUnit, Unit
from simulators.devices.payloads import PAYLOADS, Message, Said, Writer
from simulators.devices.registers import Held, WordOrder
from simulators.exercise import Exercise
from simulators.faults.frames import UNFRAMED
from simulators.faults.link import LinkFaults
from simulators.faults.meter import MeterFaults
from simulators.faults.model import BROKER, Assets, LinkFault, MeterFault, TruthFault
from simulators.faults.on_truth import Tap
from simulators.faults.truth import TruthFaults
from simulators.scenario import Timed
from simulators.world.meters import Instrument, MeterBank, Observes, Reading
from simulators.world.world import Snapshot, World

_log = structlog.get_logger(__name__)

STEP_S = 1.0
_TRUTH, _METER, _LINK = get_args(TruthFault), get_args(MeterFault), get_args(LinkFault)
_SWAPPED = {
    WordOrder.ABCD: WordOrder.CDAB,
    WordOrder.CDAB: WordOrder.ABCD,
    WordOrder.BADC: WordOrder.DCBA,
    WordOrder.DCBA: WordOrder.BADC,
}


class BenchState:
    """Steps the world and shows it on the devices.

    Parameters
    ----------
    bench
        The devices, and the taps that are scripted with them.
    start_ns
        Start of the world [ns, UTC].
    timeline
        What goes wrong besides, and when.

    Raises
    ------
    ConfigError
        A recording cannot be read.

    """

    def __init__(self, bench: Bench, start_ns: int, timeline: Sequence[Timed] = ()) -> None:
        self.bench = bench
        self.started_ns = start_ns
        self.world = World(bench.plan, bench.seed, start_ns)
        self.devices: tuple[SimulatedDevice, ...] = tuple(served.device for served in bench.served())
        """Every device of the bench, numbered ones included."""
        self.metered = tuple(d for d in self.devices if d.kind.measures)
        """Devices that show what an instrument measures, in the order of :attr:`readings`."""
        self.position = {device.id: i for i, device in enumerate(self.metered)}
        """Position of each metered device, by its id."""
        inside = [d for d in self.devices if not d.kind.measures and d.plant is not None]
        self.sight = {device.id: i for i, device in enumerate(inside)}
        """Position in :attr:`generation` of each device that looks at a plant from inside, by its id."""
        self.meters = MeterBank(self.world, [_instrument(self.world, d) for d in self.metered], bench.seed)
        self.generation = GenerationBank(self.world, [_sight(self.world, d) for d in inside], bench.seed)
        self.exercise = Exercise([*map(_timed, bench.tap), *timeline], Assets.of(bench))
        self._truth = TruthFaults(self.world)
        self.meter_faults = MeterFaults(
            self.position,
            [device.id for device in self.metered if not device.kind.modbus],
        )
        self._struck: Mapping[str, MeterFault] = {}
        framings = {server.settings.id: server.settings.transport.framing for server in bench.servers()}
        framings[BROKER] = UNFRAMED
        framings |= {node.name: UNFRAMED for node in bench.edge_node}
        self.links = {
            name: LinkFaults(bench.seed + i, framing) for i, (name, framing) in enumerate(framings.items())
        }
        """What is wrong with the link of each server and edge node, and with that to the broker."""
        self._broker_links: list[LinkFaults] = []
        self._broken: Mapping[str, LinkFault] = {}
        self.readings: Sequence[Reading] = []
        """What each metered device shows."""
        self.units: dict[str, Unit] = {}
        """Each device that answers on Modbus, by its id."""
        self.lines: dict[str, dict[int, Unit]] = {server.settings.id: {} for server in bench.servers()}
        """The same units, by server and unit identifier."""
        self._look(self.world.snapshot, 0.0)
        for device in self.devices:
            if device.gateway is not None and device.unit is not None:
                unit = self._unit(device)
                self.units[device.id] = self.lines[device.gateway][device.unit] = unit
        self.publishers = frozenset(device.id for device in self.devices if not device.kind.modbus)
        """Ids of the devices that publish."""
        self._mapped = {name: unit for name, unit in self.units.items() if isinstance(unit, MappedUnit)}
        self._orders = {
            self.position[name]: (unit, unit.word_order)
            for name, unit in self._mapped.items()
            if name in self.position
        }
        self._swapped: frozenset[int] = frozenset()
        self.publishing = [i for i, device in enumerate(self.metered) if not device.kind.modbus]
        """Positions of the metered devices that publish."""
        self._writers = {
            i: Writer(self.metered[i].topic or "", self.metered[i].shape, self.metered[i].batch)
            for i in self.publishing
        }
        self._said: dict[int, dict[str, Said]] = {i: {} for i in self.publishing}
        self._plant = [self.world.fleet.index.get(device.plant or "", -1) for device in self.metered]

    def step(self, elapsed_s: float, now_ns: int, dt_s: float = STEP_S) -> None:
        """Advances the world by ``dt_s`` [s]; ``elapsed_s`` is the time since the start, for the scripts."""
        announced = self.exercise.advance(elapsed_s, now_ns)
        self._truth.follow(self.exercise.active(*_TRUTH))
        self._struck = self.exercise.active(*_METER)
        self._break_links()
        down_before = self.world.snapshot.collapse is not None
        snapshot = self.world.step(dt_s)
        if snapshot.collapse is not None and not down_before:
            self.exercise.announce(f"The simulated grid has collapsed: {snapshot.collapse.reason}", now_ns)
            announced += self.exercise.advance(elapsed_s, now_ns)
        self._look(snapshot, dt_s)
        for unit in self._mapped.values():
            unit.refresh()
        self._swap_words()
        for announcement in announced:
            _log.info("announcement", text=announcement.text)

    def messages(self, position: int, now_ns: int) -> list[Message]:
        """What the publishing device at ``position`` has to say now."""
        device = self.metered[position]
        members = PAYLOADS[device.kind.value](
            self.readings[position],
            self.world.snapshot.plants,
            self._plant[position],
            self.device_time(position, now_ns) // 1_000_000,
        )
        messages = self._writers[position].messages(members)
        self._said[position] |= {m.topic: Said(now_ns, m.topic, m.payload) for m in messages}
        return messages

    def device_time(self, position: int, now_ns: int) -> int:
        """What the clock of the metered device at ``position`` shows at a true time [ns, UTC]."""
        fault_s = self.meter_faults.clock_offset_s.get(position, 0.0)
        return self.meters.clocks[position].at(now_ns, fault_s)

    def broker_link(self) -> LinkFaults:
        """What becomes of the messages of one more client of the broker."""
        self._broker_links.append(LinkFaults(self.bench.seed + len(self._broker_links)))
        return self._broker_links[-1]

    def registers(self, device_id: str) -> list[Held]:
        """What every register of a device holds right now.

        Raises
        ------
        KeyError
            No device of that id answers on Modbus.

        """
        return self.units[device_id].registers()

    def said(self, device_id: str) -> list[Said]:
        """What a publishing device said last on each of its topics.

        Raises
        ------
        KeyError
            No device of that id publishes.

        """
        return list(self._said[self.position[device_id]].values())

    def restore(self) -> None:
        """Energises again what has collapsed; the next step shows it."""
        self.world.restore()

    def look(self, device_id: str) -> Generation:
        """What a turbine, inverter, mast or farm controller observes right now.

        Raises
        ------
        KeyError
            No such device stands in a plant.

        """
        return self.generation.look(self.sight[device_id])

    def status(self) -> Status:
        """What the control interface reports."""
        collapse = self.world.snapshot.collapse
        return Status(
            started_ns=self.started_ns,
            speed=1.0,
            steps=self.world.snapshot.step,
            collapse=None if collapse is None else collapse.reason,
            announcements=self.exercise.announcements,
            faults=[injected.document() for injected in self.exercise.faults],
        )

    def _look(self, snapshot: Snapshot, dt_s: float) -> None:
        self.meters.observe(snapshot, dt_s)
        self.generation.observe(snapshot, dt_s)
        self.readings = self.meter_faults.shown(self._struck, self.meters.readings(), snapshot.t_ns)

    def _break_links(self) -> None:
        broken = self.exercise.active(*_LINK)
        if broken.keys() == self._broken.keys():
            return
        self._broken = broken
        for target, link in (*self.links.items(), *((BROKER, link) for link in self._broker_links)):
            link.follow([fault for fault in broken.values() if fault.target == target])

    def _swap_words(self) -> None:
        swapped = self.meter_faults.swapped
        for position in swapped ^ self._swapped:
            if position in self._orders:
                unit, usual = self._orders[position]
                unit.word_order = _SWAPPED[usual] if position in swapped else usual
        self._swapped = swapped

    def _unit(self, device: SimulatedDevice) -> Unit:
        if device.id in self.position:
            return catalogue.unit_of_meter(device, self._reader(self.position[device.id]))
        if device.id in self.sight:
            return catalogue.unit_in_plant(device, partial(self.look, device.id))
        return catalogue.unit_of_recording(device)

    def _reader(self, position: int) -> Callable[[], Reading]:
        return lambda: self.readings[position]


def _timed(tap: TapScript) -> Timed:
    fault = Tap(kind="tap", target=tap.line, mw=tap.mw)
    return Timed(at_s=tap.at_s, for_s=tap.for_s, repeat_s=tap.repeat_s, fault=fault)


def _instrument(world: World, device: SimulatedDevice) -> Instrument:
    clock = device.kind.clock
    if device.plant is not None:
        return Instrument(device.id, Observes.PLANT, world.fleet.index[device.plant], clock)
    node = device.node or ""
    if device.branch is not None:
        return Instrument(device.id, Observes.END, world.end(device.branch, node), clock)
    return Instrument(device.id, Observes.NODE, world.nodes.index(node), clock)


def _sight(world: World, device: SimulatedDevice) -> Sight:
    single = "number" in device.kind.traits.allowed
    plant = world.fleet.index[device.plant or ""]
    return Sight(plant, device.number if single else WHOLE, device.id)
