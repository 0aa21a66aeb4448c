"""What is to be found out about a device, and how politely; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from commissioning.modbus.target import Span, UsageError, most
from telemetry.profiles import DeviceProfile, RegisterTable


@dataclass(frozen=True, slots=True)
class Manners:
    """How a device is treated."""

    pause_s: float = 0.02
    """Between a reply and the next request [s]."""
    patience: int = 3
    """Requests in a row without a sound reply after which the probe ends."""
    busy_retries: int = 3
    """Repeats of a question to a device that says that it is busy; the pause grows tenfold before each."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be found out.

    Raises
    ------
    UsageError
        Wishes that cannot be met together.

    """

    unit: int = 1
    table: RegisterTable = RegisterTable.HOLDING
    reads: tuple[Span, ...] = ()
    repeat: int = 1
    """How often they are read: the more, the better the statistics of round trips."""
    scan_units: range | None = None
    """Units to look for; nothing else is done then."""
    scan_registers: Span | None = None
    """Where to look for registers."""
    max_registers: int | None = None
    """Largest read; None for what the protocol allows."""
    max_requests: int = 5000
    """Requests after which a scan of registers ends."""
    profile: DeviceProfile | None = None
    """Whose points are read and judged."""
    guess: int | None = None
    """Address of a value whose encoding is to be guessed."""
    expected: float | None = None
    """What that value should be."""
    tolerance: float = 0.02
    """How far from it the value may be [share of it]."""
    samples: int = 3
    """How often a value to be guessed is read."""
    sample_pause_s: float = 0.5
    """Between two of these [s]."""
    tune: bool = False
    """Measure reads of several sizes, in the widest range that is read or found."""
    sunspec: tuple[int, ...] = ()
    """Addresses where the marker of a SunSpec device may stand; empty for other devices."""

    def __post_init__(self) -> None:
        others = (self.scan_registers, self.guess, self.profile)
        if self.scan_units is not None and (self.tune or any(other is not None for other in others)):
            raise UsageError("--scan-units stands alone: look into the units that it finds one by one")
        if self.expected is not None and self.guess is None:
            raise UsageError("--expect is for --guess: give the address of the value too")
        if self.expected is not None and not math.isfinite(self.expected):
            raise UsageError(f"--expect {self.expected}: give the number that the value should be")
        if self.guess is not None and self.table.is_bits:
            raise UsageError(f"--guess reads registers, not a table of bits: {self.table}")
        if self.profile is not None and self.profile.protocol != "modbus":
            fix = "name one with [modbus] or [sunspec]"
            raise UsageError(f"--profile {self.profile.id} is for {self.profile.protocol}: {fix}")
        if self.profile is not None and not self.profile.points:
            raise UsageError(f"--profile {self.profile.id} has no point that could be read")
        if self.tune and not (self.reads or self.scan_registers):
            raise UsageError("--tune needs a readable range: give --read ADDRESS:COUNT, or --scan-registers")

    @property
    def most(self) -> int:
        """Addresses in the largest read."""
        return most(self.table, self.max_registers)
