"""From a message of the Sparkplug namespace to what it says, without any input or output.

Section numbers and ``tck-id-...`` names are those of the Sparkplug specification, version 3.0.0. What
protobuf accepts is checked again here: a damaged payload often still parses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from adapters.sparkplug import payload_pb2 as pb
from adapters.sparkplug.rejection import RejectedPayloadError, Rejection
from adapters.sparkplug.topics import Topic, Verb
from adapters.sparkplug.values import DataType, property_keys, refusal

BD_SEQ = "bdSeq"
REBIRTH = "Node Control/Rebirth"
LAST_SEQ = 255

_CONTROL = ("Node Control/", "Device Control/")


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


def _unit(metric: pb.Metric) -> str:
    properties = metric.properties
    keys = property_keys(properties)
    if len(keys) == len(properties.values):
        for key, value in zip(keys, properties.values, strict=True):
            if key == "engUnit" and value.WhichOneof("value") == "string_value":
                try:
                    return str(value.string_value)[:16]
                except UnicodeDecodeError:
                    return ""
    return ""
