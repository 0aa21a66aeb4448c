"""What faulty meters show of what they measured: readings in, readings out."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from simulators.faults.model import MeterFault
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
from simulators.world.meters import Reading, class_errors

_WH_PER_MW_NS = 1e6 / 3.6e12
_MOST = 1e15
"""Largest power and current: in watts a float32 still holds it [MW, A]."""
_FULL = (1 << 64) - 1
"""Largest count of an unsigned counter of 64 bits [Wh]."""


@dataclass(slots=True)
class _Struck:
    """A fault at work on one meter, with what the meter showed when it began, earlier faults included."""

    fault: MeterFault
    position: int
    since_ns: int
    first: Reading
    past: deque[tuple[int, Reading]]
    """Of a skewed meter: what it measured and has not shown yet."""
    begun: bool = False
    """Whether ``first`` is known."""


class MeterFaults:
    """Applies faults to the readings of a bench; ``positions`` are those of the devices in the readings.

    Several faults of one meter work one after the other, in the order in which they began. The devices of
    ``stamped`` send their own time with a reading: a wrong clock moves that time and leaves the reading. The
    others are asked, and a clock that is behind shows as readings that come late.
    """

    def __init__(self, positions: Mapping[str, int], stamped: Collection[str] = ()) -> None:
        self._positions = dict(positions)
        self._stamped = {positions[name] for name in stamped}
        self._struck: dict[str, _Struck] = {}
        self.swapped: frozenset[int] = frozenset()
        """Positions of the devices that send the words of each number in the other order."""
        self.clock_offset_s: Mapping[int, float] = {}
        """How far the clock of a device is ahead [s], by position."""

    def shown(
        self, active: Mapping[str, MeterFault], measured: Sequence[Reading], now_ns: int
    ) -> Sequence[Reading]:
        """What the devices show.

        Parameters
        ----------
        active
            Faults by id; one that is new begins now, one that is gone has ended.
        measured
            What the devices measured, in their order.
        now_ns
            Time of the measurement [ns].

        """
        self._follow(active, measured, now_ns)
        if not self._struck:
            return measured
        offsets: dict[int, float] = {}
        for struck in self._struck.values():
            if isinstance(struck.fault, Skew | ClockDrift):
                offsets[struck.position] = offsets.get(struck.position, 0.0) + _ahead_s(struck, now_ns)
        self.clock_offset_s = offsets
        readings = list(measured)
        for struck in self._struck.values():
            if isinstance(struck.fault, Skew | ClockDrift) and struck.position in self._stamped:
                continue
            so_far = readings[struck.position]
            if not struck.begun:
                struck.first, struck.begun = so_far, True
            readings[struck.position] = _within(_shown(struck, so_far, now_ns))
        return readings

    def _follow(self, active: Mapping[str, MeterFault], measured: Sequence[Reading], now_ns: int) -> None:
        if active.keys() == self._struck.keys():
            return
        for gone in self._struck.keys() - active.keys():
            del self._struck[gone]
        for name, fault in active.items():
            if name not in self._struck:
                position = self._positions[fault.target]
                self._struck[name] = _Struck(fault, position, now_ns, measured[position], deque())
        self.swapped = frozenset(
            struck.position for struck in self._struck.values() if isinstance(struck.fault, WordSwap)
        )
        self.clock_offset_s = {}


def _shown(struck: _Struck, reading: Reading, now_ns: int) -> Reading:  # noqa: PLR0911 - one case each
    fault, first = struck.fault, struck.first
    match fault:
        case Gain():
            return _amplified(reading, 1 + fault.pct / 100)
        case GainDrift():
            hours = (now_ns - struck.since_ns) / 3.6e12
            return _amplified(reading, 1 + fault.pct_per_h / 100 * hours)
        case Offset():
            return reading._replace(p_mw=reading.p_mw + fault.mw)
        case Stuck():
            counted = abs(first.p_mw) * (now_ns - struck.since_ns) * _WH_PER_MW_NS
            return reading._replace(
                p_mw=first.p_mw,
                q_mvar=first.q_mvar,
                i_a=first.i_a,
                export_wh=first.export_wh + round(counted if first.p_mw > 0 else 0),
                import_wh=first.import_wh + round(counted if first.p_mw < 0 else 0),
            )
        case Skew() | ClockDrift():
            return _delayed(struck, reading, now_ns, -_ahead_s(struck, now_ns))
        case Polarity():
            return reading._replace(
                p_mw=-reading.p_mw,
                q_mvar=-reading.q_mvar,
                export_wh=first.export_wh + reading.import_wh - first.import_wh,
                import_wh=first.import_wh + reading.export_wh - first.export_wh,
            )
        case WrongScale():
            return reading._replace(
                p_mw=reading.p_mw * fault.factor,
                q_mvar=reading.q_mvar * fault.factor,
                export_wh=round(reading.export_wh * fault.factor),
                import_wh=round(reading.import_wh * fault.factor),
            )
        case CounterReset():
            return _recounted(reading, first)
        case Exchanged():
            return _recounted(_of_serial(reading, fault), first)
        case WordSwap():
            return reading
    assert_never(fault)


def _within(reading: Reading) -> Reading:
    """The reading within what registers and metrics can hold, however many faults pile up."""
    return reading._replace(
        p_mw=min(max(reading.p_mw, -_MOST), _MOST),
        q_mvar=min(max(reading.q_mvar, -_MOST), _MOST),
        i_a=min(max(reading.i_a, -_MOST), _MOST),
        export_wh=min(max(reading.export_wh, 0), _FULL),
        import_wh=min(max(reading.import_wh, 0), _FULL),
    )


def _ahead_s(struck: _Struck, now_ns: int) -> float:
    """How far the fault puts the clock ahead by now [s]."""
    if isinstance(struck.fault, ClockDrift):
        return struck.fault.s_per_h * (now_ns - struck.since_ns) / 3.6e12
    return struck.fault.seconds if isinstance(struck.fault, Skew) else 0.0


def _amplified(reading: Reading, gain: float) -> Reading:
    return reading._replace(
        p_mw=reading.p_mw * gain, q_mvar=reading.q_mvar * gain, i_a=reading.i_a * abs(gain)
    )


def _recounted(reading: Reading, first: Reading) -> Reading:
    return reading._replace(
        export_wh=reading.export_wh - first.export_wh,
        import_wh=reading.import_wh - first.import_wh,
    )


def _of_serial(reading: Reading, fault: Exchanged) -> Reading:
    """The reading as a meter of the new serial number would have it."""
    (old_v, old_i), (new_v, new_i) = class_errors(fault.target), class_errors(fault.serial)
    voltage, current = (1 + new_v) / (1 + old_v), (1 + new_i) / (1 + old_i)
    return reading._replace(
        p_mw=reading.p_mw * voltage * current,
        q_mvar=reading.q_mvar * voltage * current,
        v_kv=reading.v_kv * voltage,
        i_a=reading.i_a * current,
    )


def _delayed(struck: _Struck, reading: Reading, now_ns: int, delay_s: float) -> Reading:
    """The reading of ``delay_s`` ago; until then that of the beginning. A clock ahead delays nothing."""
    if delay_s <= 0:
        return reading
    past = struck.past
    past.append((now_ns, reading))
    due = now_ns - round(delay_s * 1e9)
    while len(past) > 1 and past[1][0] <= due:
        past.popleft()
    return past[0][1]
