"""What births make a host remember is bounded, whoever sends them; and points come and go meanwhile."""

from __future__ import annotations

import pytest

from adapters.sparkplug.allowance import Allowance, weight
from adapters.sparkplug.directory import Directory, Entry
from adapters.sparkplug.plan import UnitPlan
from adapters.sparkplug.readings import Rows
from adapters.sparkplug.rejection import Rejection
from simulators.devices.sparkplug import payload_pb2 as pb
from simulators.devices.sparkplug.payloads import DataType, Metric, encode
from telemetry.quality import Quality
from tests.adapters.sparkplug_messages import T0, View, bd, metric, odd


def test_a_birth_weighs_its_metrics_and_at_least_its_bytes() -> None:
    assert [weight(0, 0), weight(5, 200), weight(1, 1_048_576)] == [1, 5, 4096]


def test_strangers_share_what_is_left_and_what_is_configured_leaves_them() -> None:
    shared = Allowance(10)
    one, two = Allowance(8, shared), Allowance(8, shared)
    assert one.exceeded(9) == "9 metrics where 8 may be remembered"
    assert not one.exceeded(8)
    assert "of all edge nodes that are not configured" in two.exceeded(3)
    assert (two.used, shared.used) == (0, 8)
    one.leave()
    assert not two.exceeded(3)
    one.give_back(8)
    two.give_back(3)
    assert (one.used, two.used, shared.used) == (0, 0, 0)


@pytest.mark.parametrize(
    "metrics",
    [
        [metric(1, name=f"m{i}") for i in range(30)],
        [metric(1, name="m" * 256 * 30)],
    ],
    ids=["many", "one with a long name"],
)
def test_a_device_birth_beyond_the_limit_is_a_dead_letter_and_its_neighbours_are_read_on(
    metrics: list[Metric],
) -> None:
    view = View(most=20)
    view.born()
    view.hear("DBIRTH", encode(metrics, T0 + 1, 3), "a")
    ((message, rejected),) = view.outcome.rejected
    assert (message.topic.device, rejected.reason) == ("a", Rejection.TOO_MANY_METRICS)
    assert {row for row, _, _, quality in view.all if quality == Quality.STALE} == {0, 1}
    assert view.data(4, metric(9, alias=3, t=T0 + 7), device="b") == [(2, T0 + 7, 9.0, 0)]
    view.hear("DBIRTH", encode([metric(1, name="W", alias=1)], T0 + 2, 5), "a")
    assert len(view.outcome.rejected) == 1, "what was refused takes nothing of the allowance"


def test_a_node_birth_beyond_the_limit_ends_the_session_before_it() -> None:
    """100,001 empty metrics are 200 kB on the wire; once they ended the whole link."""
    view = View()
    view.born()
    view.hear("NBIRTH", odd([pb.Metric()] * 100_001, seq=0, t=T0 + 1))
    ((_, rejected),) = view.outcome.rejected
    assert rejected.reason is Rejection.TOO_MANY_METRICS
    assert not view.node.online
    assert {quality for _, _, _, quality in view.latest().values()} == {int(Quality.STALE)}
    view.now_ms += 10
    view.born(1, t=T0 + 10)
    assert view.node.online


def test_births_again_and_again_take_no_more_than_one() -> None:
    view = View(most=20)
    for number in range(50):
        view.born(number % 256)
        view.hear("NDEATH", odd([pb.Metric(name="bdSeq", datatype=4, long_value=number % 256)], seq=None))
    assert not view.outcome.rejected
    assert view.allowance.used == 0


def test_the_directory_forgets_the_birth_that_is_longest_ago() -> None:
    directory = Directory(10)
    for name, size in (("a", 4), ("b", 4), ("a", 4), ("c", 4)):
        directory.born(("g", name), None, Entry(weight=size))
    assert [key for key, _, _ in directory.entries()] == [("g", "a"), ("g", "c")]
    directory.born(("g", "large"), None, Entry(weight=11))
    assert len(directory) == 1


def test_points_come_and_go_while_the_node_stays_born_and_no_message_is_missed() -> None:
    view = View()
    view.born()
    view.hear("DBIRTH", encode([metric(1, name="N", alias=9), metric(3, name="W", alias=3)], T0, 3), "b")
    view.all.clear()
    # device "a" loses Q, its W is read as row 3 now; "b" has N besides; the node's own V is not read any more
    view.node.configure({"a": UnitPlan("dev-a", {"W": 3}), "b": UnitPlan("dev-b", {"W": 2, "N": 0})})
    assert view.node.online
    assert view.data(4, metric(7, alias=1, t=T0 + 1), metric(8, alias=2, t=T0 + 1)) == [(3, T0 + 1, 7.0, 0)]
    assert view.data(5, metric(9, alias=9, t=T0 + 2), metric(1, alias=3, t=T0 + 2), device="b") == [
        (0, T0 + 2, 9.0, 0),
        (2, T0 + 2, 1.0, 0),
    ]
    assert view.hear("NDATA", encode([metric(231, alias=4, t=T0 + 3)], T0 + 3, 6)) == []
    assert not view.outcome.rejected
    assert not view.wanted
    assert view.node.devices == {"dev-a", "dev-b"}


def test_what_is_no_number_becomes_none_by_being_configured() -> None:
    view = View()
    text = metric("on", name="Text", alias=5, datatype=DataType.STRING)
    view.hear("NBIRTH", encode([bd(0), text], T0, 0))
    view.node.configure({None: UnitPlan("dev-node", {"Text": 3})})
    assert view.hear("NDATA", encode([metric("off", alias=5, datatype=DataType.STRING)], T0 + 1, 1)) == []


def test_rows_keep_what_was_said_of_points_that_stay() -> None:
    before = Rows([7, 8, 9], [1.0] * 3, [0.0] * 3, [0.0] * 3, [1.0] * 3)
    before.newest[:] = [1, 2, 3]
    before.floor[:] = [4, 5, 6]
    after = Rows([9, 5, 7], [1.0] * 3, [0.0] * 3, [0.0] * 3, [1.0] * 3)
    after.carry(before)
    assert (after.newest.tolist(), after.floor.tolist()) == ([3, 0, 1], [6, 0, 4])
