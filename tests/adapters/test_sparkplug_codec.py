"""Payloads as the specification has them, and as broken publishers send them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sparkplug import certificate, codec, topics, values
from adapters.sparkplug import payload_pb2 as own
from adapters.sparkplug.allowance import Allowance
from adapters.sparkplug.codec import parse
from adapters.sparkplug.generate import generated
from adapters.sparkplug.node import EdgeNode
from adapters.sparkplug.outcome import Outcome
from adapters.sparkplug.plan import UnitPlan
from adapters.sparkplug.readings import Readings, Rows
from adapters.sparkplug.rejection import RejectedPayloadError, Rejection
from adapters.sparkplug.topics import parse_topic
from adapters.sparkplug.values import DataType
from simulators.devices.sparkplug import payload_pb2 as pb
from simulators.devices.sparkplug.payloads import DataType as SentType
from simulators.devices.sparkplug.payloads import decode_commands, encode
from telemetry.quality import Quality
from tests.adapters.sparkplug_messages import T0, metric, odd

NAN = math.nan


def read(message: bytes, datatype: int) -> tuple[float, Quality]:
    (found,) = own.Payload.FromString(message).metrics
    return values.number(found, datatype)


def test_the_generated_code_is_that_of_the_definition() -> None:
    for path, text in generated().items():
        assert path.read_text("utf-8") == text, f"run python -m adapters.sparkplug.generate: {path.name}"


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        (SentType.INT8, -128),
        (SentType.INT8, 127),
        (SentType.INT16, -32768),
        (SentType.INT32, -(1 << 31)),
        (SentType.INT32, -5),
        (SentType.INT64, -5),
        (SentType.INT64, -(1 << 63)),
        (SentType.INT64, (1 << 53)),
        (SentType.UINT8, 255),
        (SentType.UINT16, 65535),
        (SentType.UINT32, (1 << 32) - 1),
        (SentType.UINT64, (1 << 53)),
        (SentType.FLOAT, -1.5),
        (SentType.DOUBLE, 1e300),
        (SentType.BOOLEAN, True),
        (SentType.DATETIME, T0),
    ],
)
def test_every_numeric_type_is_read_with_its_sign(datatype: SentType, value: float) -> None:
    """tck-id-payloads-metric-datatype-value: integers below 0 travel as two's complement."""
    message = encode([metric(value, name="m", datatype=datatype)], T0, 0)
    assert read(message, datatype) == (value, Quality.GOOD)


@pytest.mark.parametrize(
    ("datatype", "field", "raw", "expected"),
    [
        (DataType.INT8, "int_value", 0xFB, -5.0),  # of the type's own width
        (DataType.INT8, "int_value", 0xFFFFFFFB, -5.0),  # of the field's
        (DataType.INT16, "int_value", 0xFFFB, -5.0),
        (DataType.INT32, "long_value", (1 << 64) - 5, -5.0),
        (DataType.UINT32, "long_value", 7, 7.0),
        (DataType.INT64, "int_value", 7, 7.0),
    ],
)
def test_integers_of_either_width_are_understood(
    datatype: int, field: str, raw: int, expected: float
) -> None:
    message = odd([pb.Metric(name="m", datatype=datatype, **{field: raw})])  # type: ignore[arg-type]
    assert read(message, datatype) == (expected, Quality.GOOD)


@pytest.mark.parametrize(
    "wrong",
    [
        {"datatype": 1, "int_value": 300},
        {"datatype": 5, "int_value": 256},
        {"datatype": 2, "int_value": 0x1FFFF},
        {"datatype": 3, "long_value": 1 << 40},
        {"datatype": 9, "double_value": 1.0},
        {"datatype": 9, "int_value": 1},
        {"datatype": 3, "float_value": 1.0},
        {"datatype": 11, "int_value": 1},
        {"datatype": 10, "string_value": "1"},
    ],
)
def test_a_value_that_contradicts_its_datatype_is_a_doubt(wrong: dict[str, object]) -> None:
    value, quality = read(odd([pb.Metric(name="m", **wrong)]), int(str(wrong["datatype"])))  # type: ignore[arg-type]
    assert math.isnan(value)
    assert quality is Quality.PROTOCOL_DOUBT


@pytest.mark.parametrize(
    ("claim", "quality"),
    [
        (pb.PropertyValue(type=3, int_value=0), Quality.DEVICE_BAD),
        (pb.PropertyValue(type=3, int_value=192), Quality.GOOD),
        (pb.PropertyValue(type=3, int_value=500), Quality.STALE),
        (pb.PropertyValue(type=3, int_value=7), Quality.DEVICE_UNCERTAIN),
        (pb.PropertyValue(type=4, long_value=192), Quality.DEVICE_UNCERTAIN),
        (pb.PropertyValue(type=3, is_null=True), Quality.DEVICE_UNCERTAIN),
        (None, Quality.DEVICE_UNCERTAIN),
    ],
)
def test_the_quality_property_counts(claim: pb.PropertyValue | None, quality: Quality) -> None:
    """tck-id-payloads-propertyset-quality-value-type, tck-id-payloads-propertyset-quality-value-value,
    tck-id-payloads-propertyset-keys-array-size, tck-id-payloads-propertyset-values-array-size."""
    properties = pb.PropertySet(keys=["Quality"], values=[claim] if claim is not None else [])
    message = odd([pb.Metric(name="m", datatype=9, float_value=1.5, properties=properties)])
    assert read(message, DataType.FLOAT) == (1.5, quality)


@pytest.mark.parametrize("beside", [None, 5.0])
def test_null_is_not_a_number_even_beside_a_value(beside: float | None) -> None:
    """tck-id-operational-behavior-data-publish-nbirth-values."""
    value, quality = read(
        odd([pb.Metric(name="m", datatype=9, is_null=True, float_value=beside)]), DataType.FLOAT
    )
    assert math.isnan(value)
    assert quality is Quality.NOT_IMPLEMENTED


@pytest.mark.parametrize(
    ("datatype", "why"),
    [
        (0, "no datatype"),
        (12, "text"),
        (14, "text"),
        (15, "text"),
        (16, "dataset"),
        (17, "bytes"),
        (18, "file"),
        (19, "template"),
        (20, "property set"),
        *((n, "array") for n in range(22, 35)),
        (35, "unknown datatype 35"),
        (4_000_000_000, "unknown datatype 4000000000"),
    ],
)
def test_what_cannot_become_a_reading_is_refused_by_name(datatype: int, why: str) -> None:
    (found,) = own.Payload.FromString(odd([pb.Metric(name="m", datatype=datatype)])).metrics
    assert values.refusal(found) == why


def test_topics_are_those_of_the_namespace() -> None:
    """tck-id-topic-structure, tck-id-topic-structure-namespace-a,
    tck-id-topic-structure-namespace-device-id-associated-message-types,
    tck-id-topic-structure-namespace-device-id-non-associated-message-types."""
    topic = parse_topic("spBv1.0/g 1/DDATA/e/d")
    assert topic is not None
    assert (topic.group, topic.verb, topic.edge, topic.device) == ("g 1", topics.Verb.DDATA, "e", "d")
    assert topic.text == "spBv1.0/g 1/DDATA/e/d"
    assert parse_topic("spBv1.0/g/NCMD/e") is None
    assert parse_topic("spBv1.0/g/DCMD/e/d") is None


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "spBv1.0/g/NBIRTH",
        "spBv1.0//NBIRTH/e",
        "spBv1.0/g/NBIRTH/e/d",
        "spBv1.0/g/DBIRTH/e",
        "spBv1.0/g/DDATA/e/",
        "spBv1.0/g/DDATA/e/d/x",
        "spBv1.0/g/NWHAT/e",
        "spAv1.0/g/NBIRTH/e",
    ],
)
def test_other_topics_are_refused(topic: str) -> None:
    with pytest.raises(RejectedPayloadError) as caught:
        parse_topic(topic)
    assert caught.value.reason is Rejection.BAD_TOPIC


@pytest.mark.parametrize(
    ("verb", "payload", "reason"),
    [
        ("NDATA", b"\xff\xff", "not_payload"),
        ("NDATA", b"{}", "not_payload"),
        ("NBIRTH", b"\x12\xff", "not_payload"),
        ("NDATA", b"", "bad_seq"),
        ("NDATA", odd([], seq=None), "bad_seq"),
        ("NDATA", odd([], seq=256), "bad_seq"),
        ("NBIRTH", odd([], seq=1 << 63), "bad_seq"),
    ],
)
def test_an_envelope_is_looked_at_again_after_protobuf(verb: str, payload: bytes, reason: str) -> None:
    """tck-id-payloads-sequence-num-always-included, tck-id-payloads-sequence-num-req-nbirth."""
    topic = parse_topic(f"spBv1.0/g/{verb}/e")
    assert topic is not None
    with pytest.raises(RejectedPayloadError) as caught:
        parse(topic, payload, T0 * 10**6)
    assert caught.value.reason == reason


def test_a_rebirth_request_is_what_edge_nodes_read() -> None:
    """tck-id-operational-behavior-data-commands-ncmd-rebirth-verb, -name and -value:
    tck-id-operational-behavior-data-commands-ncmd-rebirth-name,
    tck-id-operational-behavior-data-commands-ncmd-rebirth-value, tck-id-topics-ncmd-topic,
    tck-id-topics-ncmd-timestamp, tck-id-topics-ncmd-payload, tck-id-payloads-ncmd-timestamp,
    tck-id-payloads-ncmd-seq,
    tck-id-operational-behavior-data-commands-ncmd-verb,
    tck-id-operational-behavior-data-commands-ncmd-metric-name,
    tck-id-operational-behavior-data-commands-ncmd-metric-value."""
    request = codec.rebirth_request(T0)
    (command,) = decode_commands(request)
    assert (command.name, command.alias, command.value) == ("Node Control/Rebirth", None, True)
    sent = pb.Payload.FromString(request)
    assert (sent.timestamp, sent.HasField("seq")) == (T0, False)
    assert topics.command_topic("g", "e") == "spBv1.0/g/NCMD/e"


def test_a_state_is_json_with_two_members() -> None:
    """tck-id-host-topic-phid-birth-payload, tck-id-host-topic-phid-death-payload,
    tck-id-message-flow-phid-sparkplug-state-publish-payload, tck-id-payloads-state-birth-payload,
    tck-id-payloads-state-will-message-payload, tck-id-host-topic-phid-birth-topic,
    tck-id-host-topic-phid-death-topic."""
    assert certificate.state(True, T0) == b'{"online":true,"timestamp":%d}' % T0
    assert certificate.read_state(certificate.state(False, 7)) == certificate.HostState(False, 7)
    assert topics.state_topic("scada") == "spBv1.0/STATE/scada"
    for wrong in (b"", b"OFFLINE", b'{"online":1,"timestamp":1}', b'{"online":true}', b"[" * 100_000):
        with pytest.raises(RejectedPayloadError, match="bad_state"):
            certificate.read_state(wrong)


VERBS = [
    ("NBIRTH", None),
    ("DBIRTH", "a"),
    ("DDATA", "a"),
    ("NDATA", None),
    ("DDEATH", "a"),
    ("NDEATH", None),
]
WHOLE = [
    encode([metric(0, name="bdSeq", datatype=SentType.INT64), metric(1, name="V", alias=4)], T0, 0),
    encode(
        [metric(1, name="W", alias=1, unit="MW"), metric(-5, name="Q", alias=2, datatype=SentType.INT32)],
        T0,
        1,
    ),
    encode([metric(7, alias=1), metric(None, alias=2), metric(3, alias=1, historical=True)], T0, 2),
]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A sound payload with bytes changed, cut, repeated or put in."""
    data = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.integers(0, 3)):
            case 0 if data:
                data[at] = draw(st.integers(0, 255))
            case 1:
                del data[at:]
            case 2:
                data[at:at] = data[at : at + draw(st.integers(0, 40))]
            case _:
                data[at:at] = draw(st.binary(max_size=8))
    return bytes(data)


@given(st.lists(st.tuples(st.sampled_from(VERBS), st.binary(max_size=60) | damaged()), max_size=12))
def test_no_message_raises_anything_else_and_nothing_without_meaning_is_good(
    messages: list[tuple[tuple[str, str | None], bytes]],
) -> None:
    readings = Readings(Rows(range(3), [1.0] * 3, [0.0] * 3, [-1e6] * 3, [1e6] * 3))
    units = {"a": UnitPlan("a", {"W": 0, "Q": 1}), None: UnitPlan("n", {"V": 2})}
    allowance = Allowance(100_000)
    node = EdgeNode(("g", "e"), units, readings, reorder_s=2.0, birth_wait_s=3.0, allowance=allowance)
    outcome = Outcome()
    for at, ((verb, device), payload) in enumerate(messages):
        topic = parse_topic(f"spBv1.0/g/{verb}/e" + (f"/{device}" if device else ""))
        assert topic is not None
        try:
            message = parse(topic, payload, T0 * 10**6)
        except RejectedPayloadError:
            continue
        node.receive(message, float(at), outcome)
        node.expire(float(at), outcome)
        columns = readings.columns(T0 * 10**6)
        good = columns.quality < 128
        assert ((columns.value[good] >= -1e6) & (columns.value[good] <= 1e6)).all()
        assert node.held <= 128
