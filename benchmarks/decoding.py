"""Decoding of 50 values: Modbus registers and JSON, with range checks and qualities, against libraries."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from pymodbus.client import ModbusTcpClient

from adapters.modbus.codec import BlockDecoder, Slot
from adapters.mqtt.codec import PayloadDecoder
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


def _profile() -> DeviceProfile:
    names = [f"v{i}" for i in range(1, VALUES + 1)]
    lines = ['id = "load"', 'title = "Load"', 'source = "benchmark"']
    for name in names:
        lines += [f"[points.{name}]", f'title = "{name}"', 'unit = "1"', "low = 0.0", "high = 1e6"]
    lines += ["[json]", 'time_field = "ts"', "[json.fields]"]
    lines += [f'{name} = {{ field = "{name}" }}' for name in names]
    return parse_profile("\n".join(lines), "load.toml")


@contextmanager
def _json(size: Size) -> Iterator[Contenders]:
    payload = packets.stamp(_NOW_NS // 1_000_000) + packets.Template.of("load", 1, VALUES, 1).tail
    profile = _profile()
    assert profile.json_payload is not None
    device = Device(
        id="load-1",
        profile=profile.id,
        node="SHY",
        role=Role.INJECTION,
        mqtt=MqttAddress(broker="main", topic="load/1"),
    )
    points = [
        SitePoint(index, PointKey(device.id, name, spec.unit.value), spec, device, profile)
        for index, (name, spec) in enumerate(profile.points.items())
    ]
    decoder = PayloadDecoder(profile.json_payload, points)

    def ours() -> int:
        for _ in range(_BATCH):
            decoder.decode(payload, _NOW_NS)
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


REGISTERS = Benchmark("modbus-decode", "Modbus answers with 50 float32 values decoded", "frame", _registers)
JSON = Benchmark("json-decode", "JSON messages with 50 values decoded", "message", _json)
