"""An edge node as the host sees it: births, order, deaths."""

from __future__ import annotations

import math

import pytest

from adapters.sparkplug.rejection import Rejection
from simulators.devices.sparkplug import payload_pb2 as pb
from simulators.devices.sparkplug.payloads import DataType, encode
from telemetry.quality import Quality
from tests.adapters.sparkplug_messages import BAD, STALE, T0, View, bd, metric, odd, same

NAN = math.nan
DOUBT = int(Quality.PROTOCOL_DOUBT)
SUSPECT = int(Quality.CLOCK_SUSPECT)


@pytest.fixture
def view() -> View:
    return View()


def test_births_define_and_state_the_current_values(view: View) -> None:
    """tck-id-topics-nbirth-metrics, tck-id-topics-dbirth-metrics, tck-id-topics-nbirth-metric-reqs,
    tck-id-payloads-alias-birth-requirement."""
    view.born()
    assert view.all == [(3, T0, 230.0, 0), (0, T0, 1.0, 0), (1, T0, 2.0, 0), (2, T0, 3.0, 0)]
    assert view.node.online
    assert [device for device, _ in view.outcome.born] == [None, "a", "b"]
    entry = view.outcome.born[1][1]
    assert entry.values == {"W": 1.0, "Q": 2.0}
    assert (set(entry.mapped), entry.device) == ({"W", "Q"}, "dev-a")


def test_data_are_read_by_alias_in_the_devices_own_set(view: View) -> None:
    """tck-id-payloads-alias-data-cmd-requirement, tck-id-payloads-alias-uniqueness."""
    view.born()
    assert view.data(3, metric(7, alias=1, t=T0 + 5), metric(8, alias=2, t=T0 + 6)) == [
        (0, T0 + 5, 7.0, 0),
        (1, T0 + 6, 8.0, 0),
    ]
    assert view.data(4, metric(9, alias=3, t=T0 + 7), device="b") == [(2, T0 + 7, 9.0, 0)]
    assert view.data(5, metric(9, alias=3, t=T0 + 8)) == [], "the alias belongs to another device"
    assert view.outcome.rejected[-1][1].detail == "alias 3 that no birth of it has"
    assert view.outcome.rebirth == "a metric that no birth has"


def test_data_are_read_by_name_too(view: View) -> None:
    """tck-id-payloads-name-requirement."""
    view.born()
    named = pb.Metric(name="W", timestamp=T0 + 1, float_value=5)
    assert view.hear("DDATA", odd([named], seq=3), "a") == [(0, T0 + 1, 5.0, 0)]
    contradiction = pb.Metric(name="W", alias=2, timestamp=T0 + 2, float_value=5)
    assert view.hear("DDATA", odd([contradiction], seq=4), "a") == []
    nothing = pb.Metric(timestamp=T0 + 2, float_value=5)
    assert view.hear("DDATA", odd([nothing], seq=5), "a") == []
    details = [rejected.detail for _, rejected in view.outcome.rejected]
    assert details == ['metric "W" with the alias of another', "a metric with neither name nor alias"]


def test_of_a_message_that_is_damaged_inside_nothing_is_taken(view: View) -> None:
    view.born()
    sound = odd([pb.Metric(alias=1, timestamp=T0 + 5, float_value=7)], seq=3)
    # a metric whose properties are a string cut short: what is read in haste does not look into them
    damaged = pb.Metric(alias=2, timestamp=T0 + 5, float_value=8).SerializeToString() + b"\x4a\x03\x0a\x09x"
    broken = sound + b"\x12" + bytes([len(damaged)]) + damaged
    assert view.hear("DDATA", broken, "a") == []
    ((_, rejected),) = view.outcome.rejected
    assert rejected.reason is Rejection.NOT_PAYLOAD
    assert view.outcome.rebirth == "a message that cannot be read"
    assert view.data(4, metric(9, alias=1, t=T0 + 6)) == [(0, T0 + 6, 9.0, 0)], "the number counts"


def test_alias_zero_is_not_taken_for_no_alias(view: View) -> None:
    view.hear("NBIRTH", encode([bd(0)], T0, 0))
    view.hear("DBIRTH", encode([metric(1, name="W", alias=0), metric(2, name="Q")], T0, 1), "a")
    found = view.hear("DDATA", odd([pb.Metric(name="Q", timestamp=T0 + 1, float_value=4)], seq=2), "a")
    assert found == [(1, T0 + 1, 4.0, 0)]
    assert view.data(3, metric(5, alias=0, t=T0 + 2)) == [(0, T0 + 2, 5.0, 0)]


@pytest.mark.parametrize(
    ("datatype", "value"),
    [(DataType.INT32, -7), (DataType.INT64, -7), (DataType.INT8, -7), (DataType.UINT64, 7)],
)
def test_flows_are_negative(view: View, datatype: DataType, value: int) -> None:
    view.hear("NBIRTH", encode([bd(0)], T0, 0))
    view.hear("DBIRTH", encode([metric(0, name="W", alias=1, datatype=datatype)], T0, 1), "a")
    assert view.data(2, metric(value, alias=1, t=T0 + 1, datatype=datatype)) == [(0, T0 + 1, float(value), 0)]


def test_an_alias_used_twice_stands_for_nothing(view: View) -> None:
    """tck-id-payloads-alias-uniqueness: over the node and all its devices."""
    view.hear("NBIRTH", encode([bd(0)], T0, 0))
    view.hear("DBIRTH", encode([metric(1, name="W", alias=1)], T0, 1), "a")
    view.hear("DBIRTH", encode([metric(1, name="W", alias=1)], T0, 2), "b")
    assert view.data(3, metric(9, alias=1)) == view.data(4, metric(9, alias=1), device="b") == []
    assert view.outcome.counts["ambiguous_aliases"] == 1
    view.hear("DBIRTH", encode([metric(1, name="W", alias=2)], T0, 5), "b")
    assert view.data(6, metric(9, alias=2, t=T0 + 9), device="b") == [(2, T0 + 9, 9.0, 0)]


def test_what_needs_care_is_taken_with_care(view: View) -> None:
    view.born()
    assert view.data(3, metric(9, alias=1, t=T0 + 1, historical=True)) == [(0, T0 + 1, 9.0, 0)]
    assert view.data(4, metric(9, alias=1, t=T0 + 2, quality=BAD)) == [(0, T0 + 2, 9.0, Quality.DEVICE_BAD)]
    (null,) = view.data(5, metric(None, alias=1, t=T0 + 3, quality=STALE))
    assert same(null, (0, T0 + 3, NAN, Quality.NOT_IMPLEMENTED))
    (nan,) = view.hear("DDATA", odd([pb.Metric(alias=1, timestamp=T0 + 4, float_value=NAN)], seq=6), "a")
    assert same(nan, (0, T0 + 4, NAN, Quality.NOT_A_NUMBER))
    (other,) = view.hear("DDATA", odd([pb.Metric(alias=1, timestamp=T0 + 5, int_value=4)], seq=7), "a")
    assert same(other, (0, T0 + 5, NAN, DOUBT))
    (contrary,) = view.hear(
        "DDATA", odd([pb.Metric(alias=1, timestamp=T0 + 6, datatype=10, float_value=4)], seq=8), "a"
    )
    assert same(contrary, (0, T0 + 6, NAN, DOUBT))


@pytest.mark.parametrize(
    ("stamp", "expected", "quality"),
    [
        (None, T0, 0),  # the payload's own
        (1, 1, SUSPECT),
        (T0 + 3_600_001, T0 + 3_600_001, SUSPECT),
        ((1 << 64) - 1, T0, SUSPECT),
    ],
)
def test_absurd_times_are_told(view: View, stamp: int | None, expected: int, quality: int) -> None:
    """tck-id-payloads-name-birth-data-requirement, tck-id-payloads-timestamp-in-UTC,
    tck-id-payloads-metric-timestamp-in-UTC."""
    view.born(t=T0 - 10)
    found = view.hear("DDATA", odd([pb.Metric(alias=1, timestamp=stamp, float_value=4)], seq=3), "a")
    assert found == [(0, expected, 4.0, quality)]


def test_without_any_time_a_reading_is_stamped_at_receipt(view: View) -> None:
    view.born(t=T0 - 10)
    found = view.hear("DDATA", odd([pb.Metric(alias=1, float_value=4)], seq=3, t=None), "a")
    assert found == [(0, T0, 4.0, Quality.RECEIPT_STAMPED)]


def test_values_are_scaled_and_out_of_range_is_told() -> None:
    view = View(low=0, high=10, scale=1e-3)
    view.born()
    found = view.data(3, metric(9000, alias=1, t=T0 + 1), metric(11000, alias=2, t=T0 + 1))
    assert found == [(0, T0 + 1, 9.0, 0), (1, T0 + 1, 11.0, Quality.OUT_OF_RANGE)]


@pytest.mark.parametrize("datatype", [12, 16, 19, 22, 99])
def test_a_mapped_metric_that_is_no_number_is_refused_clearly(view: View, datatype: int) -> None:
    refused = pb.Metric(name="W", alias=1, datatype=datatype, string_value="x", timestamp=T0)
    view.hear("NBIRTH", encode([bd(0)], T0, 0))
    (found,) = view.hear("DBIRTH", odd([refused], seq=1), "a")
    assert same(found, (0, T0, NAN, Quality.NOT_A_NUMBER))
    assert view.outcome.counts["mapped_but_refused"] == 1
    assert view.outcome.born[1][1].definitions[0].refused
    assert view.hear("DDATA", odd([pb.Metric(alias=1, string_value="y")], seq=2), "a") == []
    assert view.outcome.rejected == []


# ------------------------------------------------------------------ order


def test_the_order_is_kept_round_the_end_of_the_numbers(view: View) -> None:
    """tck-id-payloads-sequence-num-incrementing, tck-id-topics-ddata-seq-num."""
    view.born(seq=250)
    for n in range(253, 520):
        assert view.data(n % 256, metric(n, alias=1, t=T0 + n)) == [(0, T0 + n, float(n), 0)]
    assert view.node.held == 0
    assert "out_of_order" not in view.outcome.counts


def test_what_comes_out_of_turn_is_stored_as_a_doubt_and_proven_in_time(view: View) -> None:
    """tck-id-operational-behavior-host-reordering-start,
    tck-id-operational-behavior-host-reordering-success."""
    view.born()
    assert view.data(5, metric(5, alias=1, t=T0 + 5)) == [(0, T0 + 5, 5.0, DOUBT)]
    assert view.node.deadline_s == pytest.approx(T0 / 1000 + 2)
    view.now_ms += 500
    assert view.data(4, metric(4, alias=1, t=T0 + 4)) == [(0, T0 + 4, 4.0, DOUBT)]
    view.now_ms += 500
    assert view.data(3, metric(3, alias=1, t=T0 + 3)) == [
        (0, T0 + 3, 3.0, 0),
        (0, T0 + 4, 4.0, 0),
        (0, T0 + 5, 5.0, 0),
    ]
    assert view.node.held == 0
    assert view.node.ordered
    view.now_ms += 60_000
    view.expire()
    assert not view.outcome.rebirth, "the timer has ended with the gap"


def test_a_name_needs_no_proof(view: View) -> None:
    view.born()
    named = odd([pb.Metric(name="W", timestamp=T0 + 5, float_value=5)], seq=4)
    assert view.hear("DDATA", named, "a") == [(0, T0 + 5, 5.0, 0)]
    assert view.data(3, metric(3, alias=2, t=T0 + 3)) == [(1, T0 + 3, 3.0, 0)], "and is not stored twice"


def test_what_stays_missing_leads_to_a_request_for_births(view: View) -> None:
    """tck-id-operational-behavior-host-reordering-rebirth,
    tck-id-operational-behavior-host-reordering-param."""
    view.born()
    view.data(5, metric(5, alias=1, t=T0 + 5))
    view.now_ms += 1_999
    assert view.expire() == []
    assert view.wanted == ""
    view.now_ms += 1
    assert view.expire() == []
    assert view.wanted == "messages are missing"
    assert not view.node.ordered
    assert view.data(6, metric(6, alias=1, t=T0 + 6)) == [(0, T0 + 6, 6.0, DOUBT)], "until the births"
    view.born(t=view.now_ms)
    assert view.data(3, metric(7, alias=1, t=view.now_ms + 1))[0][3] == 0
    assert view.latest()[0][2:] == (7.0, 0)


def test_an_alias_that_a_lost_birth_gave_away_is_never_good(view: View) -> None:
    """Promise 3: between the old births and the new ones an alias may change its meaning."""
    view.born()
    view.data(1, metric(99, alias=2, t=T0 + 50))  # of a new session, whose NBIRTH is late: alias 2 is W now
    assert [q for *_, v, q in view.all if v == 99] == [DOUBT]
    view.hear("NBIRTH", encode([bd(1)], T0 + 60, 0))
    assert view.outcome.counts["superseded"] == 1, "sent before the birth: of the old session"
    view.hear("DBIRTH", encode([metric(1, name="W", alias=2, t=T0 + 60)], T0 + 60, 1), "a")
    assert view.data(2, metric(98, alias=2, t=T0 + 70)) == [(0, T0 + 70, 98.0, 0)]


def test_a_devices_birth_may_overtake_that_of_its_node(view: View) -> None:
    """tck-id-message-flow-device-birth-publish-nbirth-wait holds for the edge node, not for the network."""
    view.hear("DBIRTH", encode([metric(1, name="W", alias=1)], T0, 1), "a")
    assert view.data(2, metric(2, alias=1, t=T0 + 1)) == []
    assert view.all == []
    view.hear("NBIRTH", encode([bd(0)], T0, 0))
    assert view.all == [(0, T0, 1.0, 0), (0, T0 + 1, 2.0, 0)]
    assert view.outcome.rejected == []
    assert not view.outcome.rebirth


def test_data_before_any_birth_are_dead_letters_and_births_are_asked_for(view: View) -> None:
    view.data(7, metric(1, alias=1))
    view.now_ms += 2_000
    assert view.expire() == []
    assert view.outcome.rebirth
    assert [rejected.reason for _, rejected in view.outcome.rejected] == ["not_born"]
    view.born(t=view.now_ms)
    assert view.data(3, metric(1, alias=7), device="c") == [], "a device without a birth"
    assert view.outcome.rejected[-1][1].reason == "not_born"


def test_a_message_that_comes_twice_counts_once(view: View) -> None:
    view.born()
    view.data(3, metric(3, alias=1, t=T0 + 3))
    assert view.data(3, metric(3, alias=1, t=T0 + 3)) == []
    assert view.outcome.counts["duplicates"] == 1
    assert view.node.held == 0


def test_the_buffer_is_bounded(view: View) -> None:
    view.born()
    for n in range(4, 133):
        view.data(n, metric(n, alias=1, t=T0 + n))
        assert view.node.held <= 128
    assert view.outcome.rebirth == "too much is out of order"
    assert view.node.held == 0
    stored = {v for row, _, v, q in view.all if row == 0 and q == DOUBT}
    assert stored == set(range(4, 133)), "every one of them is stored"


# ------------------------------------------------------------------ deaths


def test_a_node_dies_with_its_devices_at_the_hosts_time(view: View) -> None:
    """tck-id-operational-behavior-edge-node-termination-host-action-ndeath-node-offline,
    tck-id-operational-behavior-edge-node-termination-host-action-ndeath-node-tags-stale,
    tck-id-operational-behavior-edge-node-termination-host-action-ndeath-devices-offline,
    tck-id-operational-behavior-edge-node-termination-host-action-ndeath-devices-tags-stale,
    tck-id-payloads-ndeath-bdseq, tck-id-topics-ndeath-payload, tck-id-topics-ndeath-seq."""
    view.born(7)
    view.now_ms += 10_000
    found = view.hear("NDEATH", encode([bd(7)], T0, None))
    assert sorted(row for row, *_ in found) == [0, 1, 2, 3]
    assert {(t, q) for _, t, _, q in found} == {(T0 + 10_000, int(Quality.STALE))}
    assert all(math.isnan(v) for *_, v, _ in found)
    assert not view.node.online
    assert view.hear("NDEATH", encode([bd(7)], T0, None)) == [], "a death that comes twice"


@pytest.mark.parametrize("number", [6, 8])
def test_the_death_of_another_session_is_ignored(view: View, number: int) -> None:
    """tck-id-topics-nbirth-bdseq-matching, tck-id-payloads-nbirth-bdseq."""
    view.born(7)
    assert view.hear("NDEATH", encode([bd(number)], T0, None)) == []
    assert view.node.online
    assert view.outcome.counts["deaths_ignored"] == 1


def test_a_death_that_cannot_be_placed_is_a_dead_letter_and_asks(view: View) -> None:
    view.born(7)
    for payload in (
        odd([], seq=None),
        encode([metric(256, name="bdSeq", datatype=DataType.INT64)], T0, None),
    ):
        view.hear("NDEATH", payload)
    assert [rejected.reason for _, rejected in view.outcome.rejected] == ["bad_death"] * 2
    assert view.node.online
    assert view.outcome.rebirth


def test_a_device_dies_at_the_time_of_the_payload(view: View) -> None:
    """tck-id-operational-behavior-edge-node-termination-host-action-ddeath-devices-offline,
    tck-id-operational-behavior-edge-node-termination-host-action-ddeath-devices-tags-stale,
    tck-id-payloads-ddeath-timestamp, tck-id-topics-ddeath-seq-num."""
    view.born()
    view.now_ms += 10_000
    found = view.hear("DDEATH", encode([], T0 + 4_000, 3), "a")
    assert {(row, t, q) for row, t, _, q in found} == {(r, T0 + 4_000, int(Quality.STALE)) for r in (0, 1)}
    assert view.data(4, metric(5, alias=1)) == [], "it needs a birth first"
    assert view.data(5, metric(5, alias=3, t=T0 + 9_000), device="b") == [(2, T0 + 9_000, 5.0, 0)]


def test_a_death_out_of_turn_is_believed_at_once(view: View) -> None:
    view.born()
    found = view.hear("DDEATH", encode([], T0 + 100, 4), "a")
    assert {(row, q) for row, _, _, q in found} == {(0, int(Quality.STALE)), (1, int(Quality.STALE))}
    view.data(3, metric(5, alias=1, t=T0 + 50))
    assert view.latest()[0][3] == Quality.STALE
    assert (0, T0 + 50, 5.0, 0) in view.all


def test_a_value_that_did_not_change_is_current_again_after_a_birth(view: View) -> None:
    """tck-id-operational-behavior-data-publish-dbirth-values: a birth states what is current."""
    view.born()
    view.now_ms += 10_000
    view.hear("DDEATH", encode([], view.now_ms, 3), "a")
    view.now_ms += 10_000
    view.hear("DBIRTH", encode([metric(1, name="W", alias=1, t=T0)], view.now_ms, 4), "a")
    assert view.latest()[0] == (0, view.now_ms, 1.0, 0)
    assert (0, T0, 1.0, 0) in view.all, "and its own time is kept"


def test_a_clock_that_is_behind_does_not_leave_a_point_stale(view: View) -> None:
    """The mark has the host's time, the births have the edge node's: 5 s behind."""
    view.born(t=T0 - 5_000)
    view.now_ms += 1_000
    view.hear("NDEATH", encode([bd(0)], T0, None))
    mark_ms = view.now_ms
    view.now_ms += 1_000
    view.born(1, t=view.now_ms - 5_000)
    view.data(3, metric(6, alias=1, t=view.now_ms - 4_900))
    assert view.latest()[0] == (0, mark_ms + 2, 6.0, SUSPECT)
    late = mark_ms + 10
    assert view.data(4, metric(7, alias=1, t=late)) == [(0, late, 7.0, 0)], "from there on its own time holds"


def test_what_was_kept_for_later_does_not_wake_a_dead_point(view: View) -> None:
    """Readings with is_historical tell of then."""
    view.born()
    view.now_ms += 10_000
    view.hear("DDEATH", encode([], view.now_ms, 3), "a")
    view.hear("DBIRTH", encode([metric(None, name="W", alias=1, t=view.now_ms + 5)], view.now_ms + 5, 4), "a")
    assert view.data(5, metric(4, alias=1, t=T0 + 4_000, historical=True)) == [(0, T0 + 4_000, 4.0, 0)]
    assert view.latest()[0][3] == Quality.NOT_IMPLEMENTED


def test_a_device_that_its_node_is_born_without_is_named(view: View) -> None:
    view.hear("NBIRTH", encode([bd(0), metric(230, name="V", alias=4)], T0, 0))
    view.hear("DBIRTH", encode([metric(1, name="W", alias=1)], T0, 1), "a")
    assert view.node.deadline_s == pytest.approx(T0 / 1000 + 3)
    view.now_ms += 3_000
    view.expire()
    assert view.outcome.unborn == ["b"]
    view.node.mark_unborn(view.outcome.unborn, view.now_ms * 10**6)
    assert [(row, q) for row, _, _, q in view.new()] == [(2, int(Quality.STALE))]


def test_a_birth_ends_the_session_before_it(view: View) -> None:
    """tck-id-operational-behavior-data-commands-rebirth-action-3: the same bdSeq, new births."""
    view.born(3)
    view.born(3, t=T0 + 1_000)
    assert view.data(3, metric(5, alias=1, t=T0 + 2_000)) == [(0, T0 + 2_000, 5.0, 0)]
    view.hear("NBIRTH", encode([bd(3)], T0 + 3_000, 0))
    assert view.data(1, metric(5, alias=1)) == [], "aliases of devices end with the node's birth"


def test_a_birth_without_its_number_counts_any_death_as_its_own(view: View) -> None:
    """tck-id-topics-nbirth-bdseq-included is broken: rather stale than wrongly alive."""
    view.hear("NBIRTH", encode([metric(230, name="V", alias=4)], T0, 0))
    assert view.outcome.counts["births_without_bdseq"] == 1
    assert len(view.hear("NDEATH", encode([bd(9)], T0, None))) == 4


def test_data_of_a_device_that_were_never_understood_are_kept_when_a_new_birth_supersedes_them() -> None:
    view = View()
    view.hear("NBIRTH", encode([bd(0)], T0, 0))
    view.data(2, metric(5, alias=1))  # the device's birth, 1, is missing
    view.now_ms += 100
    view.hear("NBIRTH", encode([bd(0)], view.now_ms, 0))
    assert [rejected.reason for _, rejected in view.outcome.rejected] == [Rejection.NOT_BORN]
    assert view.outcome.counts["superseded"] == 1
