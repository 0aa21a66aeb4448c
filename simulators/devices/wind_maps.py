"""Register maps of turbine, wind farm and mast controllers: illustrative, not any vendor's.

Names follow IEC 61400-25-2 edition 1 (logical node and data object, from general knowledge); addresses,
encodings and the codes of states are this bench's own, as every vendor has its own. They read as holding and
as input registers.
"""

from __future__ import annotations

import math

from simulators.devices.generation import Condition, Generation
from simulators.devices.registers import Encoding, Quantity, Register, RegisterMap

RATED_M_S = 12.0
"""Wind at which a turbine reaches its rating."""
RATED_RPM, IDLE_RPM, GEAR_RATIO = 12.0, 1.0, 110.0
"""Speed of rotor at rated and at idle, and of the generator relative to it (illustrative)."""
TURBINE_STATES = {
    Condition.OFF: 1,
    Condition.NO_GRID: 2,
    Condition.WAITING: 3,
    Condition.STARTING: 4,
    Condition.RUNNING: 5,
    Condition.THROTTLED: 6,
    Condition.STORM: 7,
    Condition.FAULT: 8,
    Condition.MAINTENANCE: 9,
}
"""Codes of WTUR.TurSt: 1 off, 2 no grid, 3 waiting for wind, 4 starting, 5 running, 6 curtailed, 7 storm,
8 fault, 9 maintenance."""


def rotor_rpm(unit: Generation) -> float:
    """Variable speed: the rotor's tip follows the wind up to the rated speed."""
    if unit.p_mw <= 0:
        return IDLE_RPM if unit.online else 0.0
    return RATED_RPM * min(1.0, max(0.4, unit.wind_m_s / RATED_M_S))


def pitch_deg(unit: Generation) -> float:
    """Blades turn out of the wind above the rated one, and to feather at standstill."""
    if unit.p_mw <= 0:
        return 85.0
    return max(0.0, 1.9 * (unit.wind_m_s - RATED_M_S))


def _f32(address: int, name: str, unit: str, quantity: Quantity[Generation]) -> Register[Generation]:
    return Register(address, Encoding.FLOAT32, quantity, name, unit)


def _loading(unit: Generation) -> float:
    return max(0.0, unit.p_mw / unit.rated_mw)


TURBINE = RegisterMap[Generation](
    "turbine",
    start=1000,
    length=60,
    registers=(
        Register(1000, Encoding.UINT16, lambda u: TURBINE_STATES[u.condition], "WTUR.TurSt"),
        Register(1001, Encoding.UINT16, lambda u: u.online, "WTUR.SetTurOp"),
        _f32(1002, "WTUR.W", "kW", lambda u: u.p_mw * 1e3),
        _f32(1004, "WTUR.VAr", "kvar", lambda u: u.q_mvar * 1e3),
        Register(1006, Encoding.UINT64, lambda u: u.energy_wh, "WTUR.TotWh", "Wh"),
        _f32(1010, "WROT.RotSpd", "rpm", rotor_rpm),
        *(_f32(1012 + 2 * k, f"WROT.PtAngValBl{k + 1}", "deg", pitch_deg) for k in range(3)),
        _f32(1018, "WGEN.Spd", "rpm", lambda u: rotor_rpm(u) * GEAR_RATIO),
        Register(
            1020, Encoding.INT16, lambda u: u.air_c + 20 + 55 * _loading(u), "WGEN.GnTmpSta", "degC", -1
        ),
        Register(1021, Encoding.INT16, lambda u: u.air_c, "WMET.EnvTmp", "degC", -1),
        _f32(1022, "WNAC.WdSpd", "m/s", lambda u: u.wind_m_s),
        _f32(1024, "WNAC.WdDir", "deg", lambda u: u.wind_dir_deg),
        _f32(1026, "WNAC.Dir", "deg", lambda u: round(u.wind_dir_deg / 4) * 4 % 360.0),
        _f32(1028, "WYAW.YwAng", "deg", lambda u: round(u.wind_dir_deg / 4) * 4 % 360.0),
        Register(1030, Encoding.UINT32, lambda u: int(u.condition is Condition.FAULT), "WALM.AlmSt"),
        Register(1032, Encoding.UINT32, lambda u: u.t_ns // 10**9, "clock", "s"),
        _f32(1034, "WAPC.AvlW", "kW", lambda u: u.available_mw * 1e3),
        _f32(1036, "WTUR.WRtg", "kW", lambda u: u.rated_mw * 1e3),
    ),
)

WIND_FARM = RegisterMap[Generation](
    "wind-farm",
    start=100,
    length=40,
    registers=(
        _f32(100, "WAPC.W", "kW", lambda u: u.p_mw * 1e3),
        _f32(102, "WAPC.VAr", "kvar", lambda u: u.q_mvar * 1e3),
        _f32(104, "WAPC.AvlW", "kW", lambda u: u.available_mw * 1e3),
        Register(106, Encoding.UINT16, lambda u: u.online, "WAPC.OnlCnt"),
        Register(107, Encoding.UINT16, lambda u: u.units, "WAPC.TurCnt"),
        Register(108, Encoding.UINT16, lambda u: u.condition is Condition.THROTTLED, "WAPC.Curtailed"),
        Register(110, Encoding.UINT64, lambda u: u.energy_wh, "WAPC.TotWh", "Wh"),
        _f32(114, "WAPC.WRtg", "kW", lambda u: u.rated_mw * 1e3),
        _f32(116, "WMET.HorWdSpd", "m/s", lambda u: u.wind_m_s),
        _f32(118, "WMET.HorWdDir", "deg", lambda u: u.wind_dir_deg),
        Register(120, Encoding.UINT32, lambda u: u.t_ns // 10**9, "clock", "s"),
        _f32(122, "WAPC.SptW", "kW", lambda u: u.limit_mw * 1e3),
    ),
)


def pressure_hpa(air_c: float) -> float:
    """Air pressure near 200 m above the sea; the world has no weather fronts in it (illustrative)."""
    return 1013.25 * math.exp(-200.0 / (29.3 * (air_c + 273.15)))


MET_MAST = RegisterMap[Generation](
    "met-mast",
    start=200,
    length=20,
    registers=(
        Register(200, Encoding.UINT16, lambda u: u.wind_m_s, "WMET.HorWdSpd", "m/s", -2),
        Register(201, Encoding.UINT16, lambda u: u.wind_dir_deg, "WMET.HorWdDir", "deg", -1),
        Register(202, Encoding.INT16, lambda u: u.air_c, "WMET.EnvTmp", "degC", -2),
        Register(203, Encoding.UINT16, lambda u: pressure_hpa(u.air_c), "WMET.EnvPres", "hPa", -1),
        Register(204, Encoding.UINT16, lambda u: u.ghi_w_m2, "MMET.HorInsol", "W/m2", -1),
        Register(205, Encoding.INT16, lambda u: u.cell_c, "MMET.PnlTmp", "degC", -2),
        Register(206, Encoding.UINT32, lambda u: u.t_ns // 10**9, "clock", "s"),
    ),
)
