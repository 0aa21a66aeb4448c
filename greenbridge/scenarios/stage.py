"""The simulated side of a play: world, meters and what is wrong with them, as bytes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import get_args

import msgspec

from greenbridge.scenarios.memory import MemoryGateway, MemoryMeter
from greenbridge.scenarios.publishing import Published
from simulators.bench import Bench, SimulatedDevice
from simulators.devices.catalogue import READING_MAPS
from simulators.devices.payloads import PAYLOADS
from simulators.faults.link import LinkFaults
from simulators.faults.meter import MeterFaults
from simulators.faults.model import BROKER, LinkFault, MeterFault, TruthFault
from simulators.faults.truth import TruthFaults
from simulators.scenario import Timed
from simulators.world.meters import Instrument, MeterBank, Observes
from simulators.world.world import World

_TRUTH, _METER, _LINK = get_args(TruthFault), get_args(MeterFault), get_args(LinkFault)


class Stage:
    """Steps the world and shows it on in-memory devices.

    Parameters
    ----------
    bench
        The devices.
    known
        Ids of the devices that take part; the others are not read by anybody.
    timeline
        What goes wrong and when.
    seed
        Of weather, loads and meters.
    start_ns
        Start of the world [ns, UTC].

    """

    def __init__(
        self, bench: Bench, known: Collection[str], timeline: Iterable[Timed], seed: int, start_ns: int
    ) -> None:
        devices = [served.device for served in bench.served() if served.device.id in known]
        self.world = World(bench.plan, seed, start_ns)
        self._start_ns = start_ns
        self._timeline = tuple(timeline)
        self._meters = MeterBank(self.world, [_instrument(self.world, d) for d in devices], seed)
        positions = {device.id: i for i, device in enumerate(devices)}
        stamped = [device.id for device in devices if not device.kind.modbus]
        self._truth, self._meter_faults = TruthFaults(self.world), MeterFaults(positions, stamped)
        self.links = {
            name: LinkFaults(seed + i) for i, name in enumerate([*(g.id for g in bench.gateway), BROKER])
        }
        """Faults of each gateway's link and of the broker's."""
        self._polled: list[tuple[int, MemoryMeter]] = []
        units: dict[str, dict[int, MemoryMeter]] = {}
        self._publishing: list[tuple[int, SimulatedDevice, int]] = []
        for i, device in enumerate(devices):
            if device.gateway is not None and device.unit is not None:
                meter = MemoryMeter(READING_MAPS[device.kind.value])
                units.setdefault(device.gateway, {})[device.unit] = meter
                self._polled.append((i, meter))
            elif device.topic is not None:
                self._publishing.append((i, device, self.world.fleet.index.get(device.plant or "", -1)))
        self.gateways: Mapping[str, MemoryGateway] = {
            gateway: MemoryGateway(meters) for gateway, meters in units.items()
        }
        self._encoder = msgspec.json.Encoder()
        self._broken: dict[str, MeterFault] = {}
        self._show(0.0)

    def step(self, elapsed_s: float, dt_s: float) -> None:
        """Advances to ``elapsed_s`` from the start by a step of ``dt_s`` [s]."""
        active = {
            f"{i}-{event.fault.kind}": event.fault
            for i, event in enumerate(self._timeline)
            if event.due(elapsed_s)
        }
        self._truth.follow({name: f for name, f in active.items() if isinstance(f, _TRUTH)})
        self._broken = {name: f for name, f in active.items() if isinstance(f, _METER)}
        for target, link in self.links.items():
            link.follow(f for f in active.values() if isinstance(f, _LINK) and f.target == target)
        self.world.step(dt_s)
        self._show(dt_s)

    def _show(self, dt_s: float) -> None:
        self._meters.observe(self.world.snapshot, dt_s)
        faults = self._meter_faults
        self._readings = faults.shown(self._broken, self._meters.readings(), self.world.t_ns)
        for position, meter in self._polled:
            meter.reading = self._readings[position]
            meter.swapped = position in faults.swapped

    def messages(self, elapsed_s: float) -> Iterator[Published]:
        """What the publishing devices say in the second after ``elapsed_s``, each at its own moment."""
        plants, offsets = self.world.snapshot.plants, self._meter_faults.clock_offset_s
        pause = 1.0 / max(1, len(self._publishing))
        for k, (position, device, plant) in enumerate(self._publishing):
            t_s = elapsed_s + (k + 0.5) * pause + offsets.get(position, 0.0)
            ts_ms = (self._start_ns + round(t_s * 1e9)) // 1_000_000
            members = PAYLOADS[device.kind.value](self._readings[position], plants, plant, ts_ms)
            yield device.topic or "", self._encoder.encode(members)


def _instrument(world: World, device: SimulatedDevice) -> Instrument:
    if device.plant is not None:
        return Instrument(device.id, Observes.PLANT, world.fleet.index[device.plant])
    node = device.node or ""
    if device.branch is not None:
        return Instrument(device.id, Observes.END, world.end(device.branch, node))
    return Instrument(device.id, Observes.NODE, world.nodes.index(node))
