"""From a JSON payload to values and qualities, without any input or output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import msgspec

from telemetry.errors import GreenbridgeError
from telemetry.profiles import JsonMap, TimeFormat
from telemetry.quality import Quality
from telemetry.site import SitePoint

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
    """The readings of one message, one for each point of the device."""

    t_source: int
    """Wall time of the measurement [ns, UTC]."""
    value: list[float]
    """Values [unit of the point]; NaN where not known."""
    quality: list[int]
    """Quality codes."""
    unknown: tuple[str, ...]
    """Members of the payload that no point is mapped to, at most 20; empty for most messages."""


@dataclass(frozen=True, slots=True)
class _Field:
    path: tuple[str, ...]
    scale: float
    offset: float
    low: float
    high: float


class PayloadDecoder:
    """Decodes the payloads of one device; ``index`` holds the registry index of each value, in order."""

    def __init__(self, payload: JsonMap, points: Sequence[SitePoint]) -> None:
        self.index = [point.index for point in points]
        self._fields = []
        self._known: dict[str, Any] = {}
        for point in points:
            mapping = payload.fields[point.key.name]
            path = tuple(mapping.field.split("."))
            self._fields.append(_Field(path, mapping.scale, mapping.offset, point.spec.low, point.spec.high))
            _remember(self._known, path)
        self._time_path = tuple(payload.time_field.split(".")) if payload.time_field else None
        self._time_format = payload.time_format
        if self._time_path:
            _remember(self._known, self._time_path)

    def decode(self, payload: bytes, received_ns: int, *, retained: bool = False) -> Decoded:
        """Values and qualities of a payload that was received at a wall time [ns, UTC].

        A missing or null member is NaN and not implemented; anything else that is not a finite number is NaN
        and not a number; a value out of range is kept and marked. A retained message is never good.

        Raises
        ------
        RejectedPayloadError
            It is not a JSON object, or its source time is missing or cannot be read.

        """
        message = _object(payload)
        floor = Quality.RETAINED if retained else Quality.GOOD
        if self._time_path is None:
            t_source = received_ns
            floor = max(floor, Quality.RECEIPT_STAMPED)
        else:
            t_source = _time_ns(_member(message, self._time_path), self._time_format)
            if not EARLIEST_NS <= t_source <= received_ns + MAX_AHEAD_NS:
                floor = max(floor, Quality.CLOCK_SUSPECT)
        values, qualities = [], []
        for field in self._fields:
            value, quality = _reading(_member(message, field.path), field)
            values.append(value)
            qualities.append(int(max(floor, quality)))
        return Decoded(t_source, values, qualities, tuple(_unknown(message, self._known))[:_MAX_UNKNOWN])


def _object(payload: bytes) -> dict[str, Any]:
    try:
        message = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RejectedPayloadError(Rejection.NOT_JSON, str(error)) from None
    except RecursionError:
        raise RejectedPayloadError(Rejection.NOT_JSON, "nested too deeply") from None
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
