"""Solar inverters: models 101 to 103 with 120 to 123 and 160, or the newer 701 with 714.

The operating states of 103 and 701 differ (SunSpec models 103 ``St`` and 701 ``InvSt``). Phases are equal;
cabinet temperature, DC voltage and limits are illustrative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from simulators.devices.generation import Condition, Generation
from simulators.devices.registers import Quantity, Value
from simulators.devices.sunspec.chain import INT16_TOP, UINT16_TOP, Content, exponent_for

Values = dict[str, Quantity[Generation] | Value]

MODELS = (101, 102, 103, 120, 121, 122, 123, 160, 701, 714)
CLASSIC = (103, 120, 121, 122, 123, 160)
NEWER = (701, 714)
EFFICIENCY = 0.985
"""AC over DC power."""
INPUTS = 2
"""DC inputs of an inverter, which share its power equally."""
EPOCH_S = 946_684_800
"""2000-01-01 in Unix time, from which SunSpec counts seconds."""
_HEADROOM = 1.2
_DC_V = 1150.0
_STATE_103 = {
    Condition.OFF: 1,
    Condition.MAINTENANCE: 1,
    Condition.WAITING: 2,
    Condition.STARTING: 3,
    Condition.RUNNING: 4,
    Condition.THROTTLED: 5,
    Condition.FAULT: 7,
    Condition.NO_GRID: 8,
}
"""``St``: 1 off, 2 sleeping, 3 starting, 4 MPPT, 5 throttled, 7 fault, 8 standby."""
_STATE_701 = {
    Condition.OFF: 0,
    Condition.MAINTENANCE: 0,
    Condition.WAITING: 1,
    Condition.STARTING: 2,
    Condition.RUNNING: 3,
    Condition.THROTTLED: 4,
    Condition.FAULT: 6,
    Condition.NO_GRID: 7,
}
"""``InvSt``: 0 off, 1 sleeping, 2 starting, 3 running, 4 throttled, 6 fault, 7 standby."""
_EVENTS_103 = {Condition.NO_GRID: 1 << 4, Condition.MAINTENANCE: 1 << 6, Condition.FAULT: 1 << 15}
"""``Evt1``: bit 4 grid disconnected, 6 manual shutdown, 15 hardware test failed."""
_WORKING = (Condition.RUNNING, Condition.THROTTLED)


@dataclass(frozen=True, slots=True)
class Nameplate:
    """Ratings of an inverter."""

    rated_w: float
    voltage_v: float
    """Line to line; of a single-phase one, line to neutral."""
    phases: int

    def volt(self, unit: Generation) -> float:
        """Line-to-line voltage [V], or the only one."""
        return self.voltage_v * unit.v_pu

    def neutral_volt(self, unit: Generation) -> float:
        """Line-to-neutral voltage [V]."""
        return self.volt(unit) / (math.sqrt(3.0) if self.phases == 3 else self.phases)

    def phase_amp(self, unit: Generation) -> float:
        """Current of each phase [A]."""
        volt = self.phases * self.neutral_volt(unit)
        return apparent_va(unit) / volt if volt > 0 else 0.0


def watt(unit: Generation) -> float:
    """Active power [W]."""
    return unit.p_mw * 1e6


def var(unit: Generation) -> float:
    """Reactive power [var]."""
    return unit.q_mvar * 1e6


def apparent_va(unit: Generation) -> float:
    """Apparent power [VA]."""
    return math.hypot(unit.p_mw, unit.q_mvar) * 1e6


def power_factor(unit: Generation) -> float:
    """Share of active in apparent power; 1 where nothing flows."""
    apparent = apparent_va(unit)
    return watt(unit) / apparent if apparent else 1.0


def dc_watt(unit: Generation) -> float:
    """Power of all DC inputs [W]."""
    return watt(unit) / EFFICIENCY


def dc_volt(unit: Generation) -> float:
    """Voltage of the DC inputs [V]; modules give less when they are hot."""
    return _DC_V * (1 - 0.003 * (unit.cell_c - 25.0)) if unit.ghi_w_m2 > 0 else 0.0


def dc_amp(unit: Generation) -> float:
    """Current of all DC inputs [A]."""
    volt = dc_volt(unit)
    return dc_watt(unit) / volt if volt > 0 else 0.0


def cabinet_c(unit: Generation) -> float:
    """Temperature in the cabinet [degC]: losses warm it."""
    return unit.air_c + 5 + 20 * max(0.0, unit.p_mw / unit.rated_mw)


def sunspec_seconds(unit: Generation) -> int:
    """Device time [s since 2000-01-01]."""
    return unit.t_ns // 10**9 - EPOCH_S


def contents(plate: Nameplate, wanted: Sequence[int], wh_exponent: int) -> dict[int, Content[Generation]]:
    """What an inverter implements of each wanted model, in that order.

    Raises
    ------
    KeyError
        An inverter has no such model.

    """
    builders: dict[int, Callable[[], Content[Generation]]] = {
        **dict.fromkeys((101, 102, 103), lambda: _ac(plate, wh_exponent)),
        120: lambda: _nameplate(plate),
        121: lambda: _settings(plate),
        122: lambda: _status(plate),
        123: _controls,
        160: lambda: _mppt(plate, wh_exponent),
        701: lambda: _der_ac(plate),
        714: lambda: _der_dc(plate),
    }
    return {number: builders[number]() for number in wanted}


def _power_exponent(plate: Nameplate, top: int = INT16_TOP) -> int:
    return exponent_for(_HEADROOM * plate.rated_w, top)


def _current_exponent(plate: Nameplate, top: int = UINT16_TOP) -> int:
    # voltage may fall to three quarters before the current no longer fits
    return exponent_for(_HEADROOM * plate.rated_w / (0.75 * plate.voltage_v), top)


def _ac(plate: Nameplate, wh_exponent: int) -> Content[Generation]:
    power = _power_exponent(plate)
    values: Values = {
        "A": lambda u: plate.phases * plate.phase_amp(u),
        "W": watt,
        "Hz": lambda u: u.f_hz,
        "VA": apparent_va,
        "VAr": var,
        "PF": lambda u: 100 * power_factor(u),
        "WH": lambda u: u.energy_wh,
        "DCA": dc_amp,
        "DCV": dc_volt,
        "DCW": dc_watt,
        "TmpCab": cabinet_c,
        "St": lambda u: _STATE_103[u.condition],
        "Evt1": lambda u: _EVENTS_103.get(u.condition, 0),
        "Evt2": 0,
    }
    for phase in "ABC"[: plate.phases]:
        values[f"Aph{phase}"] = plate.phase_amp
        values[f"PhVph{phase}"] = plate.neutral_volt
    pairs = {1: (), 2: ("AB",), 3: ("AB", "BC", "CA")}[plate.phases]
    values |= {f"PPVph{pair}": plate.volt for pair in pairs}
    scales = {
        "A_SF": _current_exponent(plate), "V_SF": -1, "W_SF": power, "Hz_SF": -2, "VA_SF": power,
        "VAr_SF": power, "PF_SF": -2, "WH_SF": wh_exponent, "DCA_SF": _current_exponent(plate), "DCV_SF": -1,
        "DCW_SF": power, "Tmp_SF": -1,
    }  # fmt: skip
    return Content(values, scales)


def _nameplate(plate: Nameplate) -> Content[Generation]:
    power, current = _power_exponent(plate), _current_exponent(plate)
    reactive = 0.6 * plate.rated_w
    values: Values = {
        "DERTyp": 4,
        "WRtg": plate.rated_w,
        "VARtg": 1.1 * plate.rated_w,
        "VArRtgQ1": reactive,
        "VArRtgQ2": reactive,
        "VArRtgQ3": -reactive,
        "VArRtgQ4": -reactive,
        "ARtg": plate.rated_w / plate.voltage_v,
        "PFRtgQ1": 0.85,
        "PFRtgQ2": -0.85,
        "PFRtgQ3": -0.85,
        "PFRtgQ4": 0.85,
    }
    scales = {
        "WRtg_SF": power, "VARtg_SF": power, "VArRtg_SF": power, "ARtg_SF": current, "PFRtg_SF": -2,
    }  # fmt: skip
    return Content(values, scales)


def _settings(plate: Nameplate) -> Content[Generation]:
    values: Values = {
        "WMax": plate.rated_w,
        "VRef": plate.voltage_v,
        "VRefOfs": 0,
        "VMax": 1.1 * plate.voltage_v,
        "VMin": 0.9 * plate.voltage_v,
        "ECPNomHz": 50,
    }
    scales = {
        "WMax_SF": _power_exponent(plate), "VRef_SF": -1, "VRefOfs_SF": -1, "VMinMax_SF": -1,
        "ECPNomHz_SF": 0,
    }  # fmt: skip
    return Content(values, scales)


def _status(plate: Nameplate) -> Content[Generation]:
    connected, available, operating = 1, 2, 4
    values: Values = {
        "PVConn": lambda u: (
            connected * (u.f_hz > 0 and u.online > 0)
            + available * (u.available_mw > 0)
            + operating * (u.condition in _WORKING)
        ),
        "StorConn": 0,
        "ECPConn": lambda u: int(u.f_hz > 0 and u.online > 0),
        "ActWh": lambda u: u.energy_wh,
        "WAval": lambda u: u.available_mw * 1e6,
        "TmSrc": "NTP",
        "Tms": sunspec_seconds,
    }
    return Content(values, {"WAval_SF": _power_exponent(plate)})


def _controls() -> Content[Generation]:
    values: Values = {
        "Conn": 1,
        # the plant's controller shares its set-point out in equal parts
        "WMaxLimPct": lambda u: 100 * u.limit_mw / u.plant_mw,
        "WMaxLim_Ena": lambda u: int(u.limit_mw < u.plant_mw),
        "OutPFSet": 1,
        "OutPFSet_Ena": 0,
        "VArPct_Ena": 0,
    }
    return Content(values, {"WMaxLimPct_SF": -1, "OutPFSet_SF": -2})


def _mppt(plate: Nameplate, wh_exponent: int) -> Content[Generation]:
    def module(number: int) -> Values:
        return {
            "ID": number,
            "IDStr": f"MPPT {number}",
            "DCA": lambda u: dc_amp(u) / INPUTS,
            "DCV": dc_volt,
            "DCW": lambda u: dc_watt(u) / INPUTS,
            "DCWH": lambda u: int(u.energy_wh / EFFICIENCY) // INPUTS,
            "Tms": sunspec_seconds,
            "Tmp": cabinet_c,
            "DCSt": lambda u: _STATE_103[u.condition],
            "DCEvt": 0,
        }

    scales = {
        "DCA_SF": _current_exponent(plate), "DCV_SF": -1, "DCW_SF": _power_exponent(plate),
        "DCWH_SF": wh_exponent,
    }  # fmt: skip
    return Content({"Evt": 0, "N": INPUTS}, scales, [module(n + 1) for n in range(INPUTS)])


def _der_ac(plate: Nameplate) -> Content[Generation]:
    power = _power_exponent(plate)
    values: Values = {
        "ACType": plate.phases - 1,
        "St": lambda u: int(u.condition in _WORKING),
        "InvSt": lambda u: _STATE_701[u.condition],
        "ConnSt": lambda u: int(u.f_hz > 0 and u.online > 0),
        "Alrm": 0,
        "DERMode": 1,
        "W": watt,
        "VA": apparent_va,
        "Var": var,
        "PF": power_factor,
        "A": lambda u: plate.phases * plate.phase_amp(u),
        "LLV": plate.volt if plate.phases > 1 else math.nan,
        "LNV": plate.neutral_volt,
        "Hz": lambda u: u.f_hz,
        "TotWhInj": lambda u: u.energy_wh,
        "TotWhAbs": 0,
        "TmpAmb": lambda u: u.air_c,
        "TmpCab": cabinet_c,
    }
    for k in range(plate.phases):
        values |= {
            f"WL{k + 1}": lambda u: watt(u) / plate.phases,
            f"VAL{k + 1}": lambda u: apparent_va(u) / plate.phases,
            f"VarL{k + 1}": lambda u: var(u) / plate.phases,
            f"AL{k + 1}": plate.phase_amp,
            f"VL{k + 1}": plate.neutral_volt,
        }
    scales = {
        "A_SF": _current_exponent(plate, INT16_TOP), "V_SF": -1, "Hz_SF": -3, "W_SF": power, "PF_SF": -3,
        "VA_SF": power, "Var_SF": power, "TotWh_SF": 0, "Tmp_SF": -1,
    }  # fmt: skip
    return Content(values, scales)


def _der_dc(plate: Nameplate) -> Content[Generation]:
    def port(number: int) -> Values:
        return {
            "PrtTyp": 0,
            "ID": number,
            "IDStr": f"PV {number}",
            "DCA": lambda u: dc_amp(u) / INPUTS,
            "DCV": dc_volt,
            "DCW": lambda u: dc_watt(u) / INPUTS,
            "DCWhInj": lambda u: int(u.energy_wh / EFFICIENCY) // INPUTS,
            "DCSta": lambda u: int(u.condition in _WORKING),
            "DCAlrm": 0,
        }

    values: Values = {
        "PrtAlrms": 0,
        "NPrt": INPUTS,
        "DCA": dc_amp,
        "DCW": dc_watt,
        "DCWhInj": lambda u: int(u.energy_wh / EFFICIENCY),
    }
    scales = {
        "DCA_SF": _current_exponent(plate, INT16_TOP), "DCV_SF": -1, "DCW_SF": _power_exponent(plate),
        "DCWH_SF": 0,
    }  # fmt: skip
    return Content(values, scales, [port(n + 1) for n in range(INPUTS)])


PHASES: Mapping[int, int] = {101: 1, 102: 2, 103: 3}
"""Phases of an inverter by its AC model; with model 701 it has three."""
VOLTAGE_V: Mapping[int, float] = {1: 230.0, 2: 240.0, 3: 660.0}
"""Nominal voltage by number of phases (illustrative)."""
