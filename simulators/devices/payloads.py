"""JSON objects of the devices that publish over MQTT: one object for each device and second.

Members: ``ts`` milliseconds since 1970 UTC; powers in MW and Mvar, + into the bus for a bus meter and +
delivered for a plant; energy in MWh, never decreasing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from simulators.world.meters import Reading
from simulators.world.plants import PlantState

Members = dict[str, float | int]


def bus_meter(reading: Reading, plants: PlantState, plant: int, ts_ms: int) -> Members:
    """Injection of a node."""
    del plants, plant
    return {
        "ts": ts_ms,
        "p_mw": round(reading.p_mw, 4),
        "q_mvar": round(reading.q_mvar, 4),
        "v_kv": round(reading.v_kv, 4),
        "f_hz": round(reading.f_hz, 4),
    }


def power_plant(reading: Reading, plants: PlantState, plant: int, ts_ms: int) -> Members:
    """A thermal or hydro plant."""
    return {
        "ts": ts_ms,
        "p_mw": round(reading.p_mw, 4),
        "q_mvar": round(reading.q_mvar, 4),
        "online": round(float(plants.online[plant])),
        "energy_mwh": reading.export_wh / 1e6,
    }


def wind_plant(reading: Reading, plants: PlantState, plant: int, ts_ms: int) -> Members:
    """A wind plant with its met mast."""
    return power_plant(reading, plants, plant, ts_ms) | {
        "avail_mw": round(float(plants.available_mw[plant]), 4),
        "wind_ms": round(float(plants.wind_m_s[plant]), 3),
        "wind_dir_deg": round(float(plants.wind_dir_deg[plant]), 1),
        "temp_c": round(float(plants.air_c[plant]), 2),
    }


def solar_plant(reading: Reading, plants: PlantState, plant: int, ts_ms: int) -> Members:
    """A solar plant with its pyranometer."""
    return power_plant(reading, plants, plant, ts_ms) | {
        "avail_mw": round(float(plants.available_mw[plant]), 4),
        "ghi_w_m2": round(float(plants.ghi_w_m2[plant]), 2),
        "temp_c": round(float(plants.air_c[plant]), 2),
        "cell_temp_c": round(float(plants.cell_c[plant]), 2),
    }


PAYLOADS: Mapping[str, Callable[[Reading, PlantState, int, int], Members]] = {
    "bus-meter": bus_meter,
    "power-plant": power_plant,
    "wind-plant": wind_plant,
    "solar-plant": solar_plant,
}
"""Payload of each kind of MQTT device."""
