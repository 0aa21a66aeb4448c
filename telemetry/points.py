"""Points: the measured and derived quantities of devices, and how they are named."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import Field

from telemetry.settings import Settings

Identifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
"""Name of an area, node, line, link or device; its characters are safe in a topic, tag or path."""

PointName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,47}$")]
"""Name of a point within its device, in the style of IEC 61400-25 and SunSpec (``TotW``, ``HorWdSpd``)."""


class PointKind(StrEnum):
    """What sort of quantity a point is; decides how it is drawn, averaged and checked."""

    ANALOG = "analog"
    COUNTER = "counter"
    """Monotonic register, for example an energy counter."""
    STATE = "state"
    """Enumerated number."""


class Unit(StrEnum):
    """Units in which values are stored; adapters convert into them."""

    MW = "MW"
    MVAR = "Mvar"
    KV = "kV"
    A = "A"
    HZ = "Hz"
    MWH = "MWh"
    M_PER_S = "m/s"
    DEG = "deg"
    DEG_C = "degC"
    W_PER_M2 = "W/m2"
    PERCENT = "%"
    RPM = "rpm"
    HPA = "hPa"
    COUNT = "1"
    """A number without a unit: a count or an enumerated state."""


class PointKey(NamedTuple):
    """Identity of a point for ever: the registry maps it to an index that is never used again."""

    device: str
    name: str
    unit: str


class Deadband(Settings):
    """How much a reading must differ from the last stored one to be stored; rules see every reading."""

    absolute: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Width [unit of the point]; 0 holds back only what does not change at all."""
    range_pct: Annotated[float, Field(gt=0, le=50)] | None = None
    """Width, in place of an absolute one [% of high - low]."""
    max_silence_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """Time after which a reading is stored however little it differs [s]."""

    def width(self, spec: PointSpec) -> float:
        """Width for a point [unit]."""
        if self.absolute is not None:
            return self.absolute
        return (self.range_pct or 0.0) / 100 * (spec.high - spec.low)


class PointSpec(Settings):
    """What a device profile says of one point."""

    title: str
    """For people, for example ``Active power, three-phase total``."""
    unit: Unit
    kind: PointKind = PointKind.ANALOG
    low: float = -math.inf
    """Smallest physically possible value; a reading below it is bad (out of range) [unit]."""
    high: float = math.inf
    """Largest physically possible value; a reading above it is bad (out of range) [unit]."""
    resolution: float = 0.0
    """Smallest step that the device can report [unit]."""
    states: dict[str, str] = Field(default_factory=dict)
    """Of a state point: code (as text, TOML keys are text) to name, for example ``4 = "MPPT"``."""
    deadband: Deadband | None = None
    """Which readings the stores may leave out; without one they hold all of them."""
