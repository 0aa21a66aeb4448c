"""The edge nodes of a bench: their plans, and what their devices show at each look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from simulators.bench import Bench, SimulatedDevice
from simulators.devices.connection import Address
from simulators.devices.payloads import PAYLOADS
from simulators.devices.sparkplug.births import BirthMemory
from simulators.devices.sparkplug.config import EdgeNodeSettings
from simulators.devices.sparkplug.history import Sample
from simulators.devices.sparkplug.observation import METRICS, Source
from simulators.devices.sparkplug.plan import DevicePlan, NodePlan
from simulators.devices.sparkplug.runner import EdgeNodeRunner, Moment, Readings
from simulators.state import BenchState
from telemetry.clock import Clock


def edge_nodes(
    state: BenchState, clock: Clock, via: Mapping[str, Address] | None = None
) -> list[EdgeNodeRunner]:
    """A runner for each edge node of the bench, spread over their period; ``via`` has the relays that lead to
    the broker, by the names of edge nodes.

    Raises
    ------
    StorageError
        The memory of one cannot be read.

    """
    nodes = state.bench.edge_node
    return [
        EdgeNodeRunner(
            node_plan(settings, state.bench),
            state.bench.broker,
            clock,
            readings(settings, state),
            memory=BirthMemory(Path(settings.memory) if settings.memory else None),
            period_s=settings.period_s,
            start_after_s=settings.period_s * k / len(nodes),
            link=state.broker_link(),
            via=None if via is None else via[settings.name],
        )
        for k, settings in enumerate(nodes)
    ]


def node_plan(settings: EdgeNodeSettings, bench: Bench) -> NodePlan:
    """What the settings of an edge node make of it."""
    devices = [
        DevicePlan(
            device.id,
            tuple(
                replace(shown.plan, deadband=shown.plan.deadband * settings.deadband)
                for shown in METRICS[device.kind]
            ),
        )
        for device in settings.members(bench)
    ]
    return NodePlan(
        settings.group,
        settings.id,
        tuple(devices),
        primary_host=settings.primary_host,
        buffer=settings.buffer,
        batch=settings.batch,
        replay_ms=round(settings.replay_s * 1e3),
    )


def readings(settings: EdgeNodeSettings, state: BenchState) -> Readings:
    """How the devices of an edge node are looked at; one that answers only with exceptions is lost.

    A device that sends its own time is shown with that; what the edge node polls gets the edge node's time.
    """
    looks = {device.id: (device, _look(device, state)) for device in settings.members(state.bench)}

    def read(moment: Moment) -> Mapping[str, Mapping[str, Sample] | None]:
        shown: dict[str, Mapping[str, Sample] | None] = {}
        for name, (device, look) in looks.items():
            unit = state.units.get(name)
            if unit is not None and unit.exception is not None:
                shown[name] = None
                continue
            source, at_ms = look(moment)
            shown[name] = {m.plan.name: Sample(m.value(source), at_ms) for m in METRICS[device.kind]}
        return shown

    return read


def _look(device: SimulatedDevice, state: BenchState) -> Callable[[Moment], tuple[Source, int]]:
    position = state.position.get(device.id)
    if position is None:
        return partial(_inside, state, state.sight[device.id])
    if device.kind.modbus:
        return partial(_polled, state, position)
    if device.plant is not None:
        return partial(_controller, state, device, position, state.world.fleet.index[device.plant])
    return partial(_meter, state, position)


def _inside(state: BenchState, position: int, moment: Moment) -> tuple[Source, int]:
    return state.generation.look(position), moment.own_ms


def _polled(state: BenchState, position: int, moment: Moment) -> tuple[Source, int]:
    return state.readings[position], moment.own_ms


def _meter(state: BenchState, position: int, moment: Moment) -> tuple[Source, int]:
    return state.readings[position], state.device_time(position, moment.true_ns) // 1_000_000


def _controller(
    state: BenchState, device: SimulatedDevice, position: int, plant: int, moment: Moment
) -> tuple[Source, int]:
    at_ms = state.device_time(position, moment.true_ns) // 1_000_000
    plants = state.world.snapshot.plants
    return PAYLOADS[device.kind.value](state.readings[position], plants, plant, at_ms), at_ms
