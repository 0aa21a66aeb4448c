"""Meters: model 203 (integers with scale factors) and model 213 (floats).

As everywhere on this bench, power is positive when it leaves the busbar, and that energy is "exported".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from simulators.devices.meter_maps import apparent_mva, power_factor
from simulators.devices.registers import Quantity, Value
from simulators.devices.sunspec.chain import Content, exponent_for
from simulators.world.meters import Reading

Values = dict[str, Quantity[Reading] | Value]

MODELS = (203, 213)
LARGEST_VA, LARGEST_A, LARGEST_V = 3e9, 4000.0, 600e3
"""What the primary side of a 500 kV meter can show; decides the scale factors."""


def contents(wanted: Sequence[int], wh_exponent: int) -> dict[int, Content[Reading]]:
    """What a meter implements of each wanted model, in that order.

    Raises
    ------
    KeyError
        A meter has no such model.

    """
    builders = {203: lambda: _integers(wh_exponent), 213: _floats}
    return {number: builders[number]() for number in wanted}


def _totals() -> Values:
    return {
        "A": lambda r: 3 * r.i_a,
        "PhV": lambda r: r.v_kv * 1e3 / math.sqrt(3.0),
        "PPV": lambda r: r.v_kv * 1e3,
        "Hz": lambda r: r.f_hz,
        "W": lambda r: r.p_mw * 1e6,
        "VA": lambda r: apparent_mva(r) * 1e6,
        "VAR": lambda r: r.q_mvar * 1e6,
        "TotWhExp": lambda r: r.export_wh,
        "TotWhImp": lambda r: r.import_wh,
        "Evt": 0,
        **{f"Aph{phase}": lambda r: r.i_a for phase in "ABC"},
        **{f"PhVph{phase}": lambda r: r.v_kv * 1e3 / math.sqrt(3.0) for phase in "ABC"},
        **{f"VAph{phase}": lambda r: apparent_mva(r) * 1e6 / 3 for phase in "ABC"},
        **{f"VARph{phase}": lambda r: r.q_mvar * 1e6 / 3 for phase in "ABC"},
    }


def _integers(wh_exponent: int) -> Content[Reading]:
    power = exponent_for(LARGEST_VA)
    values = _totals() | {
        "PF": lambda r: 100 * power_factor(r),
        **{f"PhVph{pair}": lambda r: r.v_kv * 1e3 for pair in ("AB", "BC", "CA")},
        # the standard's own spelling
        **{name: lambda r: r.p_mw * 1e6 / 3 for name in ("WphA", "WphB", "WphC")},
    }
    scales = {
        "A_SF": exponent_for(3 * LARGEST_A), "V_SF": exponent_for(LARGEST_V), "Hz_SF": -2, "W_SF": power,
        "VA_SF": power, "VAR_SF": power, "PF_SF": -2, "TotWh_SF": wh_exponent,
    }  # fmt: skip
    return Content(values, scales)


def _floats() -> Content[Reading]:
    values = _totals() | {
        "PF": power_factor,
        **{f"PPVph{pair}": lambda r: r.v_kv * 1e3 for pair in ("AB", "BC", "CA")},
        **{f"Wph{phase}": lambda r: r.p_mw * 1e6 / 3 for phase in "ABC"},
    }
    return Content(values)
