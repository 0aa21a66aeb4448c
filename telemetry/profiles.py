"""Device profiles: how a kind of device maps its registers or its payload to points.

A profile is a TOML document; :func:`parse_profile` checks it. Addresses are wire addresses, counted from 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

from telemetry.errors import ConfigError, Problem
from telemetry.points import Deadband, Identifier, PointKind, PointName, PointSpec
from telemetry.settings import Settings, nearest, parse
from telemetry.units import conversion, units_for

Finite = Annotated[float, Field(allow_inf_nan=False)]
Period = Annotated[float, Field(gt=0, le=86400)]


class RegisterType(StrEnum):
    """Encoding of a value in Modbus registers."""

    BOOL = "bool"
    """One coil or discrete input, or a register that is 0 or not."""
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT16 = "float16"
    FLOAT32 = "float32"
    FLOAT64 = "float64"
    ACC32 = "acc32"
    """Unsigned accumulator; 0 means that nothing is accumulated (SunSpec)."""
    ACC64 = "acc64"
    BCD16 = "bcd16"
    """Unsigned, four bits for each decimal digit."""
    BCD32 = "bcd32"
    BCD64 = "bcd64"
    STRING = "string"
    """Text: greenbridge probe shows it, a reading cannot hold it."""

    @cached_property
    def registers(self) -> int:
        """Number of 16-bit registers; of a text, the least."""
        return self._bits // 16

    @property
    def is_float(self) -> bool:
        """True for the floating-point types."""
        return self.value.startswith("float")

    @property
    def integers(self) -> range:
        """Raw integers that the type can hold; none for a floating-point type or text."""
        if self.is_float or self is RegisterType.STRING:
            return range(0)
        if self is RegisterType.BOOL:
            return range(2)
        if self.value.startswith("int"):
            return range(-(1 << self._bits - 1), 1 << self._bits - 1)
        return range(10 ** (self._bits // 4) if self.value.startswith("bcd") else 1 << self._bits)

    @property
    def _bits(self) -> int:
        return int("".join(filter(str.isdigit, self.value)) or 16)


class WordOrder(StrEnum):
    """Order of the bytes of a value on the wire: of its registers, and of the two bytes in each.

    The names in letters are those of the trade, A being the most significant byte; "abcd" and "cdab" are
    understood too.
    """

    BIG = "big"
    """ABCD, ABCDEFGH: as the standard has it."""
    LITTLE = "little"
    """CDAB, GHEFCDAB: least significant register first."""
    BADC = "badc"
    """BADC, BADCFEHG: bytes swapped within each register."""
    DCBA = "dcba"
    """DCBA, HGFEDCBA: least significant byte first."""
    EFGHABCD = "efghabcd"
    """EFGHABCD: a 64-bit value of two 32-bit halves, the least significant first; shorter ones as BIG."""
    CDABGHEF = "cdabghef"
    """CDABGHEF: a 64-bit value of two 32-bit halves, each least significant register first; shorter ones as
    LITTLE."""

    @classmethod
    def _missing_(cls, value: object) -> WordOrder | None:
        return {"abcd": cls.BIG, "cdab": cls.LITTLE}.get(str(value))


class RegisterTable(StrEnum):
    """The four tables of a device."""

    COIL = "coil"
    """Single bits, function code 1."""
    DISCRETE = "discrete"
    """Single bits, function code 2."""
    HOLDING = "holding"
    """16-bit registers, function code 3."""
    INPUT = "input"
    """16-bit registers, function code 4."""

    @cached_property
    def is_bits(self) -> bool:
        """True for the tables of single bits."""
        return self in {RegisterTable.COIL, RegisterTable.DISCRETE}


class RegisterMapping(Settings):
    """Where a point is found in a device's registers."""

    address: Annotated[int, Field(ge=0, le=65535)]
    """Wire address of the first register."""
    type: RegisterType
    scale: Finite = 1.0
    """value [unit of the point] = raw * scale + offset."""
    offset: Finite = 0.0
    not_implemented: int | None = None
    """Raw integer that marks the point as not implemented."""
    table: RegisterTable | None = None
    """Where it stands, if not in the map's table."""
    word_order: WordOrder | None = None
    """Its own order, if not the map's."""
    bit: Annotated[int, Field(ge=0, le=63)] | None = None
    """First bit of a field within an unsigned integer; 0 is the least significant."""
    bits: Annotated[int, Field(ge=1, le=32)] = 1
    """Width of that field."""
    scale_register: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Register with a power of ten (int16) for the value; it is read in the same transaction."""
    period_s: Period | None = None
    """Time between two reads of this point [s], if not the profile's."""


AddressRange = tuple[Annotated[int, Field(ge=0, le=65535)], Annotated[int, Field(ge=0, le=65535)]]
"""First and last address."""


class ModbusMap(Settings):
    """The Modbus side of a profile."""

    table: RegisterTable = RegisterTable.HOLDING
    word_order: WordOrder = WordOrder.BIG
    max_registers: Annotated[int, Field(ge=1, le=125)] = 125
    """Largest read that the device accepts; 125 is the protocol's limit."""
    max_gap: Annotated[int, Field(ge=0, le=124)] = 16
    """Unused registers that one read may span to save a request."""
    max_coils: Annotated[int, Field(ge=1, le=2000)] = 2000
    """Largest read of coils or discrete inputs."""
    forbidden: tuple[AddressRange, ...] = ()
    """Addresses that no read may touch, as [first, last]: some devices fail when they are asked for them."""
    registers: dict[PointName, RegisterMapping]


class SunSpecMapping(Settings):
    """Where a point is found in a SunSpec device: by names; type, scale factor and marks are the model's."""

    model: Annotated[int, Field(ge=1, le=65534)]
    point: str
    """Name of the point in the model, for example ``W``."""
    index: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Which turn of the model's repeating group, counted from 1."""
    scale: Finite = 1.0
    """value [unit of the point] = value in the model's unit * scale + offset."""
    offset: Finite = 0.0
    period_s: Period | None = None
    """Time between two reads of this point [s], if not the profile's."""


class SunSpecMap(Settings):
    """The SunSpec side of a profile; the device's models are discovered on each new connection."""

    base: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Address of the marker "SunS"; without it 40000, 0 and 50000 are tried."""
    models: tuple[int, ...] = ()
    """Models that a device of this kind usually has, in order: only for estimates before it is asked."""
    max_registers: Annotated[int, Field(ge=2, le=125)] = 125
    """Largest read that the device accepts."""
    points: dict[PointName, SunSpecMapping]


class TimeFormat(StrEnum):
    """Encoding of a source time in a payload."""

    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"
    NANOSECONDS = "ns"
    ISO8601 = "iso8601"


class JsonShape(StrEnum):
    """What one message holds."""

    OBJECT = "object"
    """A JSON object with a member for each point."""
    SCALAR = "scalar"
    """One point: a number, or an object that holds it; the topic names the point."""
    SAMPLES = "samples"
    """An array of objects, each with its own time and a member for each point."""


class JsonField(Settings):
    """Where a point is found in a JSON object."""

    field: Annotated[str, Field(min_length=1)]
    """Name of the member; a dot descends into a nested object. In a scalar payload the name that stands for
    the point in the topic."""
    unit: str | None = None
    """Unit in which the device sends, for example ``kW``; it is converted into the point's."""
    scale: Finite = 1.0
    """value [unit of the point] = member * scale + offset, in place of a unit."""
    offset: Finite = 0.0


class JsonMap(Settings):
    """The MQTT side of a profile: JSON messages."""

    shape: JsonShape = JsonShape.OBJECT
    time_field: str | None = None
    """Member that holds the source time; without one, readings are stamped at receipt and say so."""
    time_format: TimeFormat = TimeFormat.MILLISECONDS
    value_field: str | None = None
    """Of a scalar payload that is an object: the member that holds the value."""
    samples_field: str | None = None
    """Of samples within an object: the member that holds the array."""
    fields: dict[PointName, JsonField]


class MetricMapping(Settings):
    """Which Sparkplug metric a point is."""

    metric: Annotated[str, Field(min_length=1)]
    """Name of the metric as its birth gives it."""
    unit: str | None = None
    """Unit of the metric, for example ``kW``; it is converted into the point's."""
    scale: Finite = 1.0
    """value [unit of the point] = metric * scale + offset, in place of a unit."""
    offset: Finite = 0.0


class SparkplugMap(Settings):
    """The Sparkplug side of a profile: metrics are reported by exception, when they change."""

    metrics: dict[PointName, MetricMapping]


class DeviceProfile(Settings):
    """A kind of device."""

    id: Identifier
    """Name of the profile; also the measurement in InfluxDB."""
    title: str
    source: str
    """Document or standard that the map was taken from, with its edition."""
    period_s: Period = 1.0
    """Expected time between two readings of a point [s]."""
    accuracy_pct: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Standard uncertainty of a power reading, instrument transformers included [% of reading]."""
    accuracy_floor_mw: Annotated[float, Field(ge=0)] = 0.0
    """Part of the uncertainty that does not depend on the reading [MW]."""
    points: dict[PointName, PointSpec]
    modbus: ModbusMap | None = None
    sunspec: SunSpecMap | None = None
    json_payload: Annotated[JsonMap | None, Field(alias="json")] = None
    sparkplug: SparkplugMap | None = None

    @property
    def by_exception(self) -> bool:
        """Points are reported when they change: silence says nothing as long as the session stands."""
        return self.sparkplug is not None

    @property
    def protocol(self) -> Literal["modbus", "mqtt", "sparkplug"]:
        """The one protocol that the profile maps."""
        if self.sparkplug is not None:
            return "sparkplug"
        return "mqtt" if self.modbus is None and self.sunspec is None else "modbus"

    def period_of(self, name: str) -> float:
        """Expected time between two readings of a point [s]."""
        own = None
        if self.modbus is not None:
            own = self.modbus.registers[name].period_s
        elif self.sunspec is not None:
            own = self.sunspec.points[name].period_s
        return self.period_s if own is None else own


def parse_profile(text: str, file: str, environment: Mapping[str, str] | None = None) -> DeviceProfile:
    """Parses and checks a profile.

    Raises
    ------
    ConfigError
        With one problem for each fault.

    """
    profile = parse(text, file, DeviceProfile, environment)
    problems = [*_map_problems(profile, file), *_point_problems(profile, file)]
    if problems:
        raise ConfigError(problems)
    return profile


def _map_problems(profile: DeviceProfile, file: str) -> Iterator[Problem]:
    if [profile.modbus, profile.sunspec, profile.json_payload, profile.sparkplug].count(None) != 3:
        fix = "give one of [modbus], [sunspec], [json] and [sparkplug]"
        yield Problem(file, "", "", "a profile maps one protocol", fix)
    mapped: dict[str, Mapping[str, RegisterMapping | SunSpecMapping | JsonField | MetricMapping]] = {}
    if profile.sparkplug is not None:
        mapped["sparkplug.metrics"] = profile.sparkplug.metrics
        yield from _unit_problems(profile, "sparkplug.metrics", profile.sparkplug.metrics, file)
        yield from _twice(
            "sparkplug.metrics", {n: m.metric for n, m in profile.sparkplug.metrics.items()}, "metric", file
        )
    if profile.sunspec is not None:
        mapped["sunspec.points"] = profile.sunspec.points
    if profile.modbus is not None:
        mapped["modbus.registers"] = profile.modbus.registers
        for name, mapping in profile.modbus.registers.items():
            yield from _register_problems(profile.modbus, name, mapping, file)
    if profile.json_payload is not None:
        mapped["json.fields"] = profile.json_payload.fields
        yield from _json_problems(profile.json_payload, file)
        yield from _unit_problems(profile, "json.fields", profile.json_payload.fields, file)
    for table, names in mapped.items():
        for name in names:
            if name not in profile.points:
                yield Problem(file, f"{table}.{name}", "", "no such point", nearest(name, profile.points))
            if names[name].scale == 0:
                yield Problem(file, f"{table}.{name}.scale", "0", "makes every value the same", "remove it")
        for name in profile.points:
            if name not in names:
                yield Problem(file, f"points.{name}", "", f"not mapped in [{table}]", "map it or remove it")


def _json_problems(payload: JsonMap, file: str) -> Iterator[Problem]:
    if payload.value_field is not None and payload.shape is not JsonShape.SCALAR:
        fix = 'remove it, or write shape = "scalar"'
        yield Problem(
            file, "json.value_field", f'"{payload.value_field}"', "only a scalar payload has one", fix
        )
    if payload.samples_field is not None and payload.shape is not JsonShape.SAMPLES:
        fix = 'remove it, or write shape = "samples"'
        yield Problem(
            file, "json.samples_field", f'"{payload.samples_field}"', "only samples stand in a member", fix
        )
    if payload.shape is JsonShape.SCALAR:
        if payload.time_field is not None and payload.value_field is None:
            fix, shown = "name the member that holds the value as value_field", f'"{payload.time_field}"'
            yield Problem(file, "json.time_field", shown, "a bare number has no time", fix)
        yield from _twice("json.fields", {n: f.field for n, f in payload.fields.items()}, "field", file)
        for name, field in payload.fields.items():
            if "/" in field.field or set("+#") & set(field.field):
                reason = "cannot be a level of a topic"
                yield Problem(file, f"json.fields.{name}.field", f'"{field.field}"', reason)
    if payload.shape is JsonShape.SAMPLES and payload.time_field is None:
        fix = "name the member of each sample that holds its time"
        yield Problem(file, "json.time_field", "", "samples need a time of their own", fix)


def _unit_problems(
    profile: DeviceProfile, table: str, mappings: Mapping[str, JsonField | MetricMapping], file: str
) -> Iterator[Problem]:
    for name, mapping in mappings.items():
        spec = profile.points.get(name)
        if mapping.unit is None or spec is None:
            continue
        where = f"{table}.{name}.unit"
        if (mapping.scale, mapping.offset) != (1.0, 0.0):
            yield Problem(
                file, where, f'"{mapping.unit}"', "scale or offset is given too", "keep one of them"
            )
        try:
            conversion(mapping.unit, spec.unit)
        except KeyError:
            fix = nearest(mapping.unit, units_for(spec.unit))
            yield Problem(file, where, f'"{mapping.unit}"', f"cannot be converted into {spec.unit}", fix)


def _twice(table: str, names: Mapping[str, str], key: str, file: str) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for point, name in names.items():
        other = first.setdefault(name, point)
        if other != point:
            yield Problem(file, f"{table}.{point}.{key}", f'"{name}"', f"is {other} too")


def _register_problems(
    modbus: ModbusMap, name: str, mapping: RegisterMapping, file: str
) -> Iterator[Problem]:
    where = f"modbus.registers.{name}"
    yield from _encoding_problems(modbus, where, mapping, file)
    if mapping.address + mapping.type.registers > 65536:
        yield Problem(file, f"{where}.address", str(mapping.address), "runs past register 65535")
    if mapping.type.registers > modbus.max_registers:
        reason = f"takes {mapping.type.registers} registers, but one read may take {modbus.max_registers}"
        yield Problem(file, f"{where}.type", f'"{mapping.type}"', reason, "raise modbus.max_registers")
    scale = mapping.address if mapping.scale_register is None else mapping.scale_register
    start = min(mapping.address, scale)
    end = max(mapping.address + mapping.type.registers, scale + 1)
    for first, last in modbus.forbidden:
        if first < end and start <= last:
            reason = f"stands in the forbidden range {first} to {last}"
            yield Problem(file, f"{where}.address", str(mapping.address), reason)
    marker = mapping.not_implemented
    if marker is not None and marker not in mapping.type.integers:
        reason = f"a raw {mapping.type} never has this value"
        yield Problem(file, f"{where}.not_implemented", str(marker), reason, "give the raw integer, unscaled")


def _encoding_problems(
    modbus: ModbusMap, where: str, mapping: RegisterMapping, file: str
) -> Iterator[Problem]:
    kind = mapping.type
    table = mapping.table or modbus.table
    if kind is RegisterType.STRING:
        fix = "remove the point; greenbridge probe shows texts"
        yield Problem(file, f"{where}.type", '"string"', "a reading is a number, not a text", fix)
    if table.is_bits and (kind is not RegisterType.BOOL or mapping.scale_register is not None):
        yield Problem(file, f"{where}.type", f'"{kind}"', f"a {table} is a single bit", 'write type = "bool"')
    if mapping.bit is not None:
        if not kind.value.startswith("uint"):
            reason = f"a {kind} has no bit fields"
            yield Problem(file, f"{where}.bit", str(mapping.bit), reason, "use an unsigned integer")
        elif mapping.bit + mapping.bits > 16 * kind.registers:
            reason = f"the field ends behind the {16 * kind.registers} bits of a {kind}"
            yield Problem(file, f"{where}.bit", str(mapping.bit), reason)
    if mapping.scale_register is not None:
        first = min(mapping.address, mapping.scale_register)
        end = max(mapping.address + kind.registers, mapping.scale_register + 1)
        if end - first > modbus.max_registers:
            reason = f"{end - first} registers from the value to it do not fit into one read"
            yield Problem(file, f"{where}.scale_register", str(mapping.scale_register), reason)


def _point_problems(profile: DeviceProfile, file: str) -> Iterator[Problem]:
    for name, spec in profile.points.items():
        if not spec.low < spec.high:
            yield Problem(
                file, f"points.{name}.low", str(spec.low), f"not below high = {spec.high}", "swap them"
            )
        if spec.deadband is not None:
            yield from _deadband_problems(spec, spec.deadband, f"points.{name}.deadband", file)
        for code in spec.states:
            if not code.removeprefix("-").isdecimal():
                yield Problem(
                    file, f"points.{name}.states.{code}", "", "a state is a whole number", 'as 4 = "MPPT"'
                )


def _deadband_problems(spec: PointSpec, band: Deadband, where: str, file: str) -> Iterator[Problem]:
    if (band.absolute is None) == (band.range_pct is None):
        reason = "has both absolute and range_pct" if band.absolute is not None else "has no width"
        yield Problem(file, where, "", reason, "give one of absolute and range_pct")
    elif band.range_pct is not None and not math.isfinite(spec.high - spec.low):
        fix = "give low and high of the point, or an absolute width"
        yield Problem(file, f"{where}.range_pct", str(band.range_pct), "the point has no finite range", fix)
    if spec.kind is PointKind.STATE and band.absolute != 0:
        reason = "would hide that a state changes"
        yield Problem(file, where, "", reason, "write absolute = 0 for a point of states")
