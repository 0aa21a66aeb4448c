"""JSON of the MQTT devices, in the three shapes that plants use.

``object``: one object for each device and second, with the device's time, millisecond resolution, as
``ts``. ``points``: one topic for each point, ``{"ts": ..., "value": ...}`` on ``topic/member``. ``samples``:
an array of timestamped objects, sent when it is full.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from simulators.world.meters import Reading
from simulators.world.plants import PlantState

Members = dict[str, float | int]


class Shape(StrEnum):
    """How a device writes what it has to say."""

    OBJECT = "object"
    POINTS = "points"
    SAMPLES = "samples"


@dataclass(frozen=True, slots=True)
class Message:
    """One payload on its way."""

    topic: str
    payload: Members | Sequence[Members]

    @property
    def rows(self) -> Sequence[Members]:
        """The objects in it."""
        return (self.payload,) if isinstance(self.payload, dict) else self.payload


@dataclass(frozen=True, slots=True)
class Said:
    """What a device published last on a topic."""

    t_ns: int
    """When [ns, UTC], by true time: the device's own stands in the payload."""
    topic: str
    payload: Members | Sequence[Members]


class Writer:
    """Writes what one device says in its shape; keeps the samples of a message that is not full yet."""

    def __init__(self, topic: str, shape: Shape = Shape.OBJECT, batch: int = 10) -> None:
        self._topic, self._shape, self._batch = topic, shape, batch
        self._samples: list[Members] = []

    def messages(self, members: Members) -> list[Message]:
        """What there is to publish now that these members were measured."""
        if self._shape is Shape.OBJECT:
            return [Message(self._topic, members)]
        if self._shape is Shape.POINTS:
            ts = members["ts"]
            return [
                Message(f"{self._topic}/{name}", {"ts": ts, "value": value})
                for name, value in members.items()
                if name != "ts"
            ]
        self._samples.append(members)
        if len(self._samples) < self._batch:
            return []
        samples, self._samples = self._samples, []
        return [Message(self._topic, samples)]


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
