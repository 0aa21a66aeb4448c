"""The parts of the host application that stand alone: order, requests, plan, directory."""

from __future__ import annotations

import json

import pytest

from adapters.sparkplug.codec import Definition
from adapters.sparkplug.directory import Directory, Entry
from adapters.sparkplug.plan import plan_host
from adapters.sparkplug.rebirth import Rebirths
from adapters.sparkplug.sequence import LIMIT, Sequence
from adapters.sparkplug.values import DataType
from telemetry.devices import Device, MqttAddress, Role, SparkplugAddress
from telemetry.errors import ConfigError
from telemetry.points import PointKey
from telemetry.profiles import DeviceProfile, parse_profile
from telemetry.quality import Quality
from telemetry.site import SitePoint
from tests.adapters.sparkplug_messages import T0, View

PROFILE = """
id = "inverter"
title = "Inverter"
source = "test"
[points.W]
title = "power"
unit = "MW"
low = -1.0
[points.TmpCab]
title = "temperature"
unit = "degC"
[sparkplug.metrics]
W = { metric = "AC/W", unit = "kW" }
TmpCab = { metric = "Tmp", scale = 0.1, offset = -40.0 }
"""


def points(*places: tuple[str, str, str | None]) -> list[SitePoint]:
    """Points of devices given as (id, edge node, Sparkplug device)."""
    profile: DeviceProfile = parse_profile(PROFILE, "inverter.toml")
    made: list[SitePoint] = []
    for name, edge, device in places:
        address = SparkplugAddress(host="main", group="g", edge=edge, device=device)
        owner = Device(id=name, profile="inverter", node="SHY", role=Role.UNIT, sparkplug=address)
        for point, spec in profile.points.items():
            made.append(
                SitePoint(10 + len(made), PointKey(name, point, spec.unit.value), spec, owner, profile)
            )
    return made


def test_the_plan_knows_every_metric_by_its_place() -> None:
    plan = plan_host(points(("i1", "e", "d1"), ("i2", "e", "d2"), ("n", "f", None)))
    assert set(plan.nodes) == {("g", "e"), ("g", "f")}
    assert plan.nodes["g", "e"]["d2"].rows == {"AC/W": 2, "Tmp": 3}
    assert plan.nodes["g", "f"][None].device == "n"
    assert plan.rows.index.tolist() == [10, 11, 12, 13, 14, 15]
    assert plan.rows.scale.tolist() == [1e-3, 0.1] * 3
    assert plan.rows.offset.tolist() == [0, -40] * 3
    assert plan.rows.low.tolist()[:1] == [-1]


def test_two_devices_at_one_place_are_refused() -> None:
    with pytest.raises(ConfigError, match="i1 has the same group, edge node and device"):
        plan_host(points(("i1", "e", "d"), ("i2", "e", "d")))


def test_a_device_of_another_protocol_is_refused() -> None:
    (first, *_) = points(("i1", "e", "d"))
    changed = first.device.model_copy(update={"sparkplug": None, "mqtt": MqttAddress(broker="b", topic="t")})
    with pytest.raises(ConfigError, match="not a Sparkplug device"):
        plan_host([SitePoint(0, first.key, first.spec, changed, first.profile)])


def test_requests_grow_rarer_and_never_come_as_a_storm() -> None:
    rebirths: Rebirths[str] = Rebirths(first_s=10, max_s=40, per_s=2)
    rebirths.want("a", 100.0)
    assert rebirths.due(100.0) == ["a"]
    for now, expected in (
        (105, []),
        (110, ["a"]),
        (129, []),
        (130, ["a"]),
        (170, ["a"]),
        (209, []),
        (210, ["a"]),
    ):
        rebirths.want("a", now)
        assert rebirths.due(now) == expected, now
    rebirths.born("a")
    rebirths.want("a", 211.0)
    assert rebirths.due(211.0) == [], "births that did not help do not lift the pause"
    rebirths.born("a")
    rebirths.want("a", 251.0)
    assert rebirths.due(251.0) == ["a"]
    rebirths.want("a", 261.0)
    assert rebirths.due(261.0) == ["a"], "after a quiet time it begins anew"
    rebirths.forget()
    for n in range(10):
        rebirths.want(f"n{n}", 1000.0)
    asked = [len(rebirths.due(1000.0 + at / 10)) for at in range(45)]
    assert max(asked) <= 3
    assert sum(asked) == 10
    assert rebirths.next_s() is not None


def test_the_reorder_buffer_is_bounded_and_gives_back_what_is_superseded() -> None:
    order: Sequence[int] = Sequence(2.0)
    order.begin(254, lambda _: True)
    assert order.take(255)
    assert not order.take(1)
    assert order.hold(2, 2, 10.0)
    assert order.hold(1, 1, 11.0)
    assert not order.hold(1, 1, 11.0), "a number that waits already"
    waits = [order.deadline_s]
    assert list(order.ready()) == []
    assert order.take(0)
    assert list(order.ready()) == [1, 2]
    assert [*waits, order.deadline_s] == [12.0, None]
    for n in range(LIMIT):
        assert order.hold((n + 100) % 256, n, 20.0)
    assert not order.hold(99, 99, 20.0)
    assert order.begin(99, lambda item: item >= 100) == list(range(100))
    assert sorted(order.drain()) == list(range(100, LIMIT))


def definition(name: str, **more: object) -> Definition:
    values: dict[str, object] = {"alias": 1, "datatype": int(DataType.FLOAT), "unit": "kW"}
    values |= {"transient": False, "refused": ""} | more
    return Definition(name, **values)  # type: ignore[arg-type]


def test_the_directory_says_what_is_a_point_and_what_could_be_one() -> None:
    """tck-id-topics-nbirth-metric-reqs, tck-id-topics-dbirth-metric-reqs: a birth names every metric."""
    directory = Directory(1000)
    metrics = [
        definition("W"),
        definition("Q"),
        definition("Wave", datatype=30, refused="array"),
        definition("Now", transient=True),
        definition("Node Control/Rebirth", datatype=11),
        definition("bdSeq", datatype=4),
        definition("odd", datatype=99, refused="unknown datatype 99"),
    ]
    entry = Entry(metrics, {"W": 1.5, "Q": float("nan")}, frozenset({"W"}), "dev", 7)
    directory.born(("g", "e"), "d", entry)
    version = directory.version
    directory.born(("g", "e"), "d", Entry(metrics, {}, frozenset({"W"}), "dev", 8))
    assert directory.version == version, "births that say nothing new are not news"
    (device,) = json.loads(json.dumps(directory.document(), allow_nan=False))["devices"]
    assert (device["group"], device["edge"], device["device"], device["configured_as"]) == (
        "g",
        "e",
        "d",
        "dev",
    )
    assert [(m["name"], m["state"], m["refused"]) for m in device["metrics"]] == [
        ("W", "mapped", ""),
        ("Q", "proposed", ""),
        ("Wave", "refused", "array"),
        ("Now", "refused", "transient"),
        ("odd", "refused", "unknown datatype 99"),
    ]


def test_a_mark_in_a_future_that_was_taken_back_holds_nothing_off() -> None:
    view = View()
    view.readings.mark([0], T0 + 3_600_000, Quality.STALE, T0 * 1_000_000)
    view.readings._rows.step_back(T0)
    view.readings.put(0, T0 + 5, 7.0, 0)
    assert view.new()[-1] == (0, T0 + 5, 7.0, 0)
