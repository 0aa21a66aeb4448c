"""Clocks of devices: nearly right, each in its own way, which its serial number decides.

How far clocks are off is illustrative. A device that sends its own time is set by NTP over the plant's
network: tens of milliseconds. One that is only polled has a quartz clock that its master sets once a day:
up to seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

_SECOND_NS = 10**9


class Discipline(StrEnum):
    """What keeps a clock right."""

    NTP = "ntp"
    """Corrected every hour, with what the network makes of it."""
    RTC = "rtc"
    """A quartz, set once a day."""


@dataclass(frozen=True, slots=True)
class _Spread:
    """How much clocks of one discipline differ."""

    offset_s: float
    """Standard deviation of the offset right after setting [s]; three of them are the limit."""
    drift: float
    """Standard deviation of the drift [s/s]."""
    period_s: int
    """Time from one setting to the next [s]."""


_SPREADS = {Discipline.NTP: _Spread(0.03, 5e-6, 3600), Discipline.RTC: _Spread(0.4, 1e-5, 86_400)}


@dataclass(frozen=True, slots=True)
class DeviceClock:
    """A clock that is off by an offset, and drifts until it is set again."""

    offset_s: float
    """How far ahead it is right after it was set [s]."""
    drift: float
    """What it gains from then on [s/s]."""
    period_ns: int
    """Time from one setting to the next [ns]."""
    phase_ns: int
    """Age of the last setting at the epoch [ns]: devices are not all set at once."""

    def ahead_s(self, t_ns: int) -> float:
        """How far ahead it is at a true time [s]."""
        return self.offset_s + self.drift * ((t_ns + self.phase_ns) % self.period_ns / _SECOND_NS)

    def at(self, t_ns: int, fault_s: float = 0.0) -> int:
        """What it shows at a true time [ns, UTC]; a fault puts it ahead by ``fault_s`` besides [s]."""
        return t_ns + round((self.ahead_s(t_ns) + fault_s) * _SECOND_NS)


class ClockBank:
    """Clocks of many devices, read together."""

    def __init__(self, clocks: Iterable[DeviceClock]) -> None:
        self.clocks = tuple(clocks)
        self._offset_s = np.array([clock.offset_s for clock in self.clocks], np.float64)
        self._drift = np.array([clock.drift for clock in self.clocks], np.float64)
        self._period_ns = np.array([clock.period_ns for clock in self.clocks], np.int64)
        self._phase_ns = np.array([clock.phase_ns for clock in self.clocks], np.int64)

    def __getitem__(self, position: int) -> DeviceClock:
        return self.clocks[position]

    def at(self, t_ns: int) -> NDArray[np.int64]:
        """What each shows at a true time [ns, UTC]."""
        since_s = (t_ns + self._phase_ns) % self._period_ns / _SECOND_NS
        ahead_s = self._offset_s + self._drift * since_s
        return t_ns + np.rint(ahead_s * _SECOND_NS).astype(np.int64)


def clock_of(serial: str, discipline: Discipline = Discipline.NTP) -> DeviceClock:
    """The clock of a device: the same for every run, whatever the seed of the world."""
    spread = _SPREADS[discipline]
    digest = hashlib.sha256(f"clock of {serial}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    limit_s = 3 * spread.offset_s
    offset_s = float(np.clip(rng.normal(0.0, spread.offset_s), -limit_s, limit_s))
    drift = float(np.clip(rng.normal(0.0, spread.drift), -3 * spread.drift, 3 * spread.drift))
    period_ns = spread.period_s * _SECOND_NS
    return DeviceClock(offset_s, drift, period_ns, int(rng.integers(0, period_ns)))
