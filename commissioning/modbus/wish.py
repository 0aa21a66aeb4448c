"""What is to be found out about a device, and how politely; pure."""

from __future__ import annotations

from dataclasses import dataclass

from commissioning.modbus.target import Span, most
from telemetry.profiles import RegisterTable


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
    """What is to be found out."""

    unit: int = 1
    table: RegisterTable = RegisterTable.HOLDING
    reads: tuple[Span, ...] = ()
    scan_units: range | None = None
    """Units to look for."""
    scan_registers: Span | None = None
    """Where to look for registers."""
    max_registers: int | None = None
    """Largest read; None for what the protocol allows."""
    max_requests: int = 5000
    """Requests after which a scan of registers ends."""

    @property
    def most(self) -> int:
        """Addresses in the largest read."""
        return most(self.table, self.max_registers)
