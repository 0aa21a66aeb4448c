"""Register maps of the simulated revenue meters.

``pm5xxx`` follows the public register list of the Schneider PowerLogic PM5000 series (register number minus
one on the wire; big-endian words; energy "delivered" flows into the load, that is out of the busbar).
``umg`` follows the Modbus address list of the Janitza UMG series (addresses sent as listed; "consumed" is out
of the busbar). Both are from general knowledge of these lists: check a device's own list at commissioning.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime

from simulators.devices.registers import Encoding, Register, RegisterMap
from simulators.world.meters import Reading

_ROOT3 = math.sqrt(3.0)


def apparent_mva(reading: Reading) -> float:
    """Apparent power [MVA]."""
    return math.hypot(reading.p_mw, reading.q_mvar)


def power_factor(reading: Reading) -> float:
    """Share of active in apparent power; 1 where nothing flows."""
    apparent = apparent_mva(reading)
    return reading.p_mw / apparent if apparent else 1.0


def four_quadrant(reading: Reading) -> float:
    """Power factor as PM5000 meters write it, from -2 to 2.

    Lagging (active and reactive power of one sign) as it is; leading as 2 - PF, or -2 - PF when negative.
    """
    factor = power_factor(reading)
    if reading.p_mw * reading.q_mvar >= 0:
        return factor
    return math.copysign(2.0, factor) - factor


def _f32(address: int, name: str, unit: str, quantity: Callable[[Reading], float]) -> Register[Reading]:
    return Register(address, Encoding.FLOAT32, quantity, name, unit)


def _phases(
    address: int, name: str, unit: str, quantity: Callable[[Reading], float]
) -> tuple[Register[Reading], ...]:
    """Three equal phases, two registers apart: the simulated grid is balanced."""
    return tuple(_f32(address + 2 * k, f"{name} {phase}", unit, quantity) for k, phase in enumerate("ABC"))


def _clock(r: Reading) -> datetime:
    return datetime.fromtimestamp(r.t_ns // 10**9, UTC)


PM5XXX = RegisterMap[Reading](
    "pm5xxx",
    start=1844,
    length=1371,
    gaps=(range(1848, 2999),),
    registers=(
        # DATETIME as the user manual of the EM3000 series, "Unit table", has it: years since 2000; month in
        # the high, day in the low byte; hour and minute likewise; milliseconds of the minute
        Register(1844, Encoding.UINT16, lambda r: max(0, _clock(r).year - 2000), "clock year"),
        Register(1845, Encoding.UINT16, lambda r: _clock(r).month << 8 | _clock(r).day, "clock month, day"),
        Register(
            1846, Encoding.UINT16, lambda r: _clock(r).hour << 8 | _clock(r).minute, "clock hour, minute"
        ),
        Register(1847, Encoding.UINT16, lambda r: r.t_ns // 10**6 % 60_000, "clock", "ms"),
        *_phases(2999, "current", "A", lambda r: r.i_a),
        _f32(3009, "current avg", "A", lambda r: r.i_a),
        *_phases(3019, "voltage L-L", "V", lambda r: r.v_kv * 1e3),
        _f32(3025, "voltage L-L avg", "V", lambda r: r.v_kv * 1e3),
        *_phases(3027, "voltage L-N", "V", lambda r: r.v_kv * 1e3 / _ROOT3),
        _f32(3035, "voltage L-N avg", "V", lambda r: r.v_kv * 1e3 / _ROOT3),
        *_phases(3053, "active power", "kW", lambda r: r.p_mw * 1e3 / 3),
        _f32(3059, "active power total", "kW", lambda r: r.p_mw * 1e3),
        *_phases(3061, "reactive power", "kVAr", lambda r: r.q_mvar * 1e3 / 3),
        _f32(3067, "reactive power total", "kVAr", lambda r: r.q_mvar * 1e3),
        *_phases(3069, "apparent power", "kVA", lambda r: apparent_mva(r) * 1e3 / 3),
        _f32(3075, "apparent power total", "kVA", lambda r: apparent_mva(r) * 1e3),
        _f32(3083, "power factor total", "", four_quadrant),
        _f32(3109, "frequency", "Hz", lambda r: r.f_hz),
        Register(3203, Encoding.INT64, lambda r: r.export_wh, "active energy delivered", "Wh"),
        Register(3207, Encoding.INT64, lambda r: r.import_wh, "active energy received", "Wh"),
    ),
)

UMG = RegisterMap[Reading](
    "umg",
    start=19000,
    length=120,
    registers=(
        *_phases(19000, "voltage L-N", "V", lambda r: r.v_kv * 1e3 / _ROOT3),
        *_phases(19006, "voltage L-L", "V", lambda r: r.v_kv * 1e3),
        *_phases(19012, "current", "A", lambda r: r.i_a),
        *_phases(19020, "active power", "W", lambda r: r.p_mw * 1e6 / 3),
        _f32(19026, "active power sum", "W", lambda r: r.p_mw * 1e6),
        *_phases(19028, "apparent power", "VA", lambda r: apparent_mva(r) * 1e6 / 3),
        _f32(19034, "apparent power sum", "VA", lambda r: apparent_mva(r) * 1e6),
        *_phases(19036, "reactive power", "var", lambda r: r.q_mvar * 1e6 / 3),
        _f32(19042, "reactive power sum", "var", lambda r: r.q_mvar * 1e6),
        _f32(19050, "frequency", "Hz", lambda r: r.f_hz),
        _f32(19060, "active energy", "Wh", lambda r: r.export_wh - r.import_wh),
        *_phases(19062, "active energy consumed", "Wh", lambda r: r.export_wh / 3),
        _f32(19068, "active energy consumed sum", "Wh", lambda r: r.export_wh),
        *_phases(19070, "active energy delivered", "Wh", lambda r: r.import_wh / 3),
        _f32(19076, "active energy delivered sum", "Wh", lambda r: r.import_wh),
    ),
)
