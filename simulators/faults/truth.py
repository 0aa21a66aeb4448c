"""Brings the faults on the truth into the world, and takes them out again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar, assert_never

from simulators.faults.model import Fault, TruthFault
from simulators.faults.on_truth import (
    Circuits,
    CloudFront,
    ControlOff,
    Curtailment,
    FrequencyEvent,
    HvdcOrder,
    HvdcPoles,
    LoadScale,
    PlantTrip,
    Schedule,
    Storm,
    Tap,
    Theft,
    Weather,
)
from simulators.world.hvdc import POLES
from simulators.world.world import World

Kind = TypeVar("Kind", bound=Fault)


class TruthFaults:
    """Keeps the world in step with the active faults; several of one kind on one target add up or the
    strongest counts.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._active: dict[str, TruthFault] = {}
        self._circuits = {line.id: line.circuits for line in world.plan.corridor.lines}

    def follow(self, active: Mapping[str, TruthFault]) -> None:
        """From the next step on exactly these faults, by id, are at work."""
        if active.keys() == self._active.keys():
            return
        begun = [fault for name, fault in active.items() if name not in self._active]
        ended = [fault for name, fault in self._active.items() if name not in active]
        self._active = dict(active)
        done: set[tuple[type[TruthFault], str]] = set()
        for fault in (*ended, *begun):
            if (type(fault), fault.target) not in done:
                done.add((type(fault), fault.target))
                self._set(fault, begins=fault in begun)

    def _set(self, fault: TruthFault, *, begins: bool) -> None:  # noqa: PLR0912 - one case each
        world, target = self._world, fault.target
        match fault:
            case Tap():
                world.set_tap(target, sum(f.mw for f in self._alike(fault, Tap)))
            case Theft():
                world.set_theft(target, sum(f.mw for f in self._alike(fault, Theft)))
            case Circuits():
                left = [f.in_service for f in self._alike(fault, Circuits)]
                world.set_circuits(target, min([*left, self._circuits[target]]))
            case PlantTrip():
                if self._alike(fault, PlantTrip):
                    world.trip_plant(target)
                else:
                    world.restore_plant(target)
            case Curtailment():
                limits = [f.mw for f in self._alike(fault, Curtailment)]
                world.set_curtailment(target, min(limits, default=None))
            case HvdcOrder():
                orders = [f.mw for f in self._alike(fault, HvdcOrder)]
                world.set_hvdc_order(orders[-1] if orders else None)
            case HvdcPoles():
                left = [f.in_service for f in self._alike(fault, HvdcPoles)]
                world.set_hvdc_poles(min([*left, POLES]))
            case Weather():
                if not begins:
                    world.set_weather(target, "fair")
                # the weather of a line is the latest that names it or all lines
                for other in self._active.values():
                    if isinstance(other, Weather):
                        world.set_weather(other.target, other.weather)
            case LoadScale():
                factors = [f.factor for f in self._alike(fault, LoadScale)]
                world.set_load_scale(target, factors[-1] if factors else 1.0)
            case Schedule():
                amounts = [f.mw for f in self._alike(fault, Schedule)]
                world.set_schedule(target, [(world.t_ns, amounts[-1])] if amounts else None)
            case FrequencyEvent():
                world.frequency_event(target, sum(f.mw for f in self._alike(fault, FrequencyEvent)))
            case ControlOff():
                world.set_control(target, on=not self._alike(fault, ControlOff))
            case CloudFront():
                world.cloud_front(target, fault.duration_s if begins else 0.0)
            case Storm():
                world.storm(target, fault.wind_ms, fault.duration_s if begins else 0.0)
            case _:
                assert_never(fault)

    def _alike(self, fault: TruthFault, kind: type[Kind]) -> Sequence[Kind]:
        return [f for f in self._active.values() if isinstance(f, kind) and f.target == fault.target]
