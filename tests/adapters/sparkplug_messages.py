"""Messages as edge nodes write them, by the encoder of the simulators, and a host's view of one edge node."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from adapters.sparkplug.allowance import Allowance
from adapters.sparkplug.codec import parse
from adapters.sparkplug.node import EdgeNode
from adapters.sparkplug.outcome import Outcome
from adapters.sparkplug.plan import UnitPlan
from adapters.sparkplug.readings import Readings, Rows
from adapters.sparkplug.topics import parse_topic
from simulators.devices.sparkplug import payload_pb2 as pb
from simulators.devices.sparkplug.payloads import DataType, Metric, Quality, encode

T0 = 1_795_000_000_000
"""[ms]"""
BAD, GOOD, STALE = Quality.BAD, Quality.GOOD, Quality.STALE
Reading = tuple[int, int, float, int]
"""Row, time [ms], value, quality code."""


def metric(
    value: float | bool | str | None = 0.0,
    *,
    name: str | None = None,
    alias: int | None = None,
    t: int = T0,
    datatype: DataType = DataType.FLOAT,
    quality: Quality = Quality.GOOD,
    historical: bool = False,
    unit: str = "",
) -> Metric:
    if datatype in {DataType.FLOAT, DataType.DOUBLE} and value is not None:
        value = float(value)
    return Metric(datatype, value, t, name, alias, quality, historical, False, unit)


def bd(number: int) -> Metric:
    return metric(number, name="bdSeq", datatype=DataType.INT64)


def odd(metrics: Iterable[pb.Metric], seq: int | None = 0, t: int | None = T0) -> bytes:
    """A payload that an edge node in order does not write."""
    return bytes(pb.Payload(timestamp=t, seq=seq, metrics=list(metrics)).SerializeToString())


class View:
    """One edge node "e" of group "g". Rows: W and Q of device "a" 0 and 1, W of "b" 2, V of the node 3."""

    def __init__(
        self, *, low: float = -1e9, high: float = 1e9, scale: float = 1.0, most: int = 100_000
    ) -> None:
        rows = Rows(range(4), [scale] * 4, [0.0] * 4, [low] * 4, [high] * 4)
        self.readings = Readings(rows)
        units: Mapping[str | None, UnitPlan] = {
            "a": UnitPlan("dev-a", {"W": 0, "Q": 1}),
            "b": UnitPlan("dev-b", {"W": 2}),
            None: UnitPlan("dev-node", {"V": 3}),
        }
        self.allowance = Allowance(most)
        self.node = EdgeNode(
            ("g", "e"), units, self.readings, reorder_s=2.0, birth_wait_s=3.0, allowance=self.allowance
        )
        self.outcome = Outcome()
        self.now_ms = T0
        self.all: list[Reading] = []

    def hear(self, verb: str, payload: bytes, device: str | None = None) -> list[Reading]:
        """Readings that follow from a message."""
        topic = parse_topic(f"spBv1.0/g/{verb}/e" + (f"/{device}" if device else ""))
        assert topic is not None
        message = parse(topic, payload, self.now_ms * 1_000_000)
        self.node.receive(message, self.now_ms / 1000, self.outcome)
        return self.new()

    @property
    def wanted(self) -> str:
        """Why births are wanted."""
        return self.outcome.rebirth

    def new(self) -> list[Reading]:
        columns = self.readings.columns(self.now_ms * 1_000_000)
        rows = zip(
            columns.point.tolist(),
            (columns.t_source // 1_000_000).tolist(),
            columns.value.tolist(),
            columns.quality.tolist(),
            strict=True,
        )
        found = [(r, t, v, q) for r, t, v, q in rows]
        self.all += found
        return found

    def born(self, number: int = 0, *, t: int = T0, seq: int = 0) -> None:
        """Births of the node and of both devices; W of "a" has alias 1, Q 2, W of "b" 3, V 4."""
        self.hear("NBIRTH", encode([bd(number), metric(230, name="V", alias=4, t=t)], t, seq))
        power = [metric(1, name="W", alias=1, t=t), metric(2, name="Q", alias=2, t=t)]
        self.hear("DBIRTH", encode(power, t, (seq + 1) % 256), "a")
        self.hear("DBIRTH", encode([metric(3, name="W", alias=3, t=t)], t, (seq + 2) % 256), "b")

    def data(self, seq: int, *metrics: Metric, device: str = "a", t: int | None = None) -> list[Reading]:
        sent = self.now_ms if t is None else t
        return self.hear("DDATA", encode(metrics, sent, seq), device)

    def expire(self) -> list[Reading]:
        self.node.expire(self.now_ms / 1000, self.outcome)
        return self.new()

    def latest(self) -> dict[int, Reading]:
        """Of each row the newest reading by source time, as a store and the console have it."""
        newest: dict[int, Reading] = {}
        for reading in self.all:
            if reading[0] not in newest or reading[1] >= newest[reading[0]][1]:
                newest[reading[0]] = reading
        return newest


def same(found: Reading, expected: Reading) -> bool:
    """Equal, NaN too."""
    unknown = math.isnan(found[2]) and math.isnan(expected[2])
    return found == expected or (unknown and found[:2] + found[3:] == expected[:2] + expected[3:])
