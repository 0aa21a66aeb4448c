"""Every parser that reads what others send, as a function of bytes that raises nothing but what is a fault.

The errors by which a parser refuses its input are expected and end the function; so does a result. What a
result must hold in any case is asserted.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from adapters.modbus.codec import (
    DeviceRefusedError,
    Frame,
    MbapFramer,
    ProtocolDoubtError,
    Query,
    Request,
    verified,
)
from adapters.modbus.identification import IdentificationQuery, identification
from adapters.modbus.rtu import RtuFramer, checksum
from adapters.modbus.sunspec.chain import Chain, NotSunSpecError, survey
from adapters.mqtt.codec import PayloadDecoder, RejectedPayloadError
from adapters.mqtt.plan import plan_topics, resolved, template_faults
from adapters.sparkplug import certificate, rejection, topics
from adapters.sparkplug import codec as sparkplug
from adapters.sparkplug import payload_pb2 as pb
from adapters.sparkplug.allowance import Allowance
from adapters.sparkplug.node import EdgeNode
from adapters.sparkplug.outcome import Outcome
from adapters.sparkplug.plan import UnitPlan
from adapters.sparkplug.readings import Readings, Rows
from telemetry.devices import Device, MqttAddress, Role
from telemetry.points import PointKey
from telemetry.profiles import DeviceProfile, RegisterTable, parse_profile
from telemetry.quality import Quality
from telemetry.registry import PointRegistry
from telemetry.site import SitePoint, point_keys

NOW_NS = 1_795_000_000_000_000_000


@dataclass(frozen=True, slots=True)
class Target:
    """One parser."""

    name: str
    run: Callable[[bytes], None]
    """Parses; raises only what no input may cause."""
    seeds: tuple[bytes, ...]
    """Sound inputs, to begin from."""
    words: tuple[bytes, ...] = ()
    """What inputs are made of, for a generator that knows no grammar."""


def _pieces(data: bytes) -> Iterator[bytes]:
    """The first byte says in which pieces the rest arrives."""
    size = data[0] % 32 or len(data)
    for at in range(1, len(data), size):
        yield data[at : at + size]


def _framed(framer: MbapFramer | RtuFramer, pieces: Iterator[bytes], longest: int) -> None:
    """``longest`` is the largest frame [B]: of what is not a frame yet never more is kept."""
    for piece in pieces:
        framer.feed(piece)
        while (frame := framer.next_frame()) is not None:
            assert 2 <= len(frame.pdu) <= 253
        assert framer.pending <= longest


def _mbap(data: bytes) -> None:
    try:
        _framed(MbapFramer(), _pieces(data or b"\0"), 260)
    except ProtocolDoubtError:
        return


def _rtu(data: bytes) -> None:
    try:
        _framed(RtuFramer(), iter([data]), 256)
    except ProtocolDoubtError:
        return


def _rtu_over_tcp(data: bytes) -> None:
    try:
        _framed(RtuFramer(), _pieces(data or b"\0"), 256)
    except ProtocolDoubtError:
        return


QUERIES: tuple[Query, ...] = (
    Request(7, 1, RegisterTable.HOLDING, 100, 4),
    Request(7, 1, RegisterTable.INPUT, 0, 125),
    Request(7, 1, RegisterTable.COIL, 0, 11),
    Request(7, 1, RegisterTable.DISCRETE, 0, 2000),
    IdentificationQuery(7, 1),
)


def _reply(data: bytes) -> None:
    """Which question it should answer, then transaction, unit, function code and data."""
    data = data.ljust(6, b"\0")
    query = QUERIES[data[0] % len(QUERIES)]
    frame = Frame(int.from_bytes(data[1:3], "big"), data[3], data[4:257])
    try:
        content = verified(query, frame)
    except (ProtocolDoubtError, DeviceRefusedError):
        return
    assert (frame.transaction, frame.unit, frame.pdu[0]) == (7, 1, query.function)
    if isinstance(query, Request):
        assert len(content) == 2 * query.count


def _identification(data: bytes) -> None:
    """Replies, each behind a byte with its length."""
    walk, at = identification(1), 0
    query = next(walk)
    try:
        for _ in range(300):
            size = data[at] if at < len(data) else 0
            pdu = data[at + 1 : at + 1 + size]
            at += 1 + size
            try:
                query = walk.send(verified(query, Frame(None, 1, pdu.ljust(2, b"\0"))))
            except (ProtocolDoubtError, DeviceRefusedError):
                query = walk.send(None)
    except StopIteration as end:
        objects: dict[int, str] = end.value
    else:
        raise AssertionError("an identification without end")
    assert all(0 <= number <= 255 for number in objects)


def _sunspec(data: bytes) -> None:
    """What stands at each place that is asked for, four bytes a time."""
    walk, at = survey(), 0
    try:
        address, count = next(walk)
        while True:
            assert 0 <= address <= 0x10000 - count
            part = data[at : at + 2 * count]
            at += 2 * count
            address, count = walk.send(part if len(part) == 2 * count else None)
    except NotSunSpecError:
        return
    except StopIteration as end:
        found: Chain = end.value
    assert all(block.end <= 0x10000 for block in found.blocks)


def _site_points(profile: DeviceProfile, topic: str) -> list[SitePoint]:
    mqtt = MqttAddress(broker="b", topic=topic)
    device = Device(id="d", profile=profile.id, node="N", role=Role.INJECTION, mqtt=mqtt)
    registry = PointRegistry(point_keys([device], {profile.id: profile}))
    points = []
    for name, spec in profile.points.items():
        key = PointKey(device.id, name, spec.unit.value)
        points.append(SitePoint(registry.index(key), key, spec, device, profile))
    return points


def _profile(shape: str, time: str) -> DeviceProfile:
    text = f"""
id = "{shape}-{time}"
title = "t"
source = "benchmark"
period_s = 1.0
[points.P]
title = "t"
unit = "MW"
low = -1000
high = 1000
[points.E]
title = "t"
unit = "MWh"
[json]
shape = "{shape}"
time_field = "t.at"
time_format = "{time}"
{'value_field = "v"' if shape == "scalar" else ""}
{'samples_field = "s"' if shape == "samples" else ""}
[json.fields]
P = {{ field = "p", unit = "kW" }}
E = {{ field = "{"e" if shape == "scalar" else "m.e"}", scale = 0.001 }}
"""
    return parse_profile(text, f"{shape}.toml")


_SHAPES = [
    _profile(shape, form)
    for shape in ("object", "scalar", "samples")
    for form in ("ms", "ns", "iso8601", "s")
]
_DECODERS = [
    PayloadDecoder(made.json_payload, _site_points(made, "t/d")) for made in _SHAPES if made.json_payload
]


def _json(data: bytes) -> None:
    """Which shape and form of time, then the payload."""
    choice = data[0] if data else 0
    decoder = _DECODERS[choice % len(_DECODERS)]
    try:
        made = decoder.decode(data[1:], NOW_NS, retained=choice > 200, name="p" if choice % 2 else "e")
    except RejectedPayloadError:
        return
    assert len(made.point) == len(made.t_source) == len(made.value) == len(made.quality)
    for value, quality in zip(made.value, made.quality, strict=True):
        assert math.isfinite(value) or quality != Quality.GOOD
    assert all(-(1 << 63) <= t < 1 << 63 for t in made.t_source)


_TEMPLATED = plan_topics(_site_points(_SHAPES[4], "a/{point}/c"))
_DEVICE = Device(id="d", profile="p", node="N", role=Role.INJECTION, mqtt=MqttAddress(broker="b", topic="t"))


def _topic(data: bytes) -> None:
    """A topic that arrives, and a template that somebody wrote."""
    text = data.decode("utf-8", "replace")
    with suppress(RejectedPayloadError):
        assert _TEMPLATED.route(text).plan.device == "d"
    try:
        topic = topics.parse_topic.__wrapped__(text)
    except rejection.RejectedPayloadError:
        topic = None
    assert topic is None or topic.text == text
    for shape in (None, _SHAPES[0].json_payload, _SHAPES[4].json_payload):
        for reason, fix in template_faults(text, None if shape is None else shape.shape):
            assert reason or fix
    assert "{site}" not in resolved(text, _DEVICE, "area")


def _metric(name: str, alias: int, datatype: int, field: str, value: float) -> pb.Metric:
    made = pb.Metric(name=name, alias=alias, datatype=datatype, timestamp=NOW_NS // 1_000_000)
    setattr(made, field, value)
    return made


def _payload(seq: int, *metrics: pb.Metric) -> bytes:
    made = pb.Payload(timestamp=NOW_NS // 1_000_000, seq=seq, metrics=metrics)
    return bytes(made.SerializeToString())


_BIRTH = _payload(0, _metric("bdSeq", 0, 4, "long_value", 1), _metric("V", 1, 9, "float_value", 1.5))
_DEVICE_BIRTH = _payload(1, _metric("W", 2, 3, "int_value", 5), _metric("Q", 3, 10, "double_value", 2.5))
_BIRTHS = (
    sparkplug.parse(topics.Topic("g", topics.Verb.NBIRTH, "e", None), _BIRTH, NOW_NS),
    sparkplug.parse(topics.Topic("g", topics.Verb.DBIRTH, "e", "a"), _DEVICE_BIRTH, NOW_NS),
)
_ROWS = Rows(range(3), [1.0] * 3, [0.0] * 3, [-1e9] * 3, [1e9] * 3)
_UNITS = {"a": UnitPlan("dev-a", {"W": 0, "Q": 1}), None: UnitPlan("dev-node", {"V": 2})}
_VERBS = (
    (topics.Verb.NDATA, None),
    (topics.Verb.DDATA, "a"),
    (topics.Verb.DBIRTH, "a"),
    (topics.Verb.NBIRTH, None),
    (topics.Verb.NDEATH, None),
    (topics.Verb.DDEATH, "a"),
)


def _sparkplug(data: bytes) -> None:
    """What kind of message it is, then the payload: read after births, twice, and until it is given up."""
    readings, outcome = Readings(_ROWS), Outcome()
    allowance = Allowance(100_000)
    node = EdgeNode(("g", "e"), _UNITS, readings, reorder_s=2.0, birth_wait_s=3.0, allowance=allowance)
    verb, device = _VERBS[(data[0] if data else 0) % len(_VERBS)]
    fuzzed = topics.Topic("g", verb, "e", device)
    try:
        message = sparkplug.parse(fuzzed, data[1:], NOW_NS)
    except rejection.RejectedPayloadError:
        return
    for one in (*_BIRTHS, message, message):
        node.receive(one, 0.0, outcome)
    node.expire(10.0, outcome)
    columns = readings.columns(NOW_NS)
    good = columns.quality == Quality.GOOD
    assert all(map(math.isfinite, columns.value[good].tolist()))


def _state(data: bytes) -> None:
    with suppress(rejection.RejectedPayloadError):
        certificate.read_state(data)


def _mbap_frame(pdu: bytes) -> bytes:
    return struct.pack(">HHHB", 7, 0, 1 + len(pdu), 1) + pdu


def _rtu_frame(pdu: bytes) -> bytes:
    return b"\1" + pdu + checksum(b"\1" + pdu)


_DATA = bytes((3, 8, *range(8)))
_EXCEPTION = bytes((0x83, 2))
_OBJECTS = bytes((43, 14, 1, 1, 0, 0, 2, 0, 3)) + b"ACM" + bytes((1, 2)) + b"X1"
_CHAIN = b"SunS" + struct.pack(">HH", 1, 66) + struct.pack(">HH", 103, 50) + struct.pack(">HH", 0xFFFF, 0)
_FRAMES = (_DATA, _EXCEPTION, _OBJECTS)


def _sized(pdus: Sequence[bytes]) -> bytes:
    return b"".join(bytes((len(pdu),)) + pdu for pdu in pdus)


def _object(time: object) -> bytes:
    return json.dumps({"p": 1500.5, "m": {"e": 12}, "t": {"at": time}}).encode()


TARGETS = {
    target.name: target
    for target in (
        Target("mbap", _mbap, tuple(b"\0" + 2 * _mbap_frame(pdu) for pdu in _FRAMES)),
        Target("rtu", _rtu, tuple(2 * _rtu_frame(pdu) for pdu in _FRAMES)),
        Target("rtu-over-tcp", _rtu_over_tcp, tuple(b"\5" + 2 * _rtu_frame(pdu) for pdu in _FRAMES)),
        Target(
            "reply",
            _reply,
            (
                b"\0\0\7\1" + _DATA,
                b"\0\0\7\1" + _EXCEPTION,
                b"\1\0\7\1\4\xfa" + bytes(250),
                b"\2\0\7\1\1\2\xff\7",
                b"\4\0\7\1" + _OBJECTS,
            ),
        ),
        Target(
            "identification",
            _identification,
            (_sized([_OBJECTS]), _sized([_OBJECTS[:4] + b"\xff\1" + _OBJECTS[6:]])),
        ),
        Target("sunspec-chain", _sunspec, (_CHAIN, b"\0" * 4 + _CHAIN)),
        Target(
            "json",
            _json,
            (
                b"\0" + _object(1_795_000_000_000),
                b"\2" + _object("2026-11-24T10:00:00.5Z"),
                b"\4" + b'{"v": 12.5, "t": {"at": 1795000000000}}',
                b"\5-17.25",
                b"\x08" + b'{"s": [' + _object(1_795_000_000_000) + b", " + _object(None) + b"]}",
            ),
            (
                b"{",
                b"}",
                b"[",
                b"]",
                b'"p":',
                b"null",
                b"1e999",
                b"NaN",
                b'"t":{"at":',
                b"9223372036854775808",
                b"\\ud800",
            ),
        ),
        Target(
            "topic",
            _topic,
            (b"a/p/c", b"spBv1.0/g/DDATA/e/d", b"spBv1.0/g/NBIRTH/e", b"{area}/{site}/{device}/{point}"),
            (b"/", b"{", b"}", b"+", b"#", b"{point}", b"spBv1.0/", b"NDATA", b"STATE", b"\xff"),
        ),
        Target(
            "sparkplug",
            _sparkplug,
            (
                b"\0" + _payload(2, _metric("V", 1, 9, "float_value", 2.5)),
                b"\1"
                + _payload(2, _metric("", 2, 3, "int_value", 6), _metric("", 3, 10, "double_value", 1e300)),
                b"\2" + _payload(2, _metric("W", 9, 3, "int_value", 1 << 31)),
                b"\3" + _BIRTH,
                b"\4"
                + bytes(pb.Payload(metrics=[_metric("bdSeq", 0, 4, "long_value", 1)]).SerializeToString()),
                b"\5" + _payload(9),
            ),
        ),
        Target(
            "sparkplug-state", _state, (certificate.state(True, NOW_NS // 1_000_000),), (b"null", b"{", b"[")
        ),
    )
}
"""By name."""
