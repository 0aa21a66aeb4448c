"""Kinds of faults on the truth: what happens in the world."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from simulators.faults.fault import Assets, Duration, Fault, Where
from telemetry.errors import Problem


class Tap(Fault):
    """A load in the middle of a line, between its meters."""

    where = Where.LINE
    title_format = "{mw:g} MW tap in the middle of {target}"
    ends = "is removed"
    kind: Literal["tap"]
    mw: Annotated[float, Field(gt=0, le=1000)]


class Theft(Fault):
    """A take-off at a busbar that the node's meter does not see."""

    where = Where.NODE
    title_format = "{mw:g} MW unmetered take-off at {target}"
    kind: Literal["theft"]
    mw: Annotated[float, Field(gt=0, le=1000)]


class Circuits(Fault):
    """Circuits of a line go out of service."""

    where = Where.LINE
    title_format = "loss of {target}: {in_service} circuits left"
    kind: Literal["circuits"]
    in_service: Annotated[int, Field(ge=0, le=8)]

    def problems(self, file: str, key: str, assets: Assets) -> Iterator[Problem]:
        """What is wrong with the fault on a bench with these assets."""
        yield from super().problems(file, key, assets)
        if self.in_service >= (count := assets.circuits.get(self.target, 9)):
            reason = f"{self.target} has only {count} circuits, so none is lost"
            yield Problem(file, f"{key}.in_service", str(self.in_service), reason, f"0 to {count - 1}")


class PlantTrip(Fault):
    """A plant trips."""

    where = Where.PLANT
    title_format = "trip of {target}"
    kind: Literal["plant_trip"]


class Curtailment(Fault):
    """A plant is told to deliver no more than so much."""

    where = Where.PLANT
    title_format = "curtailment of {target} to {mw:g} MW"
    kind: Literal["curtailment"]
    mw: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class HvdcOrder(Fault):
    """The HVDC link is ordered to another power."""

    where = Where.HVDC
    title_format = "order of {mw:g} MW on {target}"
    kind: Literal["hvdc_order"]
    mw: Annotated[float, Field(ge=0, le=5000)]

    def problems(self, file: str, key: str, assets: Assets) -> Iterator[Problem]:
        """What is wrong with the fault on a bench with these assets."""
        yield from super().problems(file, key, assets)
        if self.mw > assets.link_mw:
            reason, fix = f"{self.target} cannot send so much", f"0 to {assets.link_mw:g}"
            yield Problem(file, f"{key}.mw", f"{self.mw:g}", reason, fix)


class HvdcPoles(Fault):
    """Poles of the HVDC link trip."""

    where = Where.HVDC
    title_format = "trip of {target}: {in_service} poles left"
    kind: Literal["hvdc_poles"]
    in_service: Annotated[int, Field(ge=0, le=1)]


class Weather(Fault):
    """Weather that raises the corona loss of a line, or of all."""

    where = Where.WEATHER
    kind: Literal["weather"]
    weather: Literal["dry_snow", "rain", "hoarfrost"]

    @property
    def title(self) -> str:
        """For people."""
        return f"spell of {self.weather.replace('_', ' ')} on {self.target}"


class CloudFront(Fault):
    """A front of clouds moves over the solar plants of an area or node."""

    where = Where.REGION
    title_format = "cloud front of {duration_s:g} s over {target}"
    kind: Literal["cloud_front"]
    duration_s: Duration


class Storm(Fault):
    """Wind rises over the wind plants of an area or node."""

    where = Where.REGION
    title_format = "storm of {wind_ms:g} m/s over {target}"
    kind: Literal["storm"]
    wind_ms: Annotated[float, Field(gt=0, le=60)]
    duration_s: Duration


class Schedule(Fault):
    """A tie or contract gets another schedule from now on, which the other side may not know of."""

    where = Where.SCHEDULE
    title_format = "change of schedule of {target} to {mw:g} MW"
    kind: Literal["schedule"]
    mw: Annotated[float, Field(ge=-5000, le=5000)]


class FrequencyEvent(Fault):
    """Generation is lost somewhere in a synchronous area, outside the model."""

    where = Where.SYNC_AREA
    title_format = "loss of {mw:g} MW in {target}"
    kind: Literal["frequency_event"]
    mw: Annotated[float, Field(gt=0, le=20_000)]


class ControlOff(Fault):
    """Generation control of an area is out of service: no reserve follows what the area lacks."""

    where = Where.AREA
    title_format = "loss of generation control in {target}"
    kind: Literal["control_off"]


class LoadScale(Fault):
    """Consumption of a node or area changes by a factor."""

    where = Where.REGION
    title_format = "load of {factor:g} times the usual at {target}"
    kind: Literal["load_scale"]
    factor: Annotated[float, Field(gt=0, le=5)]
