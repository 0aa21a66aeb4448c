"""The catalogue of faults: used by scenario files and by the control interface.

The kinds are in :mod:`~simulators.faults.on_truth`, :mod:`~simulators.faults.on_meters` and
:mod:`~simulators.faults.on_links`; a kind that is not in a union here does not exist.
"""

from __future__ import annotations

from typing import Annotated, get_args

from pydantic import Field, TypeAdapter

from simulators.faults.fault import BROKER, EVERYWHERE, Assets, Fault, Where
from simulators.faults.on_links import (
    BrokerRestart,
    Down,
    Duplicate,
    ExceptionStorm,
    Garbage,
    HalfOpen,
    LateReply,
    OutOfOrder,
    ShortFrame,
    Slow,
    Trickle,
    WrongTransaction,
)
from simulators.faults.on_meters import (
    ClockDrift,
    CounterReset,
    Exchanged,
    Gain,
    GainDrift,
    Offset,
    Polarity,
    Skew,
    Stuck,
    WordSwap,
    WrongScale,
)
from simulators.faults.on_truth import (
    Circuits,
    CloudFront,
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

__all__ = [
    "BROKER",
    "EVERYWHERE",
    "FAULT",
    "AnyFault",
    "Assets",
    "Fault",
    "LinkFault",
    "MeterFault",
    "TruthFault",
    "Where",
    "parameters",
]

TruthFault = (
    Tap
    | Theft
    | Circuits
    | PlantTrip
    | Curtailment
    | HvdcOrder
    | HvdcPoles
    | Weather
    | CloudFront
    | Storm
    | Schedule
    | FrequencyEvent
    | LoadScale
)
MeterFault = (
    Gain
    | Offset
    | GainDrift
    | Stuck
    | Skew
    | ClockDrift
    | Polarity
    | WordSwap
    | WrongScale
    | CounterReset
    | Exchanged
)
LinkFault = (
    Down
    | HalfOpen
    | Slow
    | Trickle
    | Garbage
    | ShortFrame
    | WrongTransaction
    | LateReply
    | ExceptionStorm
    | BrokerRestart
    | Duplicate
    | OutOfOrder
)
AnyFault = Annotated[TruthFault | MeterFault | LinkFault, Field(discriminator="kind")]
"""Any fault, told apart by its ``kind``."""

FAULT: TypeAdapter[TruthFault | MeterFault | LinkFault] = TypeAdapter(AnyFault)
"""Checks data of a fault that come from outside."""


def parameters() -> dict[str, dict[str, object]]:
    """Every kind of fault: what it is, what it strikes and the parameters that it takes besides."""
    kinds: dict[str, dict[str, object]] = {}
    for model in get_args(TruthFault | MeterFault | LinkFault):
        (kind,) = get_args(model.model_fields["kind"].annotation)
        names = {
            name: info.description or ("required" if info.is_required() else f"default {info.default}")
            for name, info in model.model_fields.items()
            if name not in {"kind", "target"}
        }
        kinds[kind] = {"what": model.__doc__, "target": model.where.value, "parameters": names}
    return kinds
