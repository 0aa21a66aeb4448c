"""From a message of the Sparkplug namespace to what it says, without any input or output.

Section numbers and ``tck-id-...`` names are those of the Sparkplug specification, version 3.0.0. What
protobuf accepts is checked again here: a damaged payload often still parses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import lru_cache

import msgspec
from google.protobuf.message import DecodeError

from adapters.sparkplug import payload_pb2 as pb
from telemetry.errors import GreenbridgeError
from telemetry.quality import Quality

NAMESPACE = "spBv1.0"
"""tck-id-topic-structure-namespace-a."""
STATE = "STATE"
BD_SEQ = "bdSeq"
REBIRTH = "Node Control/Rebirth"
LAST_SEQ = 255

_U32, _U64 = 1 << 32, 1 << 64
_CONTROL = ("Node Control/", "Device Control/")


class Rejection(StrEnum):
    """Why a message, or a part of it, cannot become readings; the label of a dead letter."""

    BAD_TOPIC = "bad_topic"
    RETAINED = "retained"
    TOO_MANY_NODES = "too_many_nodes"
    TOO_MANY_METRICS = "too_many_metrics"
    OVERSIZED = "oversized"
    NOT_PAYLOAD = "not_payload"
    BAD_SEQ = "bad_seq"
    BAD_DEATH = "bad_death"
    BAD_BIRTH = "bad_birth"
    NOT_BORN = "not_born"
    NO_NAME = "no_name"
    UNKNOWN_METRIC = "unknown_metric"
    BAD_STATE = "bad_state"


class RejectedPayloadError(GreenbridgeError):
    """A message that cannot be used; it is kept as a dead letter."""

    def __init__(self, reason: Rejection, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


class Verb(StrEnum):
    """Types of message of an edge node (4.2)."""

    NBIRTH = "NBIRTH"
    NDATA = "NDATA"
    NDEATH = "NDEATH"
    DBIRTH = "DBIRTH"
    DDATA = "DDATA"
    DDEATH = "DDEATH"


COMMANDS = frozenset({"NCMD", "DCMD"})
"""Messages to edge nodes: nothing for a host that only listens."""


class DataType(IntEnum):
    """Types of a metric's value (6.4.16)."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14
    UUID = 15
    DATASET = 16
    BYTES = 17
    FILE = 18
    TEMPLATE = 19
    PROPERTY_SET = 20
    PROPERTY_SET_LIST = 21
    INT8_ARRAY = 22
    INT16_ARRAY = 23
    INT32_ARRAY = 24
    INT64_ARRAY = 25
    UINT8_ARRAY = 26
    UINT16_ARRAY = 27
    UINT32_ARRAY = 28
    UINT64_ARRAY = 29
    FLOAT_ARRAY = 30
    DOUBLE_ARRAY = 31
    BOOLEAN_ARRAY = 32
    STRING_ARRAY = 33
    DATETIME_ARRAY = 34


_INTEGERS = {
    DataType.INT8: (8, True),
    DataType.INT16: (16, True),
    DataType.INT32: (32, True),
    DataType.INT64: (64, True),
    DataType.UINT8: (8, False),
    DataType.UINT16: (16, False),
    DataType.UINT32: (32, False),
    DataType.UINT64: (64, False),
    DataType.DATETIME: (64, False),
}
_FIELDS = {
    DataType.INT64: "long_value",
    DataType.UINT64: "long_value",
    DataType.DATETIME: "long_value",
    DataType.FLOAT: "float_value",
    DataType.DOUBLE: "double_value",
    DataType.BOOLEAN: "boolean_value",
} | dict.fromkeys(
    (DataType.INT8, DataType.INT16, DataType.INT32, DataType.UINT8, DataType.UINT16, DataType.UINT32),
    "int_value",
)
_QUALITY = {0: Quality.DEVICE_BAD, 192: Quality.GOOD, 500: Quality.STALE}


@dataclass(frozen=True, slots=True)
class Topic:
    """Where a message of an edge node comes from (4.1)."""

    group: str
    verb: Verb
    edge: str
    device: str | None

    @property
    def text(self) -> str:
        """As it is on the wire."""
        tail = "" if self.device is None else f"/{self.device}"
        return f"{NAMESPACE}/{self.group}/{self.verb.value}/{self.edge}{tail}"


class Message:
    """A message whose envelope is sound.

    Parameters
    ----------
    topic
        Where it comes from.
    seq
        0 to 255; -1 for an NDEATH, which has none (tck-id-topics-ndeath-seq).
    timestamp_ms
        When it was sent [ms since 1970, UTC]; 0 when it does not say.
    received_ns
        Wall time of receipt [ns, UTC].
    raw
        As it was received.
    body
        As protobuf reads it, in haste or in full.

    """

    __slots__ = ("_body", "raw", "received_ns", "seq", "timestamp_ms", "topic")

    def __init__(
        self,
        topic: Topic,
        seq: int,
        timestamp_ms: int,
        received_ns: int,
        *,
        raw: bytes,
        body: pb.Payload | pb.QuickPayload,
    ) -> None:
        self.topic = topic
        self.seq = seq
        self.timestamp_ms = timestamp_ms
        self.received_ns = received_ns
        self.raw = raw
        self._body = body

    @property
    def hasty(self) -> pb.QuickPayload:
        """A data message, read in haste."""
        body = self._body
        return body if isinstance(body, pb.QuickPayload) else pb.QuickPayload.FromString(self.raw)

    @property
    def metrics(self) -> Sequence[pb.Metric]:
        """The metrics with everything that they hold.

        Raises
        ------
        RejectedPayloadError
            What was read in haste holds something that is no protobuf.

        """
        body = self._body
        if isinstance(body, pb.QuickPayload):
            try:
                self._body = body = pb.Payload.FromString(self.raw)
            except DecodeError as error:
                raise RejectedPayloadError(Rejection.NOT_PAYLOAD, str(error)) from None
        return body.metrics


@dataclass(frozen=True, slots=True)
class Definition:
    """What a birth says of one metric."""

    name: str
    alias: int | None
    datatype: int
    unit: str
    """Engineering unit of the property ``engUnit``, empty without one."""
    transient: bool
    refused: str
    """Why its values cannot become readings; empty for a number."""

    @property
    def is_control(self) -> bool:
        """Something to be written to, or the protocol's own (5.14)."""
        return self.name == BD_SEQ or self.name.startswith(_CONTROL)


class HostState(msgspec.Struct, frozen=True):
    """State of a host application (4.3.1)."""

    online: bool
    timestamp: int
    """[ms since 1970, UTC]."""


@lru_cache(maxsize=65_536)
def parse_topic(topic: str) -> Topic | None:
    """The parts of a topic; None for a command to an edge node, which is nothing to a listener.

    Raises
    ------
    RejectedPayloadError
        It is not of the form of tck-id-topic-structure.

    """
    levels = topic.split("/")
    if len(levels) not in {4, 5} or levels[0] != NAMESPACE or not all(levels):
        raise RejectedPayloadError(Rejection.BAD_TOPIC, "not namespace/group/type/edge node/[device]")
    group, kind, edge = levels[1:4]
    device = levels[4] if len(levels) == 5 else None
    if kind in COMMANDS:
        return None
    try:
        verb = Verb(kind)
    except ValueError:
        raise RejectedPayloadError(Rejection.BAD_TOPIC, f"no type of message is called {kind}") from None
    if (device is None) is verb.value.startswith("D"):
        # tck-id-topic-structure-namespace-device-id-associated-message-types, -non-associated-
        wanted = "needs a device" if device is None else "names a device"
        raise RejectedPayloadError(Rejection.BAD_TOPIC, f"a {verb.value} {wanted}")
    return Topic(group, verb, edge, device)


def parse(topic: Topic, payload: bytes, received_ns: int) -> Message:
    """Reads the envelope of a message.

    Raises
    ------
    RejectedPayloadError
        It is no payload, or its sequence number is missing or above 255.

    """
    try:
        hasty = topic.verb in {Verb.NDATA, Verb.DDATA}
        body = (pb.QuickPayload if hasty else pb.Payload).FromString(payload)
    except DecodeError as error:
        raise RejectedPayloadError(Rejection.NOT_PAYLOAD, str(error)) from None
    seq = -1
    if topic.verb is not Verb.NDEATH:
        if not body.HasField("seq"):  # tck-id-payloads-sequence-num-always-included
            raise RejectedPayloadError(Rejection.BAD_SEQ, "no sequence number")
        seq = body.seq
        if seq > LAST_SEQ:
            raise RejectedPayloadError(Rejection.BAD_SEQ, f"a sequence number of {seq}; they end at 255")
    return Message(topic, seq, body.timestamp, received_ns, raw=payload, body=body)


def bd_seq(message: Message) -> int | None:
    """Birth-death sequence number of an NBIRTH or NDEATH; None without a valid one."""
    for metric in message.metrics:
        if text(metric) == BD_SEQ:
            field = metric.WhichOneof("value")
            if field in {"long_value", "int_value"} and not metric.is_null:
                value: int = getattr(metric, field)
                return value if value <= LAST_SEQ else None
    return None


def definitions(message: Message) -> Iterator[tuple[Definition, pb.Metric]]:
    """What a birth defines, with the metric that holds the value.

    A metric without a name is left out, a name that comes again too; the caller learns of them by counting.
    """
    seen: set[str] = set()
    for metric in message.metrics:
        name = text(metric)
        if not name or name in seen:
            continue
        seen.add(name)
        alias = metric.alias if metric.HasField("alias") else None
        unit = _unit(metric) if metric.HasField("properties") else ""
        yield Definition(name, alias, metric.datatype, unit, metric.is_transient, refusal(metric)), metric


def refusal(metric: pb.Metric) -> str:
    """Why a metric cannot become a reading, by its datatype; empty for a number."""
    try:
        datatype = DataType(metric.datatype)
    except ValueError:
        # tck-id-payloads-metric-datatype-value
        return f"unknown datatype {metric.datatype}" if metric.datatype else "no datatype"
    if datatype in _FIELDS:
        return ""
    if datatype >= DataType.INT8_ARRAY:
        return "array"
    if datatype in {DataType.STRING, DataType.TEXT, DataType.UUID}:
        return "text"
    return datatype.name.lower().replace("_", " ")


def quick(datatype: int) -> tuple[str, int, int]:
    """How a plain value of a datatype is read: (field, half, wrap); the field is empty for what is no number.

    An integer below ``half`` is as it stands; from there on ``wrap`` is taken off, or, if that is 0, it needs
    :func:`number`. A ``half`` of 0 stands for no such limit.
    """
    kind = DataType(datatype)
    field = _FIELDS.get(kind, "")
    if kind not in _INTEGERS:
        return field, 0, 0
    bits, has_sign = _INTEGERS[kind]
    if not has_sign:
        return field, (1 << bits if bits < 32 else 0), 0
    return field, 1 << (bits - 1), (1 << bits if bits >= 32 else 0)


def number(metric: pb.Metric, datatype: int) -> tuple[float, Quality]:
    """Value of a metric of a numeric datatype, with the quality that it gives itself (6.4.7).

    Negative integers travel as two's complement in unsigned fields, of the field's or of the type's own
    width; both are understood. A value of another kind than the datatype is a doubt, never a guess.
    """
    floor = _claimed(metric.properties) if metric.HasField("properties") else Quality.GOOD
    field = metric.WhichOneof("value")
    if metric.is_null or field is None:
        # tck-id-operational-behavior-data-publish-nbirth-values
        return math.nan, max(floor, Quality.NOT_IMPLEMENTED)
    if metric.datatype not in {0, datatype}:
        return math.nan, Quality.PROTOCOL_DOUBT
    kind = DataType(datatype)
    if kind in _INTEGERS:
        if field not in {"int_value", "long_value"}:
            return math.nan, Quality.PROTOCOL_DOUBT
        whole = signed(getattr(metric, field), kind, _U32 if field == "int_value" else _U64)
        return (math.nan, Quality.PROTOCOL_DOUBT) if whole is None else (float(whole), floor)
    if field != _FIELDS[kind]:
        return math.nan, Quality.PROTOCOL_DOUBT
    return float(getattr(metric, field)), floor


def signed(raw: int, kind: DataType, width: int = _U32) -> int | None:
    """An integer of a datatype from an unsigned field; None when the datatype has no such number.

    Parameters
    ----------
    raw
        What the field holds.
    kind
        An integer datatype.
    width
        2 to the power of the field's bits.

    """
    bits, has_sign = _INTEGERS[kind]
    limit = 1 << bits
    if not has_sign:
        return raw if raw < limit else None
    half = limit >> 1
    if raw < limit:
        return raw if raw < half else raw - limit
    return raw - width if raw >= width - half else None


def text(metric: pb.Metric) -> str:
    """Name of a metric; empty without one, or when it is not valid UTF-8."""
    try:
        name: str = metric.name
    except UnicodeDecodeError:
        return ""
    return name


def rebirth_request(now_ms: int) -> bytes:
    """Payload of an NCMD that asks for births.

    tck-id-operational-behavior-data-commands-ncmd-rebirth-name, -ncmd-rebirth-value.
    """
    payload = pb.Payload(timestamp=now_ms)  # tck-id-topics-ncmd-timestamp
    payload.metrics.add(name=REBIRTH, timestamp=now_ms, datatype=DataType.BOOLEAN, boolean_value=True)
    return payload.SerializeToString()


def state(online: bool, timestamp_ms: int) -> bytes:
    """Birth or death certificate of a host (tck-id-host-topic-phid-birth-payload, -death-payload)."""
    return msgspec.json.encode(HostState(online, timestamp_ms))


def read_state(payload: bytes) -> HostState:
    """Reads a birth or death certificate of a host.

    Raises
    ------
    RejectedPayloadError
        It is not JSON of that form.

    """
    try:
        return msgspec.json.decode(payload, type=HostState)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RejectedPayloadError(Rejection.BAD_STATE, str(error)) from None


def state_topic(host_id: str) -> str:
    """Topic of a host's certificates (tck-id-host-topic-phid-birth-topic)."""
    return f"{NAMESPACE}/{STATE}/{host_id}"


def command_topic(group: str, edge: str) -> str:
    """Topic of commands to an edge node (tck-id-topics-ncmd-topic)."""
    return f"{NAMESPACE}/{group}/NCMD/{edge}"


def _claimed(properties: pb.PropertySet) -> Quality:
    """Quality that a metric gives itself; uncertain when that cannot be read."""
    keys, values = _keys(properties), properties.values
    if len(keys) != len(values):  # tck-id-payloads-propertyset-keys-array-size
        return Quality.DEVICE_UNCERTAIN
    for key, value in zip(keys, values, strict=True):
        if key == "Quality":
            if value.is_null or value.WhichOneof("value") != "int_value":
                return Quality.DEVICE_UNCERTAIN
            # tck-id-payloads-propertyset-quality-value-value
            return _QUALITY.get(value.int_value, Quality.DEVICE_UNCERTAIN)
    return Quality.GOOD


def _unit(metric: pb.Metric) -> str:
    properties = metric.properties
    keys = _keys(properties)
    if len(keys) == len(properties.values):
        for key, value in zip(keys, properties.values, strict=True):
            if key == "engUnit" and value.WhichOneof("value") == "string_value":
                try:
                    return str(value.string_value)[:16]
                except UnicodeDecodeError:
                    return ""
    return ""


def _keys(properties: pb.PropertySet) -> list[str]:
    try:
        return list(properties.keys)
    except UnicodeDecodeError:
        return []
