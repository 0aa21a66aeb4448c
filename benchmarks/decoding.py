"""Decoding of 50 values: Modbus registers and JSON, with range checks and qualities, against libraries."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial

from pymodbus.client import ModbusTcpClient

from adapters.modbus.codec import BlockDecoder, Slot
from adapters.mqtt.codec import PayloadDecoder
from adapters.mqtt.readings import Readings
from adapters.sparkplug import payload_pb2 as pb
from adapters.sparkplug.allowance import Allowance
from adapters.sparkplug.codec import parse
from adapters.sparkplug.node import EdgeNode
from adapters.sparkplug.outcome import Outcome
from adapters.sparkplug.plan import UnitPlan
from adapters.sparkplug.readings import Readings as MetricReadings
from adapters.sparkplug.readings import Rows
from adapters.sparkplug.topics import parse_topic
from benchmarks.harness import Benchmark, Contenders, Size, repeated
from simulators.load import packets
from telemetry.devices import Device, MqttAddress, Role
from telemetry.points import PointKey
from telemetry.profiles import DeviceProfile, RegisterType, WordOrder, parse_profile
from telemetry.site import SitePoint

VALUES = 50
_BATCH = 200
"""Frames or messages between two looks at the clock."""
_NOW_NS = 1_700_000_000_000_000_000


@contextmanager
def _registers(size: Size) -> Iterator[Contenders]:
    true = [1.5 * i for i in range(VALUES)]
    data = struct.pack(f">{VALUES}f", *true)
    words = list(struct.unpack(f">{2 * VALUES}H", data))
    slots = [Slot(2 * i, RegisterType.FLOAT32, low=0.0, high=1e6) for i in range(VALUES)]
    decoder = BlockDecoder(slots, WordOrder.BIG)
    kind = ModbusTcpClient.DATATYPE.FLOAT32

    def ours() -> int:
        for _ in range(_BATCH):
            decoder.decode(data)
        return _BATCH

    def baseline() -> int:
        for _ in range(_BATCH):
            ModbusTcpClient.convert_from_registers(words, kind)
        return _BATCH

    assert decoder.decode(data)[0].tolist() == ModbusTcpClient.convert_from_registers(words, kind) == true
    yield {
        "block decoder": partial(repeated, ours, size.seconds),
        "pymodbus convert_from_registers": partial(repeated, baseline, size.seconds),
    }


@cache
def _profile() -> DeviceProfile:
    names = [f"v{i}" for i in range(1, VALUES + 1)]
    lines = ['id = "load"', 'title = "Load"', 'source = "benchmark"']
    for name in names:
        lines += [f"[points.{name}]", f'title = "{name}"', 'unit = "1"', "low = 0.0", "high = 1e6"]
    lines += ["[json]", 'time_field = "ts"', "[json.fields]"]
    lines += [f'{name} = {{ field = "{name}" }}' for name in names]
    return parse_profile("\n".join(lines), "load.toml")


def json_points(device_id: str, topic: str) -> list[SitePoint]:
    """The points of a device that publishes as the load publisher does."""
    profile = _profile()
    device = Device(
        id=device_id,
        profile=profile.id,
        node="SHY",
        role=Role.INJECTION,
        mqtt=MqttAddress(broker="main", topic=topic),
    )
    return [
        SitePoint(index, PointKey(device.id, name, spec.unit.value), spec, device, profile)
        for index, (name, spec) in enumerate(profile.points.items())
    ]


@contextmanager
def _json(size: Size) -> Iterator[Contenders]:
    payload = packets.stamp(_NOW_NS // 1_000_000) + packets.Template.of("load", 1, VALUES, 1).tail
    points = json_points("load-1", "load/1")
    profile = points[0].profile
    assert profile.json_payload is not None
    decoder = PayloadDecoder(profile.json_payload, points)

    def ours() -> int:
        into = Readings()
        for _ in range(_BATCH):
            decoder.read(payload, _NOW_NS, into)
        into.columns()
        return _BATCH

    def parsed() -> list[float]:
        members = json.loads(payload)
        return [float(members[point.key.name]) for point in points]

    def baseline() -> int:
        for _ in range(_BATCH):
            parsed()
        return _BATCH

    assert decoder.decode(payload, _NOW_NS).value == parsed()
    yield {
        "payload decoder": partial(repeated, ours, size.seconds),
        "json.loads and float": partial(repeated, baseline, size.seconds),
    }


METRICS = 100
"""Metrics in one message of Sparkplug B."""
_MESSAGES = 256
"""One for each sequence number."""


def _birth() -> list[tuple[str, bytes]]:
    """Births of an edge node and of its device with metrics of type float."""
    ms = _NOW_NS // 1_000_000
    node, device = pb.Payload(timestamp=ms, seq=0), pb.Payload(timestamp=ms, seq=1)
    node.metrics.add(name="bdSeq", datatype=4, long_value=0)
    for i in range(METRICS):
        device.metrics.add(name=f"m{i}", alias=i + 1, datatype=9, float_value=0.0, timestamp=ms)
    return [
        ("spBv1.0/g/NBIRTH/e", node.SerializeToString()),
        ("spBv1.0/g/DBIRTH/e/d", device.SerializeToString()),
    ]


def _data() -> list[bytes]:
    payloads = []
    for seq in range(_MESSAGES):
        payload = pb.Payload(timestamp=_NOW_NS // 1_000_000, seq=(seq + 2) % _MESSAGES)
        for i in range(METRICS):
            payload.metrics.add(alias=i + 1, timestamp=_NOW_NS // 1_000_000 + seq, float_value=1.5 * i)
        payloads.append(payload.SerializeToString())
    return payloads


@contextmanager
def _sparkplug(size: Size) -> Iterator[Contenders]:
    rows = Rows(range(METRICS), [1.0] * METRICS, [0.0] * METRICS, [-1e9] * METRICS, [1e9] * METRICS)
    readings = MetricReadings(rows)
    plan: dict[str | None, UnitPlan] = {"d": UnitPlan("d", {f"m{i}": i for i in range(METRICS)})}
    node = EdgeNode(("g", "e"), plan, readings, reorder_s=2.0, birth_wait_s=3.0, allowance=Allowance(100_000))
    outcome = Outcome()
    payloads = _data()

    def receive(topic: str, payload: bytes) -> None:
        known = parse_topic(topic)
        if known is not None:
            node.receive(parse(known, payload, _NOW_NS), 0.0, outcome)

    def ours() -> int:
        for payload in payloads:
            receive("spBv1.0/g/DDATA/e/d", payload)
        found = readings.columns(_NOW_NS)
        if len(found) != _MESSAGES * METRICS or found.quality.any():
            raise RuntimeError(f"{len(found)} readings, {outcome.rejected}")
        return _MESSAGES * METRICS

    def baseline() -> int:
        for payload in payloads:
            message = pb.Payload.FromString(payload)
            [(m.alias, m.timestamp, m.float_value) for m in message.metrics]
        return _MESSAGES * METRICS

    for topic, payload in _birth():
        receive(topic, payload)
    readings.columns(_NOW_NS)
    yield {
        "edge node": partial(repeated, ours, size.seconds),
        "protobuf": partial(repeated, baseline, size.seconds),
    }


REGISTERS = Benchmark("modbus-decode", "Modbus answers with 50 float32 values decoded", "frame", _registers)
JSON = Benchmark("json-decode", "JSON messages with 50 values decoded", "message", _json)
SPARKPLUG = Benchmark(
    "sparkplug-decode",
    "Sparkplug B messages of 100 metrics taken in order, decoded and judged",
    "metric",
    _sparkplug,
    target_per_s=1_000_000,
    per_core=True,
    note="protobuf alone reads alias, time and value of each metric and checks nothing",
)
