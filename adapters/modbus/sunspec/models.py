"""The information models that are known, read from ``models.toml``.

Types and their marks of "not implemented": *SunSpec Device Information Model Specification 1.1* 4.2 and 4.3.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from telemetry.profiles import RegisterType

_TYPE = re.compile(r"^([a-z0-9]+)(?:\((\d+)\))?$")
_QUIET_NAN = 0x7FC00000


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a type of SunSpec stands in registers."""

    type: RegisterType
    not_implemented: int | None
    """Raw value that marks a point as not implemented; accumulators have theirs in the type."""


ENCODINGS: Mapping[str, Encoding] = {
    "int16": Encoding(RegisterType.INT16, 0x8000),
    "uint16": Encoding(RegisterType.UINT16, 0xFFFF),
    "count": Encoding(RegisterType.UINT16, 0xFFFF),
    "acc16": Encoding(RegisterType.UINT16, 0),
    "enum16": Encoding(RegisterType.UINT16, 0xFFFF),
    "bitfield16": Encoding(RegisterType.UINT16, 0xFFFF),
    "sunssf": Encoding(RegisterType.INT16, 0x8000),
    "int32": Encoding(RegisterType.INT32, 0x80000000),
    "uint32": Encoding(RegisterType.UINT32, 0xFFFFFFFF),
    "acc32": Encoding(RegisterType.ACC32, None),
    "enum32": Encoding(RegisterType.UINT32, 0xFFFFFFFF),
    "bitfield32": Encoding(RegisterType.UINT32, 0xFFFFFFFF),
    "int64": Encoding(RegisterType.INT64, 0x8000000000000000),
    "uint64": Encoding(RegisterType.UINT64, 0xFFFFFFFFFFFFFFFF),
    "acc64": Encoding(RegisterType.ACC64, None),
    "float32": Encoding(RegisterType.FLOAT32, _QUIET_NAN),
    "float64": Encoding(RegisterType.FLOAT64, 0x7FF8000000000000),
    "string": Encoding(RegisterType.STRING, None),
}


@dataclass(frozen=True, slots=True)
class ModelPoint:
    """One point of a model."""

    name: str
    type: str
    """As the standard names it, for example ``enum16``."""
    offset: int
    """Registers from the model's identifier, or from the start of the repeating group."""
    words: int
    scale_point: str = ""
    """Name of the point that holds its power of ten."""
    exponent: int = 0
    """A power of ten that is always the same."""
    unit: str = ""
    states: Mapping[int, str] = field(default_factory=dict)
    """Names of an enumeration's values."""

    @property
    def encoding(self) -> Encoding:
        """How it stands in registers."""
        return ENCODINGS[self.type]


@dataclass(frozen=True, slots=True)
class Model:
    """One information model."""

    id: int
    label: str
    length: int
    """Registers of the fixed points, without identifier and length."""
    points: Mapping[str, ModelPoint]
    group: Mapping[str, ModelPoint] = field(default_factory=dict)
    """Points that repeat for each module or port."""
    group_length: int = 0
    group_count: str = ""
    """Name of the point that tells how often the group repeats."""

    def turns(self, length: int) -> int:
        """How often the group repeats in a model of a length."""
        return max(0, length - self.length) // self.group_length if self.group_length else 0

    def find(self, name: str, turn: int | None = None) -> ModelPoint | None:
        """A fixed point by name or, with a turn, one of the repeating group; None if there is none."""
        return (self.points if turn is None else self.group).get(name)


@cache
def models() -> Mapping[int, Model]:
    """Every known model by its identifier."""
    document = tomllib.loads((files("adapters.modbus.sunspec") / "models.toml").read_text("utf-8"))
    return {
        int(number): _model(int(number), title, table)
        for table in document["model"]
        for number, title in table["ids"].items()
    }


def _model(number: int, title: str, table: Mapping[str, Any]) -> Model:
    values = {
        name: {int(code): text for code, text in names.items()}
        for name, names in table.get("values", {}).items()
    }
    return Model(
        number,
        title,
        table["length"],
        _points(table["points"], values),
        _points(table.get("group", {}), values),
        table.get("group_length", 0),
        table.get("group_count", ""),
    )


def _points(
    rows: Mapping[str, tuple[int, str, str | int, str]], values: Mapping[str, Mapping[int, str]]
) -> dict[str, ModelPoint]:
    points = {}
    for name, (offset, written, scale, unit) in rows.items():
        match = _TYPE.match(written)
        if match is None or match[1] not in ENCODINGS:
            raise ValueError(f'SunSpec point {name}: unknown type "{written}"')
        kind = match[1]
        points[name] = ModelPoint(
            name,
            kind,
            offset,
            int(match[2] or ENCODINGS[kind].type.registers),
            scale if isinstance(scale, str) else "",
            scale if isinstance(scale, int) else 0,
            unit,
            values.get(name, {}),
        )
    return points
