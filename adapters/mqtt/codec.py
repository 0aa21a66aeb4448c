"""From a JSON payload to values and qualities, without any input or output.

Three shapes: an object with a member for each point, one value whose point the topic names, and an array of
objects with a time each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from adapters.mqtt.readings import Layout, Member, Readings
from telemetry.errors import GreenbridgeError
from telemetry.profiles import JsonMap, JsonShape, TimeFormat
from telemetry.quality import Quality
from telemetry.site import SitePoint
from telemetry.units import conversion

EARLIEST_NS = 946_684_800_000_000_000
"""2000-01-01 UTC: a source time before it is implausible [ns]."""
MAX_AHEAD_NS = 3_600_000_000_000
"""A source time further ahead of the time of receipt is implausible [ns]."""

_INT64 = range(-(1 << 63), 1 << 63)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NS_PER = {
    TimeFormat.SECONDS: 1_000_000_000,
    TimeFormat.MILLISECONDS: 1_000_000,
    TimeFormat.MICROSECONDS: 1_000,
    TimeFormat.NANOSECONDS: 1,
}
_MAX_UNKNOWN = 20
_ABSENT = object()


class Rejection(StrEnum):
    """Why a message cannot become readings; the label of a dead letter."""

    NOT_JSON = "not_json"
    NOT_OBJECT = "not_object"
    NOT_SAMPLES = "not_samples"
    OVERSIZED = "oversized"
    NO_TIME = "no_time"
    BAD_TIME = "bad_time"
    UNKNOWN_TOPIC = "unknown_topic"


class RejectedPayloadError(GreenbridgeError):
    """A message that cannot become readings; it is kept as a dead letter."""

    def __init__(self, reason: Rejection, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Decoded:
    """The readings of one message, in columns of equal length."""

    point: list[int]
    """Indices of the points."""
    t_source: list[int]
    """Wall times of the measurements [ns, UTC]."""
    value: list[float]
    """Values [unit of the point]; NaN where not known."""
    quality: list[int]
    """Quality codes."""
    unknown: tuple[str, ...] = ()
    """Members of the payload that no point is mapped to, at most 20; empty for most messages."""
    rejected: tuple[RejectedPayloadError, ...] = ()
    """Samples of the message that cannot become readings, at most 20; the others did."""


@dataclass(frozen=True, slots=True)
class _Field:
    index: int
    path: tuple[str, ...]
    scale: float
    offset: float
    low: float
    high: float


class PayloadDecoder:
    """Decodes the payloads of one device; ``index`` holds the registry index of each of its points."""

    def __init__(self, payload: JsonMap, points: Sequence[SitePoint]) -> None:
        self.index = [point.index for point in points]
        self._shape = payload.shape
        self._fields = []
        self._known: dict[str, Any] = {}
        for point in points:
            mapping = payload.fields[point.key.name]
            scale, offset = mapping.scale, mapping.offset
            if mapping.unit is not None:
                scale, offset = conversion(mapping.unit, point.spec.unit)
            path = tuple(mapping.field.split("."))
            spec = point.spec
            self._fields.append(_Field(point.index, path, scale, offset, spec.low, spec.high))
            if payload.shape is not JsonShape.SCALAR:
                _remember(self._known, path)
        self._by_name = {
            payload.fields[p.key.name].field: f for p, f in zip(points, self._fields, strict=True)
        }
        self._value_path = _path(payload.value_field)
        self._samples_path = _path(payload.samples_field)
        self._time_path = _path(payload.time_field)
        self._time_format = payload.time_format
        for known in (self._value_path, self._time_path):
            if known is not None:
                _remember(self._known, known)
        self._flat = all(not below for below in self._known.values())
        self._layout = self._plain_layout() if self._shape is JsonShape.OBJECT else None

    @property
    def names(self) -> list[str]:
        """Names that stand for points in the topics of scalar payloads."""
        return list(self._by_name)

    def read(self, payload: bytes, received_ns: int, into: Readings, *, retained: bool = False) -> bool:
        """Adds what :meth:`decode` would say, if the payload is an object of plain numbers; False if not.

        Raises
        ------
        RejectedPayloadError
            Its source time cannot be read.

        """
        if self._layout is None:
            return False
        found = self._layout.read(payload)
        if found is None:
            return False
        value, time = found
        floor = Quality.RETAINED if retained else Quality.GOOD
        t_source, floor = self._stamped(time, received_ns, floor)
        into.add(self._layout, t_source, floor, value)
        return True

    def _plain_layout(self) -> Layout | None:
        names = [field.path[0] for field in self._fields]
        time_name = None if self._time_path is None else self._time_path[0]
        if not self._flat or len({*names, time_name}) != len(names) + 1:
            return None
        members = [Member(f.index, f.path[0], f.scale, f.offset, f.low, f.high) for f in self._fields]
        return Layout(members, time_name)

    def decode(
        self, payload: bytes, received_ns: int, *, retained: bool = False, name: str | None = None
    ) -> Decoded:
        """Values and qualities of a payload that was received at a wall time [ns, UTC].

        A missing or null member is NaN and not implemented; anything else that is not a finite number is NaN
        and not a number; a value out of range is kept and marked. A retained message is never good.

        Parameters
        ----------
        payload
            What was received.
        received_ns
            When.
        retained
            The broker had kept it since before the subscription.
        name
            What stands for the point in the topic of a scalar payload.

        Raises
        ------
        RejectedPayloadError
            It is not JSON of the shape that is due, or its source time is missing or cannot be read.

        """
        message = _parsed(payload)
        floor = Quality.RETAINED if retained else Quality.GOOD
        if self._shape is JsonShape.OBJECT:
            return self._object(_mapping(message), received_ns, floor)
        if self._shape is JsonShape.SCALAR:
            return self._scalar(message, received_ns, floor, name)
        return self._samples(message, received_ns, floor)

    def _object(self, message: dict[str, Any], received_ns: int, floor: Quality) -> Decoded:
        t_source, floor = self._time(message, received_ns, floor)
        values, qualities = [], []
        for field in self._fields:
            value, quality = _reading(_member(message, field.path), field)
            values.append(value)
            qualities.append(int(max(floor, quality)))
        # as many members as are mapped, all of them found: nothing is left that could be unknown
        clear = self._flat and len(message) == len(self._known) and message.keys() == self._known.keys()
        unknown = () if clear else tuple(_unknown(message, self._known))[:_MAX_UNKNOWN]
        return Decoded(self.index, [t_source] * len(values), values, qualities, unknown)

    def _scalar(self, message: Any, received_ns: int, floor: Quality, name: str | None) -> Decoded:
        field = self._by_name.get(name or "")
        unknown: tuple[str, ...] = ()
        t_source, member = received_ns, message
        if self._value_path is not None:
            holder = _mapping(message)
            t_source, floor = self._time(holder, received_ns, floor)
            member = _member(holder, self._value_path)
            unknown = tuple(_unknown(holder, self._known))[:_MAX_UNKNOWN]
        else:
            floor = max(floor, Quality.RECEIPT_STAMPED)
        if field is None:
            return Decoded([], [], [], [], (str(name)[:64],))
        value, quality = _reading(member, field)
        return Decoded([field.index], [t_source], [value], [int(max(floor, quality))], unknown)

    def _samples(self, message: Any, received_ns: int, floor: Quality) -> Decoded:
        if self._samples_path is not None:
            message = _member(_mapping(message), self._samples_path)
        if not isinstance(message, list):
            kind = "missing" if message is _ABSENT else f"a JSON {type(message).__name__}"
            raise RejectedPayloadError(Rejection.NOT_SAMPLES, f"{kind} where an array is due")
        whole = Decoded([], [], [], [])
        unknown: dict[str, None] = {}
        rejected: list[RejectedPayloadError] = []
        for at, sample in enumerate(message):
            try:
                decoded = self._object(_mapping(sample), received_ns, floor)
            except RejectedPayloadError as error:
                if len(rejected) < _MAX_UNKNOWN:
                    rejected.append(RejectedPayloadError(error.reason, f"sample {at + 1}: {error.detail}"))
                continue
            whole.point.extend(decoded.point)
            whole.t_source.extend(decoded.t_source)
            whole.value.extend(decoded.value)
            whole.quality.extend(decoded.quality)
            unknown.update(dict.fromkeys(decoded.unknown))
        names = tuple(unknown)[:_MAX_UNKNOWN]
        return replace(whole, unknown=names, rejected=tuple(rejected))

    def _time(self, message: Mapping[str, Any], received_ns: int, floor: Quality) -> tuple[int, Quality]:
        member = None if self._time_path is None else _member(message, self._time_path)
        return self._stamped(member, received_ns, floor)

    def _stamped(self, member: Any, received_ns: int, floor: Quality) -> tuple[int, Quality]:
        if self._time_path is None:
            return received_ns, max(floor, Quality.RECEIPT_STAMPED)
        t_source = _time_ns(member, self._time_format)
        if not EARLIEST_NS <= t_source <= received_ns + MAX_AHEAD_NS:
            floor = max(floor, Quality.CLOCK_SUSPECT)
        return t_source, floor


def _path(field: str | None) -> tuple[str, ...] | None:
    return tuple(field.split(".")) if field else None


def _parsed(payload: bytes) -> Any:
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RejectedPayloadError(Rejection.NOT_JSON, str(error)) from None
    except RecursionError:
        raise RejectedPayloadError(Rejection.NOT_JSON, "nested too deeply") from None


def _mapping(message: Any) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise RejectedPayloadError(
            Rejection.NOT_OBJECT, f"a JSON {type(message).__name__} where an object is due"
        )
    return message


def _member(message: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    node: Any = message
    for name in path:
        if not isinstance(node, dict) or name not in node:
            return _ABSENT
        node = node[name]
    return node


def _reading(member: Any, field: _Field) -> tuple[float, Quality]:
    if member is _ABSENT or member is None:
        return math.nan, Quality.NOT_IMPLEMENTED
    if isinstance(member, bool) or not isinstance(member, int | float):
        return math.nan, Quality.NOT_A_NUMBER
    try:
        value = float(member) * field.scale + field.offset
    except OverflowError:
        return math.nan, Quality.NOT_A_NUMBER
    if not math.isfinite(value):
        return math.nan, Quality.NOT_A_NUMBER
    return value, Quality.GOOD if field.low <= value <= field.high else Quality.OUT_OF_RANGE


def _time_ns(member: Any, form: TimeFormat) -> int:
    if member is _ABSENT or member is None:
        raise RejectedPayloadError(Rejection.NO_TIME, "the member that holds the source time is missing")
    try:
        time_ns = _iso_ns(member) if form is TimeFormat.ISO8601 else _number_ns(member, _NS_PER[form])
    except (ValueError, OverflowError) as error:
        raise RejectedPayloadError(Rejection.BAD_TIME, f"{str(member)[:80]!r}: {error}") from None
    if time_ns not in _INT64:
        raise RejectedPayloadError(Rejection.BAD_TIME, f"{str(member)[:80]!r} is no time of this era")
    return time_ns


def _number_ns(member: Any, ns_per_unit: int) -> int:
    if isinstance(member, bool) or not isinstance(member, int | float):
        raise ValueError("not a number")
    if isinstance(member, int):
        return member * ns_per_unit
    whole = math.floor(member)
    return whole * ns_per_unit + round((member - whole) * ns_per_unit)


def _iso_ns(member: Any) -> int:
    if not isinstance(member, str):
        raise ValueError("not a text")
    moment = datetime.fromisoformat(member)
    if moment.tzinfo is None:
        raise ValueError("no time zone: end it with Z or an offset")
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1_000


def _remember(tree: dict[str, Any], path: tuple[str, ...]) -> None:
    for name in path:
        tree = tree.setdefault(name, {})


def _unknown(message: Mapping[str, Any], known: Mapping[str, Any], prefix: str = "") -> list[str]:
    names = []
    for name, member in message.items():
        below = known.get(name)
        if below is None:
            names.append(f"{prefix}{name}"[:64])
        elif below and isinstance(member, dict):
            names += _unknown(member, below, f"{prefix}{name}.")
    return names
