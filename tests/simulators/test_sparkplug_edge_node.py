from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.devices.sparkplug.edge_node import Action, Disconnect, EdgeNode, Ignored, Publish
from simulators.devices.sparkplug.history import Sample
from simulators.devices.sparkplug.lifecycle import TRANSITIONS, Event, LifecycleError, Phase, moved
from simulators.devices.sparkplug.payloads import DataType, Quality
from simulators.devices.sparkplug.plan import STORE_WAITING, DevicePlan, MetricPlan, NodePlan
from tests.simulators.sparkplug_reader import FLOAT, INT32, INT64, HostView, Message, Number, read

W = MetricPlan("W", DataType.INT32, "kW", deadband=5)
WIND = MetricPlan("HorWdSpd", DataType.FLOAT, "m/s")
PLAN = NodePlan(
    "corridor", "mirny", (DevicePlan("t1", (W, WIND)), DevicePlan("t2", (W,))), metrics=(STORE_WAITING,)
)
HOSTED = NodePlan("corridor", "mirny", PLAN.devices, PLAN.metrics, primary_host="scada")
NCMD = "spBv1.0/corridor/NCMD/mirny"
DCMD = "spBv1.0/corridor/DCMD/mirny/t1"
STATE = "spBv1.0/STATE/scada"
REBIRTH = b"\x12\x18\x0a\x14Node Control/Rebirth\x70\x01"
BIRTHS = ["NBIRTH", "DBIRTH t1", "DBIRTH t2"]


def kw(value: int | None, at: int, quality: Quality = Quality.GOOD) -> dict[str, Sample]:
    return {"W": Sample(value, at, quality)}


def state(*, online: bool, timestamp: int) -> bytes:
    return f'{{"online": {str(online).lower()}, "timestamp": {timestamp}}}'.encode()


def messages(actions: Iterable[Action]) -> list[Message]:
    return [read(action.topic, action.payload) for action in actions if isinstance(action, Publish)]


def told(actions: Iterable[Action]) -> list[str]:
    """What was done, in short."""
    shown = []
    for action in actions:
        match action:
            case Publish():
                message = read(action.topic, action.payload)
                shown.append(message.verb + (f" {message.device}" if message.device else ""))
            case Disconnect(reason):
                shown.append(f"disconnect: {reason}")
            case Ignored(_, reason):
                shown.append(f"ignored: {reason}")
    return shown


def up(node: EdgeNode, now: int = 10) -> list[Action]:
    node.connect(now)
    node.connected()
    return node.subscribed(now)


def born(plan: NodePlan = PLAN) -> EdgeNode:
    """An edge node with both devices born."""
    node = EdgeNode(plan)
    node.measured("t1", {**kw(100, 5), "HorWdSpd": Sample(7.5, 5)}, 5)
    node.measured("t2", kw(-200, 5), 5)
    assert told(up(node)) == BIRTHS
    return node


@pytest.mark.parametrize(("phase", "event"), list(itertools.product(Phase, Event)))
def test_only_the_table_moves_a_session(phase: Phase, event: Event) -> None:
    if (phase, event) in TRANSITIONS:
        assert moved(phase, event) is TRANSITIONS[phase, event]
    else:
        with pytest.raises(LifecycleError, match=f"{event.value} cannot happen while {phase.value}"):
            moved(phase, event)


def test_the_will_is_an_ndeath_that_counts_connects() -> None:
    """tck-id-message-flow-edge-node-birth-publish-will-message-qos, -payload-bdSeq; -nbirth-payload-bdSeq."""
    node = EdgeNode(PLAN, last_bd_seq=254)
    for expected in (255, 0, 1):
        will = node.connect(10)
        assert (will.topic, will.qos) == ("spBv1.0/corridor/NDEATH/mirny", 1)
        (death,) = messages([will])
        assert (death.seq, [m.name for m in death.metrics]) == (None, ["bdSeq"])
        assert death.named("bdSeq").datatype == INT64
        node.connected()
        (birth,) = messages(node.subscribed(10))
        assert death.named("bdSeq").value(INT64) == birth.named("bdSeq").value(INT64) == expected
        node.disconnected(11)


def test_the_first_connect_has_number_0() -> None:
    """tck-id-topics-nbirth-bdseq-increment."""
    node = EdgeNode(PLAN)
    node.connect(10)
    assert node.bd_seq == 0


def test_subscriptions_come_before_births() -> None:
    """tck-id-message-flow-edge-node-ncmd-subscribe, tck-id-message-flow-device-dcmd-subscribe."""
    node = EdgeNode(PLAN)
    node.connect(10)
    assert node.connected() == (NCMD, "spBv1.0/corridor/DCMD/mirny/+")
    hosted = EdgeNode(HOSTED)
    hosted.connect(10)
    assert hosted.connected() == (NCMD, "spBv1.0/corridor/DCMD/mirny/+", STATE)


def test_births_say_everything() -> None:
    """tck-id-topics-nbirth-metric-reqs, -metrics; tck-id-topics-dbirth-metrics; QoS 0 (-mqtt)."""
    node = EdgeNode(PLAN)
    node.measured("t1", kw(-100, 5), 5)
    births = up(node, 10)
    assert [a.qos for a in births if isinstance(a, Publish)] == [0, 0]
    nbirth, dbirth = messages(births)
    assert [m.name for m in nbirth.metrics] == ["bdSeq", "Node Control/Rebirth", "Store/Waiting"]
    assert (nbirth.timestamp, nbirth.seq, dbirth.seq) == (10, 0, 1)
    power, wind = dbirth.named("W"), dbirth.named("HorWdSpd")
    assert (power.datatype, power.value(INT32), power.timestamp, power.quality) == (INT32, -100, 5, 192)
    assert (wind.datatype, wind.null, wind.value(FLOAT), wind.quality) == (FLOAT, True, None, 0)
    assert {power.alias, wind.alias} == {2, 3}


@pytest.mark.parametrize(
    ("sample", "reported"),
    [
        (Sample(105, 6), False),
        (Sample(95, 6), False),
        (Sample(106, 6), True),
        (Sample(None, 6), True),
        (Sample(100, 6, Quality.STALE), True),
    ],
)
def test_only_changes_beyond_the_deadband_are_reported(sample: Sample, reported: bool) -> None:
    """tck-id-principles-rbe-recommended, tck-id-operational-behavior-data-publish-dbirth-change."""
    node = born()
    data = messages(node.measured("t1", {"W": sample}, 20))
    if not reported:
        assert data == []
        return
    ((metric,),) = [message.metrics for message in data]
    assert (metric.name, metric.datatype, metric.alias) == (None, None, 2)
    assert (metric.value(INT32), metric.timestamp) == (sample.value, 6)
    assert (metric.quality, metric.historical) == (sample.quality, False)


def test_a_slow_change_is_measured_against_what_was_reported() -> None:
    node = born()
    sent = [told(node.measured("t1", kw(100 + step, 20 + step), 20)) for step in range(1, 8)]
    assert sent == [[]] * 5 + [["DDATA t1"]] + [[]]


def test_sequence_wraps_over_node_and_devices() -> None:
    """tck-id-payloads-sequence-num-incrementing."""
    node = born()
    seqs = []
    for step in range(300):
        for device in ("t1", "t2"):
            seqs += [m.seq for m in messages(node.measured(device, kw(10 * step + 1000, 20 + step), 20))]
    assert seqs == [(3 + k) % 256 for k in range(600)]


def test_rebirth_repeats_births_with_the_same_bd_seq() -> None:
    """tck-id-operational-behavior-data-commands-rebirth-action-2 and -action-3."""
    node = born()
    node.measured("t1", kw(300, 20), 20)
    births = node.received(NCMD, REBIRTH, 30)
    assert told(births) == BIRTHS
    nbirth, first, _ = messages(births)
    assert (nbirth.seq, nbirth.named("bdSeq").value(INT64), node.bd_seq) == (0, 0, 0)
    assert first.named("W").value(INT32) == 300
    assert node.measured("t1", kw(301, 40), 40) == [], "born with 300"


@pytest.mark.parametrize(
    ("topic", "payload", "reason"),
    [
        (NCMD, b"\x12\x18\x0a\x14Node Control/Rebirth\x70\x00", "Rebirth cannot be written with False"),
        (NCMD, b"\x12\x18\x0a\x14Node Control/Rebirth\x50\x01", "Rebirth cannot be written with 1"),
        (NCMD, b"\x12\x07\x0a\x03new\x50\x01", "new cannot be written with 1"),
        (NCMD, b"\x12\x04\x10\x02\x50\x01", "alias 2 cannot be written with 1"),
        (NCMD, b"\xff", "not a Sparkplug B payload"),
        (DCMD, b"\x12\x04\x10\x02\x50\x01", "nothing of the device can be written: 2"),
        ("spBv1.0/STATE/other", state(online=False, timestamp=99), "not a topic of this edge node"),
    ],
)
def test_other_commands_change_nothing(topic: str, payload: bytes, reason: str) -> None:
    """5.11: an edge node should be resilient to metrics that it does not know."""
    node = born()
    (done,) = node.received(topic, payload, 20)
    assert isinstance(done, Ignored)
    assert reason in done.reason
    assert node.phase is Phase.BORN


def test_a_lost_device_dies_and_is_born_again() -> None:
    """tck-id-operational-behavior-device-ddeath, tck-id-topics-ddeath-seq-num."""
    node = born()
    (death,) = messages(node.lost("t1", 20))
    assert (death.verb, death.device, death.seq, death.metrics) == ("DDEATH", "t1", 3, [])
    assert node.lost("t1", 21) == [], "dies once"
    assert told(node.received(NCMD, REBIRTH, 25)) == ["NBIRTH", "DBIRTH t2"]
    assert told(node.measured("t1", kw(1, 30), 30)) == ["DBIRTH t1"]


def test_the_primary_host_is_waited_for() -> None:
    """tck-id-message-flow-edge-node-birth-publish-phid-wait, -wait-online."""
    node = EdgeNode(HOSTED)
    node.measured("t1", kw(1, 5), 5)
    assert up(node) == []
    assert node.received(NCMD, REBIRTH, 11) == [Ignored(NCMD, "no rebirth while waiting")]
    assert node.received(STATE, state(online=False, timestamp=7), 12) == []
    assert node.measured("t1", kw(100, 13), 13) == []
    assert told(node.received(STATE, state(online=True, timestamp=7), 14)) == ["NBIRTH", "DBIRTH t1"]
    assert node.received(STATE, state(online=True, timestamp=7), 15) == [], "said twice"


def test_the_state_can_arrive_before_the_subscription_is_confirmed() -> None:
    node = EdgeNode(HOSTED)
    node.connect(10)
    node.connected()
    assert node.received(STATE, state(online=True, timestamp=7), 10) == []
    assert told(node.subscribed(10)) == ["NBIRTH"]


@pytest.mark.parametrize(
    ("timestamp", "left"),
    [(6, False), (7, True), (8, True)],
)
def test_the_primary_host_going_offline_ends_the_session(timestamp: int, left: bool) -> None:
    """tck-id-operational-behavior-edge-node-termination-host-offline, -host-offline-timestamp."""
    node = EdgeNode(HOSTED)
    up(node)
    node.received(STATE, state(online=True, timestamp=7), 11)
    done = node.received(STATE, state(online=False, timestamp=timestamp), 12)
    if left:
        assert told(done) == ["NDEATH", "disconnect: primary host offline"]
        assert node.phase is Phase.LEAVING
    else:
        assert told(done) == ["ignored: older than the state of 7"]


def test_an_old_online_state_does_not_count_in_the_next_session() -> None:
    """tck-id-message-flow-edge-node-birth-publish-phid-wait-timestamp."""
    node = EdgeNode(HOSTED)
    up(node)
    node.received(STATE, state(online=True, timestamp=7), 11)
    node.received(STATE, state(online=False, timestamp=9), 12)
    node.disconnected(12)
    assert up(node, 13) == []
    assert told(node.received(STATE, state(online=True, timestamp=8), 14)) == [
        "ignored: older than the state of 9"
    ]
    assert told(node.received(STATE, state(online=True, timestamp=9), 15)) == ["NBIRTH"]


def test_the_host_must_show_itself_in_each_session() -> None:
    """tck-id-message-flow-edge-node-birth-publish-phid-wait: STATE comes with each subscription."""
    node = EdgeNode(HOSTED)
    up(node)
    node.received(STATE, state(online=True, timestamp=7), 11)
    node.disconnected(12)
    assert up(node, 13) == []
    assert told(node.received(STATE, state(online=True, timestamp=7), 14)) == ["NBIRTH"]


def test_an_intended_end_is_told_once_born() -> None:
    """tck-id-operational-behavior-edge-node-intentional-disconnect-ndeath."""
    node = born()
    done = node.leave(20)
    assert told(done) == ["NDEATH", "disconnect: intended"]
    waiting = EdgeNode(HOSTED)
    up(waiting)
    assert told(waiting.leave(20)) == ["disconnect: intended"]


def test_what_nobody_heard_is_forwarded_as_historical() -> None:
    """1.4.9 and 6.4.3, is_historical: resume publishing and flush what was stored while offline."""
    node = born(NodePlan("corridor", "mirny", PLAN.devices, (), batch=2, replay_ms=50))
    node.forward(20)
    assert node.waiting == 0
    node.measured("t2", kw(-300, 100), 100)
    node.measured("t2", kw(-400, 900), 900)
    node.disconnected(920)
    assert node.measured("t2", kw(-500, 1000), 1000) == []
    assert node.measured("t2", kw(-502, 2000), 2000) == [], "within the deadband"
    assert node.measured("t2", kw(None, 3000, Quality.BAD), 3000) == []
    assert node.measured("t2", kw(-600, 4000), 4000) == []
    assert node.waiting == 4
    assert node.forward(4500) == []
    births = messages(up(node, 5000))
    assert births[2].named("W").value(INT32) == -600
    forwarded = [m for _ in range(3) for m in messages(node.forward(5001))]
    assert [(m.verb, m.device, m.seq) for m in forwarded] == [("DDATA", "t2", 3), ("DDATA", "t2", 4)]
    found = [(m.historical, m.timestamp, m.value(INT32), m.quality) for f in forwarded for m in f.metrics]
    # -400 was sent 20 ms before the end: perhaps nobody received it; -300 long before
    assert found == [
        (True, 900, -400, 192),
        (True, 1000, -500, 192),
        (True, 3000, None, 0),
        (True, 4000, -600, 192),
    ]


def test_what_a_dead_device_left_waits_for_its_birth() -> None:
    node = EdgeNode(PLAN)
    node.measured("t2", kw(-300, 5), 5)
    node.lost("t2", 6)
    assert told(up(node)) == ["NBIRTH"]
    assert node.forward(11) == []
    node.measured("t2", kw(-900, 12), 12)
    assert [m.timestamp for data in messages(node.forward(13)) for m in data.metrics] == [5]


def test_a_full_store_drops_the_oldest_and_counts_it() -> None:
    node = EdgeNode(NodePlan("corridor", "mirny", PLAN.devices, buffer=3))
    for step in range(10):
        node.measured("t2", kw(100 * step, step), step)
    assert (node.waiting, node.dropped) == (3, 7)
    up(node)
    (data,) = messages(node.forward(30))
    assert [m.timestamp for m in data.metrics] == [7, 8, 9]


def test_momentary_metrics_are_not_kept() -> None:
    node = EdgeNode(PLAN)
    node.measured(None, {"Store/Waiting": Sample(7, 5)}, 5)
    assert node.waiting == 0
    (birth,) = messages(up(node))
    assert birth.named("Store/Waiting").value(INT64) == 7


def test_unknown_names_are_refused() -> None:
    node = born()
    with pytest.raises(KeyError, match="t2 has no metric HorWdSpd"):
        node.measured("t2", {"HorWdSpd": Sample(1.0, 5)}, 5)
    with pytest.raises(KeyError, match="t3"):
        node.lost("t3", 5)


Step = tuple[str, int]
OFTEN = ["t1", "t2", "t1", "t2", "up", "up", "forward"]
SELDOM = ["lose-t1", "lose-t2", "node", "online", "offline", "rebirth", "dark", "cut", "leave", "garbage"]
STEPS = st.lists(
    st.tuples(
        st.sampled_from([*OFTEN, *SELDOM]),
        st.integers(0, 40),
    ),
    max_size=120,
)


class Bench:
    """Plays steps on an edge node as a careful shell would, before an attentive host."""

    def __init__(self, plan: NodePlan) -> None:
        self.node = EdgeNode(plan)
        self.host = HostView()
        self.now = 1000
        self.shown: set[tuple[str | None, str, int, Number]] = set()
        self.bd_seqs: list[int] = []
        self.dark = False
        """Messages go nowhere any more, and nobody has noticed."""

    def play(self, step: str, number: int) -> None:
        self.now += 1 + number
        node, live = self.node, self.node.phase in {Phase.WAITING, Phase.BORN}
        match step:
            case "t1" | "t2":
                self.shown.add((step, "W", self.now, 10 * number))
                self._hear(node.measured(step, kw(10 * number, self.now), self.now))
            case "lose-t1" | "lose-t2":
                self._hear(node.lost(step[5:], self.now))
            case "node":
                self._hear(node.measured(None, {"Store/Waiting": Sample(number, self.now)}, self.now))
            case "online" | "offline" if live:
                payload = state(online=step == "online", timestamp=self.now - number)
                self._hear(node.received(STATE, payload, self.now))
            case "rebirth" if live:
                self._hear(node.received(NCMD, REBIRTH, self.now))
            case "garbage" if live:
                self._hear(node.received(NCMD, bytes([number, 255]), self.now))
            case "forward":
                self._hear(node.forward(self.now))
            case "up" if node.phase is Phase.OFFLINE:
                self.bd_seqs.append((node.bd_seq + 1) % 256)
                self.will = node.connect(self.now)
                node.connected()
                self._hear(node.subscribed(self.now))
            case "dark" if live:
                self.dark = True
            case "cut" if live:
                self._end()
            case "leave" if live:
                self._hear(node.leave(self.now))

    def _hear(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, Publish) and not self.dark:
                heard = read(action.topic, action.payload)
                self.host.hear(heard)
                if heard.verb in {"NBIRTH", "NDEATH"}:
                    assert heard.named("bdSeq").value(INT64) == self.bd_seqs[-1]
            elif isinstance(action, Disconnect):
                assert self.dark or not self.host.online, "left without a word"
                self._end()

    def _end(self) -> None:
        """The connection ends; the broker publishes the Will, which says nothing new after an NDEATH."""
        self.dark = False
        self.node.disconnected(self.now)
        self._hear([self.will])


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from([PLAN, HOSTED]))
def test_any_course_of_events_is_a_sound_session(steps: list[Step], plan: NodePlan) -> None:
    bench = Bench(plan)
    for step, number in steps:
        bench.play(step, number)
        assert bench.dark or bench.host.online is (bench.node.phase is Phase.BORN)
    if bench.dark:
        bench.play("cut", 0)
    if bench.node.phase is Phase.OFFLINE:
        bench.play("up", 0)
    bench.play("online", 0)
    for device in ("t1", "t2"):
        bench.play(device, 1)
    while bench.node.waiting:
        bench.play("forward", 0)
    heard = {entry for entry in bench.host.heard if entry[1] == "W" and entry[3] is not None}
    assert heard <= bench.shown, "a value that no device showed"
    for device in ("t1", "t2"):
        last = 0
        known = {(at, value) for unit, _, at, value in heard if unit == device}
        for _, _, at, value in sorted(entry for entry in bench.shown if entry[0] == device):
            assert isinstance(value, int)
            if (at, value) in known:
                last = value
                continue
            assert abs(value - last) <= W.deadband, f"{value} of {at} reached nobody"
