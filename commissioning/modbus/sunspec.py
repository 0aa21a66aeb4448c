"""What a SunSpec device shows of itself: its chain of models, their points, and a profile of them; pure.

Source: *SunSpec Device Information Model Specification 1.1*; the models are the adapter's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from adapters.modbus.decoding import BlockDecoder, Slot
from adapters.modbus.sunspec.chain import BASES, Block, Chain
from adapters.modbus.sunspec.mapping import offset_of
from adapters.modbus.sunspec.models import Model, ModelPoint, models
from commissioning.modbus.reading import Reading, read_spans
from commissioning.modbus.sheet import surveyed
from commissioning.modbus.target import Span
from commissioning.modbus.walk import Walk
from commissioning.tables import aligned, number, printable
from telemetry.points import PointKind, PointSpec, Unit
from telemetry.profiles import (
    DeviceProfile,
    RegisterTable,
    RegisterType,
    SunSpecMap,
    SunSpecMapping,
    WordOrder,
)
from telemetry.quality import Quality
from telemetry.units import conversion, stored_unit

PROFILE = "drafted-sunspec"
_UNITS = {"mps": "m/s", "HPa": "hPa", "Pct": "%"}
"""Units that the standard spells otherwise than :mod:`telemetry.units`."""
_HIDDEN = frozenset({"sunssf", "pad"})
_SHOWN_WORDS = 4
_SETTINGS = frozenset({1, *range(120, 150), *range(702, 714)})
"""Models of nameplates, settings and controls: they do not change from poll to poll."""


@dataclass(frozen=True, slots=True)
class ShownPoint:
    """One point of a model on a device."""

    point: ModelPoint
    turn: int | None
    """Which turn of a repeating group, from 1."""
    address: int
    words: tuple[int, ...]
    """Empty where it was not read."""
    value: float | None
    """In the model's unit; None for text, and where there is none."""
    text: str = ""

    @property
    def name(self) -> str:
        """Name of the point, with the turn of its group."""
        return self.point.name if self.turn is None else f"{self.point.name}_{self.turn}"

    @property
    def there(self) -> bool:
        """True when the device implements it."""
        return self.value is not None or bool(self.text)

    @property
    def shown(self) -> str:
        """The value for people, a state by its name."""
        if self.value is None:
            return (
                f'"{printable(self.text)}"' if self.text else "not implemented" if self.words else "not read"
            )
        state = self.point.states.get(int(self.value))
        return number(self.value) if state is None else f"{int(self.value)} {state}"


@dataclass(frozen=True, slots=True)
class ShownModel:
    """One model of a device."""

    block: Block
    model: Model | None
    """None for one that is not known here."""
    points: tuple[ShownPoint, ...]

    @property
    def label(self) -> str:
        """What the model is."""
        return "unknown model" if self.model is None else self.model.label


@dataclass(frozen=True, slots=True)
class SunSpecDevice:
    """A device's chain of models with what stands in them."""

    unit: int
    chain: Chain
    found: tuple[ShownModel, ...]
    faults: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """True when the chain has models and an end, and all of it could be read."""
        return bool(self.found) and self.chain.ended and not self.faults

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "unit": self.unit,
            "base": self.chain.base,
            "ended": self.chain.ended,
            "faults": list(self.faults),
            "models": [
                {
                    "model": shown.block.model,
                    "label": shown.label,
                    "address": shown.block.address,
                    "length": shown.block.length,
                    "points": [
                        {
                            "point": point.point.name,
                            "index": point.turn,
                            "type": point.point.type,
                            "address": point.address,
                            "words": list(point.words),
                            "value": point.text or point.value,
                            "unit": point.point.unit,
                        }
                        for point in shown.points
                    ],
                }
                for shown in self.found
            ],
        }

    def text(self) -> str:
        """For people."""
        end = "" if self.chain.ended else ", without an end: the device refuses to be read behind them"
        parts = [f'Marker "SunS" at {self.chain.base}, {len(self.found)} models{end}']
        parts += [_model_text(shown) for shown in self.found]
        return "\n".join([*parts, *(f"  {fault}" for fault in self.faults)])


def _model_text(shown: ShownModel) -> str:
    block = shown.block
    head = f"\nModel {block.model} {shown.label}, {block.length} registers from {block.address}"
    there = [point for point in shown.points if point.there]
    missing = len(shown.points) - len(there)
    if missing:
        head += f"; {missing} points not implemented"
    rows = [
        [
            point.name,
            str(point.address),
            " ".join(f"{word:04x}" for word in point.words[:_SHOWN_WORDS])
            + (" ..." if len(point.words) > _SHOWN_WORDS else ""),
            point.shown,
            point.point.unit,
        ]
        for point in there
    ]
    return f"{head}\n{aligned(['point', 'address', 'raw', 'value', 'unit'], rows, {1})}" if rows else head


def sunspec_walk(unit: int, most: int, bases: Sequence[int] = BASES) -> Walk[SunSpecDevice]:
    """Finds the chain of models and reads all of it.

    Raises
    ------
    NotSunSpecError
        There is no marker, or the chain cannot be walked.

    """
    chain = yield from surveyed(unit, bases)
    found, faults = [], []
    for block in chain.blocks:
        span = Span(block.address, 2 + block.length)
        reading: Reading = yield from read_spans(unit, RegisterTable.HOLDING, [span], most)
        found.append(_shown(block, reading.words))
        faults += reading.faults
    return SunSpecDevice(unit, chain, tuple(found), tuple(faults))


def _shown(block: Block, words: dict[int, int]) -> ShownModel:
    model = models().get(block.model)
    if model is None:
        return ShownModel(block, None, ())
    points = tuple(
        _point(model, block, point, turn, words)
        for point, turn in _all_points(model, block)
        if point.type not in _HIDDEN and offset_of(point, block, turn) is not None
    )
    return ShownModel(block, model, points)


def _all_points(model: Model, block: Block) -> Iterator[tuple[ModelPoint, int | None]]:
    for point in model.points.values():
        yield point, None
    for turn in range(1, model.turns(block.length) + 1):
        for point in model.group.values():
            yield point, turn


def _point(
    model: Model, block: Block, point: ModelPoint, turn: int | None, words: dict[int, int]
) -> ShownPoint:
    address = block.address + (offset_of(point, block, turn) or 0)
    own = [words.get(at) for at in range(address, address + point.words)]
    held = tuple(word for word in own if word is not None)
    if len(held) != point.words:
        return ShownPoint(point, turn, address, (), None)
    octets = b"".join(bytes(divmod(word, 256)) for word in held)
    encoding = point.encoding
    if encoding.type is RegisterType.STRING:
        return ShownPoint(point, turn, address, held, None, octets.rstrip(b"\0 ").decode("ascii", "replace"))
    exponent = _exponent(model, block, point, turn, words)
    decoder = BlockDecoder([Slot(0, encoding.type, not_implemented=encoding.not_implemented)], WordOrder.BIG)
    (raw,), (quality,) = decoder.decode(octets)
    if quality != Quality.GOOD or exponent is None:
        return ShownPoint(point, turn, address, held, None)
    value = float(raw * 10.0**exponent if exponent >= 0 else raw / 10.0**-exponent)
    return ShownPoint(point, turn, address, held, value)


def _exponent(
    model: Model, block: Block, point: ModelPoint, turn: int | None, words: dict[int, int]
) -> int | None:
    """The power of ten of a point; None where its scale factor is not there or not implemented."""
    if not point.scale_point:
        return point.exponent
    own = model.find(point.scale_point, turn)
    factor, of_turn = (own, turn) if own is not None else (model.find(point.scale_point), None)
    at = None if factor is None else offset_of(factor, block, of_turn)
    word = None if at is None else words.get(block.address + at)
    if word is None:
        return None
    exponent = word - 0x10000 if word & 0x8000 else word
    return exponent if abs(exponent) <= 10 else None


def sunspec_profile(device: SunSpecDevice, most: int, source: str) -> tuple[DeviceProfile, int] | None:
    """A profile of what the device measures and a reading can hold, and how many points that leaves out.

    None where there is no such point. Points of nameplates, settings and controls are left out.
    """
    specs: dict[str, PointSpec] = {}
    mappings: dict[str, SunSpecMapping] = {}
    left_out = 0
    for shown in device.found:
        first = device.chain.find(shown.block.model)
        if shown.model is None or shown.block.model in _SETTINGS or first is not shown.block:
            left_out += sum(point.there for point in shown.points)
            continue
        for point in shown.points:
            made = _mapped(shown, point) if point.there else None
            if made is None:
                left_out += point.there
                continue
            name = point.name if point.name not in specs else f"{point.name}_{shown.block.model}"
            specs[name], mappings[name] = made
    if not specs:
        return None
    base = None if device.chain.base in BASES else device.chain.base
    used = tuple(shown.block.model for shown in device.found)
    sunspec = SunSpecMap(base=base, models=used, max_registers=max(2, most), points=mappings)
    title = f"SunSpec device, models {', '.join(map(str, used))}"
    return DeviceProfile(id=PROFILE, title=title, source=source, points=specs, sunspec=sunspec), left_out


def _mapped(shown: ShownModel, point: ShownPoint) -> tuple[PointSpec, SunSpecMapping] | None:
    """Specification and mapping of a point; None for one that no reading can hold."""
    kind = point.point.type
    if point.value is None or kind.startswith("bitfield"):
        return None
    is_state = kind.startswith("enum")
    given = "1" if is_state else _UNITS.get(point.point.unit, point.point.unit)
    unit = stored_unit(given) if given else None
    if unit is None:
        return None
    scale, offset = conversion(given, unit)
    counts = kind.startswith("acc") or unit is Unit.MWH
    spec = PointSpec(
        title=f"{point.name} of model {shown.block.model}, {shown.label}",
        unit=unit,
        kind=PointKind.STATE if is_state else PointKind.COUNTER if counts else PointKind.ANALOG,
        low=0.0 if counts else float("-inf"),
        states={str(code): name for code, name in point.point.states.items()} if is_state else {},
    )
    mapping = SunSpecMapping(
        model=shown.block.model, point=point.point.name, index=point.turn, scale=scale, offset=offset
    )
    return spec, mapping
