"""Device profiles: how a kind of device maps its registers or its payload to points.

A profile is a TOML document; :func:`parse_profile` checks it. Addresses are wire addresses, counted from 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from telemetry.errors import ConfigError, Problem
from telemetry.points import Identifier, PointName, PointSpec
from telemetry.settings import Settings, nearest, parse

Finite = Annotated[float, Field(allow_inf_nan=False)]


class RegisterType(StrEnum):
    """Encoding of a value in Modbus registers."""

    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    UINT64 = "uint64"
    FLOAT32 = "float32"
    FLOAT64 = "float64"

    @property
    def registers(self) -> int:
        """Number of 16-bit registers."""
        return self._bits // 16

    @property
    def integers(self) -> range:
        """Raw integers that the type can hold; none for a floating-point type."""
        if self.value.startswith("float"):
            return range(0)
        if self.value.startswith("uint"):
            return range(1 << self._bits)
        return range(-(1 << self._bits - 1), 1 << self._bits - 1)

    @property
    def _bits(self) -> int:
        return int("".join(filter(str.isdigit, self.value)))


class WordOrder(StrEnum):
    """Order of the registers of a multi-register value; bytes within a register are big-endian."""

    BIG = "big"
    """Most significant register first."""
    LITTLE = "little"
    """Least significant register first."""


class RegisterTable(StrEnum):
    """The two tables of 16-bit registers."""

    HOLDING = "holding"
    """Function code 3."""
    INPUT = "input"
    """Function code 4."""


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


class ModbusMap(Settings):
    """The Modbus side of a profile."""

    table: RegisterTable = RegisterTable.HOLDING
    word_order: WordOrder = WordOrder.BIG
    max_registers: Annotated[int, Field(ge=1, le=125)] = 125
    """Largest read that the device accepts; 125 is the protocol's limit."""
    max_gap: Annotated[int, Field(ge=0, le=124)] = 16
    """Unused registers that one read may span to save a request."""
    registers: dict[PointName, RegisterMapping]


class TimeFormat(StrEnum):
    """Encoding of a source time in a payload."""

    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"
    NANOSECONDS = "ns"
    ISO8601 = "iso8601"


class JsonField(Settings):
    """Where a point is found in a JSON object."""

    field: str
    """Name of the member; a dot descends into a nested object."""
    scale: Finite = 1.0
    offset: Finite = 0.0


class JsonMap(Settings):
    """The MQTT side of a profile: one JSON object per message."""

    time_field: str | None = None
    """Member that holds the source time; without one, readings are stamped at receipt and say so."""
    time_format: TimeFormat = TimeFormat.MILLISECONDS
    fields: dict[PointName, JsonField]


class DeviceProfile(Settings):
    """A kind of device."""

    id: Identifier
    """Name of the profile; also the measurement in InfluxDB."""
    title: str
    source: str
    """Document or standard that the map was taken from, with its edition."""
    period_s: Annotated[float, Field(gt=0, le=86400)] = 1.0
    """Expected time between two readings of a point [s]."""
    accuracy_pct: Annotated[float, Field(ge=0, le=100)] = 0.0
    """Standard uncertainty of a power reading, instrument transformers included [% of reading]."""
    accuracy_floor_mw: Annotated[float, Field(ge=0)] = 0.0
    """Part of the uncertainty that does not depend on the reading [MW]."""
    points: dict[PointName, PointSpec]
    modbus: ModbusMap | None = None
    json_payload: Annotated[JsonMap | None, Field(alias="json")] = None

    @property
    def protocol(self) -> Literal["modbus", "mqtt"]:
        """The one protocol that the profile maps."""
        return "modbus" if self.modbus is not None else "mqtt"


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
    if (profile.modbus is None) == (profile.json_payload is None):
        yield Problem(file, "", "", "a profile maps one protocol", "give [modbus] or [json], not both")
    mapped: dict[str, Mapping[str, RegisterMapping | JsonField]] = {}
    if profile.modbus is not None:
        mapped["modbus.registers"] = profile.modbus.registers
        for name, mapping in profile.modbus.registers.items():
            yield from _register_problems(profile.modbus, name, mapping, file)
    if profile.json_payload is not None:
        mapped["json.fields"] = profile.json_payload.fields
    for table, names in mapped.items():
        for name in names:
            if name not in profile.points:
                yield Problem(file, f"{table}.{name}", "", "no such point", nearest(name, profile.points))
            if names[name].scale == 0:
                yield Problem(file, f"{table}.{name}.scale", "0", "makes every value the same", "remove it")
        for name in profile.points:
            if name not in names:
                yield Problem(file, f"points.{name}", "", f"not mapped in [{table}]", "map it or remove it")


def _register_problems(
    modbus: ModbusMap, name: str, mapping: RegisterMapping, file: str
) -> Iterator[Problem]:
    where = f"modbus.registers.{name}"
    if mapping.address + mapping.type.registers > 65536:
        yield Problem(file, f"{where}.address", str(mapping.address), "runs past register 65535")
    if mapping.type.registers > modbus.max_registers:
        reason = f"takes {mapping.type.registers} registers, but one read may take {modbus.max_registers}"
        yield Problem(file, f"{where}.type", f'"{mapping.type}"', reason, "raise modbus.max_registers")
    marker = mapping.not_implemented
    if marker is not None and marker not in mapping.type.integers:
        reason = f"a raw {mapping.type} never has this value"
        yield Problem(file, f"{where}.not_implemented", str(marker), reason, "give the raw integer, unscaled")


def _point_problems(profile: DeviceProfile, file: str) -> Iterator[Problem]:
    for name, spec in profile.points.items():
        if not spec.low < spec.high:
            yield Problem(
                file, f"points.{name}.low", str(spec.low), f"not below high = {spec.high}", "swap them"
            )
        for code in spec.states:
            if not code.removeprefix("-").isdecimal():
                yield Problem(
                    file, f"points.{name}.states.{code}", "", "a state is a whole number", 'as 4 = "MPPT"'
                )
