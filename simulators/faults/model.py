"""The catalogue of faults: used by scenario files and by the control interface.

The kinds are in :mod:`~simulators.faults.on_truth`, :mod:`~simulators.faults.on_meters` and
:mod:`~simulators.faults.on_links`; a kind that is not in a union here does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, get_args

from pydantic import Field, TypeAdapter
from pydantic.fields import FieldInfo

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

__all__ = [
    "BROKER",
    "EVERYWHERE",
    "FAULT",
    "AnyFault",
    "Assets",
    "Fault",
    "KindEntry",
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
    | ControlOff
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


@dataclass(frozen=True, slots=True)
class KindEntry:
    """What the catalogue tells of a kind."""

    what: str
    where: Where
    parameters: Mapping[str, str]
    """What each may be, by its name."""

    @property
    def target(self) -> str:
        """What it strikes."""
        return self.where.value


def parameters() -> dict[str, KindEntry]:
    """Every kind of fault: what it is, what it strikes and the parameters that it takes besides."""
    kinds: dict[str, KindEntry] = {}
    for model in get_args(TruthFault | MeterFault | LinkFault):
        (kind,) = get_args(model.model_fields["kind"].annotation)
        taken = {
            name: _allowed(info)
            for name, info in model.model_fields.items()
            if name not in {"kind", "target"}
        }
        kinds[kind] = KindEntry(str(model.__doc__), model.where, taken)
    return kinds


def _allowed(info: FieldInfo) -> str:
    """What a parameter may be, for example ``above 0 to 1000`` or ``1 to 255, usually 6``."""
    if choices := get_args(info.annotation):
        return f"{', '.join(map(str, choices[:-1]))} or {choices[-1]}"
    low = high = ""
    for rule in info.metadata:
        if (least := getattr(rule, "ge", None)) is not None:
            low = f"{least:g}"
        elif (above := getattr(rule, "gt", None)) is not None:
            low = f"above {above:g}"
        elif (most := getattr(rule, "le", None)) is not None:
            high = f"{most:g}"
    shape = "a text" if info.annotation is str else "a number"
    allowed = f"{low} to {high}" if low and high else f"{low} or more" if low else shape
    return allowed if info.is_required() else f"{allowed}, usually {info.default}"
