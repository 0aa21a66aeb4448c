"""What can be made to go wrong, as typed values: used by scenario files and by the control interface.

Every fault names its kind, its target and its size; :meth:`Fault.problems` tells of targets that do not
exist.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, TypeAdapter

from simulators.bench import Bench
from simulators.world.schedules import Schedules
from telemetry.errors import Problem
from telemetry.settings import Settings, nearest

BROKER = "mqtt"
"""Target of the faults on the link of the devices that publish."""
EVERYWHERE = "all"
"""Target of weather that is the same on every line."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Duration = Annotated[float, Field(gt=0, le=86400)]


class Where(StrEnum):
    """What a fault strikes."""

    LINE = "line"
    WEATHER = "line or all"
    NODE = "node"
    REGION = "area or node"
    PLANT = "plant"
    HVDC = "HVDC link"
    SCHEDULE = "tie or contract"
    SYNC_AREA = "synchronous area"
    METER = "meter"
    GATEWAY = "gateway"
    LINK = "gateway or mqtt"
    BROKER = "broker"


@dataclass(frozen=True, slots=True)
class Assets:
    """Names of everything that a fault can strike."""

    names: Mapping[Where, Collection[str]]
    polled: Collection[str] = ()
    """Meters that are polled, and so show no time of their own."""

    @classmethod
    def of(cls, bench: Bench) -> Assets:
        """The assets of a bench."""
        corridor = bench.plan.corridor
        lines = [line.id for line in corridor.lines]
        nodes = [bus.id for bus in corridor.nodes]
        areas = sorted({bus.area for bus in corridor.nodes})
        gateways = [gateway.id for gateway in bench.gateway]
        return cls(
            {
                Where.LINE: lines,
                Where.WEATHER: [*lines, EVERYWHERE],
                Where.NODE: nodes,
                Where.REGION: [*nodes, *areas],
                Where.PLANT: [plant.id for plant in bench.plan.plants],
                Where.HVDC: [corridor.hvdc.id],
                Where.SCHEDULE: Schedules(bench.plan.contracts).names,
                Where.SYNC_AREA: sorted(set(bench.plan.sync_areas.values())),
                Where.METER: [s.device.id for s in bench.served() if s.device.kind.meter],
                Where.GATEWAY: gateways,
                Where.LINK: [*gateways, BROKER],
                Where.BROKER: [BROKER],
            },
            [s.device.id for s in bench.served() if s.device.kind.modbus],
        )


class Fault(Settings):
    """One fault: what, where, how much."""

    where: ClassVar[Where]
    ends: ClassVar[str] = "is over"
    """How its end is announced."""

    target: str
    """Name of what it strikes."""

    @property
    def title(self) -> str:
        """For people, after an article: ``30 MW tap in the middle of SHY-TAS``."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """Its kind as a part of its id: ``plant-trip``."""
        return str(getattr(self, "kind", "fault")).replace("_", "-")

    def problems(self, file: str, key: str, assets: Assets) -> Iterator[Problem]:
        """What is wrong with the fault on a bench with these assets."""
        valid = assets.names.get(self.where, ())
        if self.target not in valid:
            reason = f"no such {self.where.value}"
            yield Problem(file, f"{key}.target", f'"{self.target}"', reason, nearest(self.target, valid))


# ---- on the truth


class Tap(Fault):
    """A load in the middle of a line, between its meters."""

    where = Where.LINE
    ends = "is removed"
    kind: Literal["tap"]
    mw: Annotated[float, Field(gt=0, le=1000)]

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.mw:g} MW tap in the middle of {self.target}"


class Theft(Fault):
    """A take-off at a busbar that the node's meter does not see."""

    where = Where.NODE
    kind: Literal["theft"]
    mw: Annotated[float, Field(gt=0, le=1000)]

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.mw:g} MW unmetered take-off at {self.target}"


class Circuits(Fault):
    """Circuits of a line go out of service."""

    where = Where.LINE
    kind: Literal["circuits"]
    in_service: Annotated[int, Field(ge=0, le=8)]

    @property
    def title(self) -> str:
        """For people."""
        return f"loss of {self.target}: {self.in_service} circuits left"


class PlantTrip(Fault):
    """A plant trips."""

    where = Where.PLANT
    kind: Literal["plant_trip"]

    @property
    def title(self) -> str:
        """For people."""
        return f"trip of {self.target}"


class Curtailment(Fault):
    """A plant is told to deliver no more than so much."""

    where = Where.PLANT
    kind: Literal["curtailment"]
    mw: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    @property
    def title(self) -> str:
        """For people."""
        return f"curtailment of {self.target} to {self.mw:g} MW"


class HvdcOrder(Fault):
    """The HVDC link is ordered to another power."""

    where = Where.HVDC
    kind: Literal["hvdc_order"]
    mw: Annotated[float, Field(ge=0, le=5000)]

    @property
    def title(self) -> str:
        """For people."""
        return f"order of {self.mw:g} MW on {self.target}"


class HvdcPoles(Fault):
    """Poles of the HVDC link trip."""

    where = Where.HVDC
    kind: Literal["hvdc_poles"]
    in_service: Annotated[int, Field(ge=0, le=1)]

    @property
    def title(self) -> str:
        """For people."""
        return f"trip of {self.target}: {self.in_service} poles left"


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
    kind: Literal["cloud_front"]
    duration_s: Duration

    @property
    def title(self) -> str:
        """For people."""
        return f"cloud front of {self.duration_s:g} s over {self.target}"


class Storm(Fault):
    """Wind rises over the wind plants of an area or node."""

    where = Where.REGION
    kind: Literal["storm"]
    wind_ms: Annotated[float, Field(gt=0, le=60)]
    duration_s: Duration

    @property
    def title(self) -> str:
        """For people."""
        return f"storm of {self.wind_ms:g} m/s over {self.target}"


class Schedule(Fault):
    """A tie or contract gets another schedule from now on, which the other side may not know of."""

    where = Where.SCHEDULE
    kind: Literal["schedule"]
    mw: Annotated[float, Field(ge=-5000, le=5000)]

    @property
    def title(self) -> str:
        """For people."""
        return f"change of schedule of {self.target} to {self.mw:g} MW"


class FrequencyEvent(Fault):
    """Generation is lost somewhere in a synchronous area, outside the model."""

    where = Where.SYNC_AREA
    kind: Literal["frequency_event"]
    mw: Annotated[float, Field(gt=0, le=20_000)]

    @property
    def title(self) -> str:
        """For people."""
        return f"loss of {self.mw:g} MW in {self.target}"


class LoadScale(Fault):
    """Consumption of a node or area changes by a factor."""

    where = Where.REGION
    kind: Literal["load_scale"]
    factor: Annotated[float, Field(gt=0, le=5)]

    @property
    def title(self) -> str:
        """For people."""
        return f"load of {self.factor:g} times the usual at {self.target}"


# ---- on meters


class Gain(Fault):
    """Powers and current are off by a part of the reading; the counters are right (a transducer's ratio)."""

    where = Where.METER
    kind: Literal["gain"]
    pct: Annotated[float, Field(ge=-100, le=1000)]

    @property
    def title(self) -> str:
        """For people."""
        return f"gain error of {self.pct:+g} % at {self.target}"


class Offset(Fault):
    """Active power is off by a constant."""

    where = Where.METER
    kind: Literal["offset"]
    mw: Finite

    @property
    def title(self) -> str:
        """For people."""
        return f"offset of {self.mw:+g} MW at {self.target}"


class GainDrift(Fault):
    """A gain error that grows from zero."""

    where = Where.METER
    kind: Literal["drift"]
    pct_per_h: Annotated[float, Field(ge=-1000, le=1000)]

    @property
    def title(self) -> str:
        """For people."""
        return f"gain drift of {self.pct_per_h:+g} %/h at {self.target}"


class Stuck(Fault):
    """Powers and current stand still; the counters go on with the power that is shown."""

    where = Where.METER
    kind: Literal["stuck"]

    @property
    def title(self) -> str:
        """For people."""
        return f"stuck measurement at {self.target}"


class Skew(Fault):
    """The device's clock is wrong. A polled meter shows what it measured that long ago."""

    where = Where.METER
    kind: Literal["skew"]
    seconds: Annotated[float, Field(ge=-86400, le=86400)]
    """How far the clock is ahead; negative: behind [s]."""

    @property
    def title(self) -> str:
        """For people."""
        return f"clock skew of {self.seconds:+g} s at {self.target}"

    def problems(self, file: str, key: str, assets: Assets) -> Iterator[Problem]:
        """What is wrong with the fault on a bench with these assets."""
        yield from super().problems(file, key, assets)
        if self.target in assets.polled and not -600 <= self.seconds < 0:
            reason = "a polled meter can only show old values"
            yield Problem(file, f"{key}.seconds", f"{self.seconds:g}", reason, "give -600 to 0")


class Polarity(Fault):
    """The current transformers are connected the wrong way round."""

    where = Where.METER
    kind: Literal["polarity"]

    @property
    def title(self) -> str:
        """For people."""
        return f"reversed polarity at {self.target}"


class WordSwap(Fault):
    """The words of each number are sent in the other order."""

    where = Where.METER
    kind: Literal["word_swap"]

    @property
    def title(self) -> str:
        """For people."""
        return f"word swap at {self.target}"

    def problems(self, file: str, key: str, assets: Assets) -> Iterator[Problem]:
        """What is wrong with the fault on a bench with these assets."""
        yield from super().problems(file, key, assets)
        if self.target in assets.names[self.where] and self.target not in assets.polled:
            yield Problem(
                file, f"{key}.target", f'"{self.target}"', "has no registers", "name a polled meter"
            )


class WrongScale(Fault):
    """Powers and energies are scaled wrongly, for example by a thousand."""

    where = Where.METER
    kind: Literal["wrong_scale"]
    factor: Annotated[float, Field(gt=0, le=1e6)]

    @property
    def title(self) -> str:
        """For people."""
        return f"scale wrong by {self.factor:g} at {self.target}"


class CounterReset(Fault):
    """The energy counters begin again at zero."""

    where = Where.METER
    kind: Literal["counter_reset"]

    @property
    def title(self) -> str:
        """For people."""
        return f"counter reset at {self.target}"


class Exchanged(Fault):
    """Another meter was put in: other class error, counters from its own zero."""

    where = Where.METER
    kind: Literal["exchanged"]
    serial: Annotated[str, Field(min_length=1, max_length=64)]

    @property
    def title(self) -> str:
        """For people."""
        return f"meter exchange at {self.target}"


# ---- on links


class Down(Fault):
    """Nothing listens; connections that stood are broken off."""

    where = Where.LINK
    kind: Literal["down"]

    @property
    def title(self) -> str:
        """For people."""
        return f"loss of link {self.target}"


class HalfOpen(Fault):
    """The connection stands, and nothing comes through it."""

    where = Where.GATEWAY
    kind: Literal["half_open"]

    @property
    def title(self) -> str:
        """For people."""
        return f"half-open link {self.target}"


class Slow(Fault):
    """Every answer takes longer."""

    where = Where.GATEWAY
    kind: Literal["slow"]
    delay_s: Annotated[float, Field(gt=0, le=600)]

    @property
    def title(self) -> str:
        """For people."""
        return f"delay of {self.delay_s:g} s on link {self.target}"


class Trickle(Fault):
    """Bytes come one by one."""

    where = Where.GATEWAY
    kind: Literal["trickle"]
    bytes_per_s: Annotated[float, Field(gt=0, le=1e6)]

    @property
    def title(self) -> str:
        """For people."""
        return f"trickle of {self.bytes_per_s:g} B/s on link {self.target}"


class Intermittent(Fault):
    """A fault that strikes one answer in ``every``."""

    every: Annotated[int, Field(ge=1, le=1000)] = 1


class Garbage(Intermittent):
    """Random bytes come in place of an answer."""

    where = Where.GATEWAY
    kind: Literal["garbage"]

    @property
    def title(self) -> str:
        """For people."""
        return f"storm of garbage on link {self.target}"


class ShortFrame(Intermittent):
    """An answer lacks its last register; its lengths are consistent with that."""

    where = Where.GATEWAY
    kind: Literal["short_frame"]

    @property
    def title(self) -> str:
        """For people."""
        return f"run of short frames on link {self.target}"


class WrongTransaction(Intermittent):
    """In place of an answer comes the one to the question before, with that one's transaction identifier."""

    where = Where.GATEWAY
    kind: Literal["wrong_transaction"]

    @property
    def title(self) -> str:
        """For people."""
        return f"run of wrong transaction identifiers on link {self.target}"


class LateReply(Intermittent):
    """An answer comes long after the question was given up."""

    where = Where.GATEWAY
    kind: Literal["late_reply"]
    delay_s: Annotated[float, Field(gt=0, le=600)]

    @property
    def title(self) -> str:
        """For people."""
        return f"run of replies {self.delay_s:g} s late on link {self.target}"


class ExceptionStorm(Intermittent):
    """The device answers with an exception (Modbus Application Protocol V1.1b3, section 7)."""

    where = Where.GATEWAY
    kind: Literal["exception_storm"]
    code: Annotated[int, Field(ge=1, le=255)] = 6

    @property
    def title(self) -> str:
        """For people."""
        return f"storm of exception {self.code} on link {self.target}"


class BrokerRestart(Fault):
    """The broker goes away and comes back; what was published meanwhile comes late."""

    where = Where.BROKER
    kind: Literal["broker_restart"]

    @property
    def title(self) -> str:
        """For people."""
        return "restart of the broker"


class Duplicate(Intermittent):
    """A message is delivered twice, as QoS 1 allows (MQTT 3.1.1, section 4.3.2)."""

    where = Where.BROKER
    kind: Literal["duplicate"]

    @property
    def title(self) -> str:
        """For people."""
        return "run of duplicated messages"


class OutOfOrder(Intermittent):
    """A message is overtaken by the ``by`` messages after it."""

    where = Where.BROKER
    kind: Literal["out_of_order"]
    by: Annotated[int, Field(ge=1, le=10_000)] = 40

    @property
    def title(self) -> str:
        """For people."""
        return "run of messages out of order"


TruthFault = (
    Tap
    | Theft
    | Circuits
    | PlantTrip
    | Curtailment
    | HvdcOrder
    | HvdcPoles
    | Weather
    | CloudFront
    | Storm
    | Schedule
    | FrequencyEvent
    | LoadScale
)
MeterFault = (
    Gain | Offset | GainDrift | Stuck | Skew | Polarity | WordSwap | WrongScale | CounterReset | Exchanged
)
LinkFault = (
    Down
    | HalfOpen
    | Slow
    | Trickle
    | Garbage
    | ShortFrame
    | WrongTransaction
    | LateReply
    | ExceptionStorm
    | BrokerRestart
    | Duplicate
    | OutOfOrder
)
AnyFault = Annotated[TruthFault | MeterFault | LinkFault, Field(discriminator="kind")]
"""Any fault, told apart by its ``kind``."""

FAULT: TypeAdapter[TruthFault | MeterFault | LinkFault] = TypeAdapter(AnyFault)
"""Checks data of a fault that come from outside."""


def parameters() -> dict[str, dict[str, object]]:
    """Every kind of fault: what it is, what it strikes and the parameters that it takes besides."""
    kinds: dict[str, dict[str, object]] = {}
    for model in get_args(TruthFault | MeterFault | LinkFault):
        (kind,) = get_args(model.model_fields["kind"].annotation)
        names = {
            name: info.description or ("required" if info.is_required() else f"default {info.default}")
            for name, info in model.model_fields.items()
            if name not in {"kind", "target"}
        }
        kinds[kind] = {"what": model.__doc__, "target": model.where.value, "parameters": names}
    return kinds
