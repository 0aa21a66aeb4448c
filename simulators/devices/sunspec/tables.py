"""Point tables of SunSpec models, read from ``models.toml``.

References are to the SunSpec Device Information Model Specification 1.1 (types and their "not implemented"
values, 4.2 and 4.3; scale factors, 4.4).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from simulators.devices.registers import Encoding

SCALE = "sunssf"
PAD = "pad"
COUNTERS = frozenset({"acc32", "acc64"})
"""Accumulators: they roll over, and zero means not implemented."""
ENCODINGS: Mapping[str, Encoding] = {
    "uint16": Encoding.UINT16,
    "enum16": Encoding.UINT16,
    "bitfield16": Encoding.UINT16,
    "count": Encoding.UINT16,
    "int16": Encoding.INT16,
    SCALE: Encoding.INT16,
    PAD: Encoding.INT16,
    "uint32": Encoding.UINT32,
    "bitfield32": Encoding.UINT32,
    "acc32": Encoding.UINT32,
    "uint64": Encoding.UINT64,
    "acc64": Encoding.UINT64,
    "float32": Encoding.FLOAT32,
    "string": Encoding.TEXT,
}
_TYPE = re.compile(r"^([a-z0-9]+)(?:\((\d+)\))?$")


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a model."""

    name: str
    type: str
    scale: str
    """Name of the point that holds the scale factor, a fixed exponent, or empty."""
    unit: str
    length: int
    """Registers of a string, else 0."""

    @property
    def words(self) -> int:
        """Number of registers."""
        return self.length or ENCODINGS[self.type].words


@dataclass(frozen=True, slots=True)
class Model:
    """One model: identifier and length, the fixed points, then the repeating group any number of times."""

    id: int
    label: str
    fixed: tuple[Point, ...]
    repeating: tuple[Point, ...]

    def length(self, repeats: int) -> int:
        """Registers behind the length register."""
        group = sum(point.words for point in self.repeating)
        return sum(point.words for point in self.fixed) + repeats * group


@cache
def models() -> Mapping[int, Model]:
    """Every known model by its identifier."""
    text = resources.files("simulators.devices.sunspec").joinpath("models.toml").read_text(encoding="utf-8")
    return {
        int(number): Model(
            int(number), table["label"], _points(table["fixed"]), _points(table.get("repeating", ""))
        )
        for number, table in tomllib.loads(text).items()
    }


def _points(rows: str) -> tuple[Point, ...]:
    points = []
    for row in rows.strip().splitlines():
        name, written, scale, *unit = row.split()
        match = _TYPE.match(written)
        if match is None or match[1] not in ENCODINGS:
            raise ValueError(f'SunSpec point {name}: unknown type "{written}"')
        points.append(Point(name, match[1], "" if scale == "-" else scale, "".join(unit), int(match[2] or 0)))
    return tuple(points)
