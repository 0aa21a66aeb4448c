"""Several reads of a device asked in one piece: all of them are believed, or none."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus._connection import opener
from adapters.modbus._window import Window
from adapters.modbus.burst import Burst, ReplyTimeoutError
from adapters.modbus.codec import (
    DeviceRefusedError,
    Frame,
    MbapFramer,
    ProtocolDoubtError,
    Query,
    Request,
    verified,
)
from adapters.modbus.config import GatewaySettings
from telemetry.clock import SystemClock
from telemetry.errors import GreenbridgeError
from telemetry.profiles import RegisterTable
from telemetry.quality import Quality
from tests.adapters.conftest import honest
from tests.adapters.modbus_rig import Gateway, MakePoints, MakeRig, Run
from tests.adapters.test_modbus_timeline import Timeline

READS = [Request(0, 1, RegisterTable.HOLDING, 100 + 10 * i, 4) for i in range(4)]
Send = Callable[[list[bytes]], bytes]


def data(query: Query) -> bytes:
    return honest(struct.pack(">HHHB", 0, 0, 6, query.unit) + query.pdu())[9:]


def renumbered(reply: bytes, other: bytes) -> bytes:
    return other[:2] + reply[2:]


async def exchanged(gateway: Gateway, send: Send) -> tuple[Burst, bool]:
    """Asks four alike reads of one unit; the gateway sends what is made of the four honest replies."""
    replies: list[bytes] = []

    async def script(request: bytes) -> bytes:
        replies.append(await gateway.answer_honestly(request))
        return send(replies) if len(replies) == len(READS) else b""

    gateway.script = script
    settings = GatewaySettings(id="gw", host="127.0.0.1", port=gateway.port, window=4)
    async with await opener(settings)() as link:
        burst = await link.exchange(READS, 0.2)
        return burst, link.alive


async def test_replies_come_in_any_order_and_find_their_questions(gateway: Gateway) -> None:
    burst, alive = await exchanged(gateway, lambda replies: b"".join(reversed(replies)))
    assert burst.fault is None
    assert burst.contents == [data(query) for query in READS]
    assert alive


async def test_a_refusal_is_that_of_its_own_read(gateway: Gateway) -> None:
    def send(replies: list[bytes]) -> bytes:
        return b"".join((*replies[:2], replies[2][:4] + b"\0\3\x01\x83\x02", replies[3]))

    burst, alive = await exchanged(gateway, send)
    assert burst.fault is None
    assert isinstance(refusal := burst.contents[2], DeviceRefusedError)
    assert refusal.code == 2
    assert [burst.contents[i] for i in (0, 1, 3)] == [data(READS[i]) for i in (0, 1, 3)]
    assert alive


LIES: dict[str, Send] = {
    "the number of a read that is alike, whose own reply comes too": lambda r: b"".join(
        (r[0], renumbered(r[1], r[2]), r[2], r[3])
    ),
    "the number of a read that is alike, whose own reply is lost": lambda r: b"".join(
        (r[0], renumbered(r[1], r[2]), r[3])
    ),
    "one is lost": lambda r: b"".join((*r[:2], r[3])),
    "one comes twice": lambda r: b"".join((*r[:2], r[1], *r[2:])),
    "one more than asked": lambda r: b"".join((*r, r[0])),
    "another unit": lambda r: b"".join((*r[:3], r[3][:6] + b"\2" + r[3][7:])),
    "another function": lambda r: b"".join((*r[:3], r[3][:7] + b"\4" + r[3][8:])),
    "a register less": lambda r: b"".join((r[0][:4] + b"\0\x09\1\3\6" + r[0][9:-2], *r[1:])),
    "bytes left out": lambda r: b"".join((r[0][:-4], *r[1:])),
    "a tail": lambda r: b"".join((*r, b"\0")),
}


@pytest.mark.parametrize("lie", LIES)
async def test_nothing_is_believed_of_a_burst_with_a_doubt_or_without_an_answer(
    lie: str, gateway: Gateway
) -> None:
    burst, alive = await exchanged(gateway, LIES[lie])
    assert isinstance(burst.fault, ProtocolDoubtError | ReplyTimeoutError)
    assert burst.contents == [None] * 4
    assert not alive


async def test_the_reads_of_a_poll_go_out_in_one_piece_and_no_more_than_the_window(
    make_points: MakePoints, run_source: Run
) -> None:
    periods = {f"P{i}": 1.0 for i in range(10)}
    timeline = Timeline(make_points, {1: 0.01, 2: 0.01, 3: 0.01}, periods_s=periods, window=4)
    async with run_source(timeline.source.run()):
        await timeline.clock.advance(3.9)
    assert timeline.line.most_flying == 4
    assert timeline.line.overlaps == 0
    first = timeline.line.times(1)[:10]
    assert [first.count(t) for t in sorted(set(first))] == [4, 4, 2]


async def test_a_unit_that_was_silent_is_asked_for_one_read_first(
    make_points: MakePoints, run_source: Run
) -> None:
    periods = {f"P{i}": 1.0 for i in range(4)}
    timeline = Timeline(make_points, {1: float("inf")}, keeps=True, periods_s=periods, window=4)
    async with run_source(timeline.source.run()):
        await timeline.clock.advance(20)
        times = timeline.line.times(1)
        assert [times.count(t) for t in sorted(set(times))][:3] == [4, 1, 1]
        timeline.line.takes_s[1] = 0.01
        await timeline.clock.advance(20)
    assert timeline.line.times(1, 30)[-1] > 20, "it answers, so the others are asked too"


async def test_the_search_for_a_bad_register_works_within_a_burst(make_rig: MakeRig, run_source: Run) -> None:
    rig = make_rig(units=2, window=8)

    async def script(request: bytes) -> bytes:
        first, count = struct.unpack(">HH", request[8:12])
        if first <= 100 < first + count and request[6] == 1:
            return request[:4] + b"\0\3\x01\x83\x02"
        return await rig.gateway.answer_honestly(request)

    rig.gateway.script = script
    async with run_source(rig.source.run()):
        await rig.until(lambda: len(rig.readings("d1")) >= 8)
    assert rig.bad("d1") == [("R100", Quality.DEVICE_REFUSED)]
    assert rig.bad("d2") == []
    rig.assert_no_wrong_value_is_good()


async def test_a_device_that_spoils_one_read_keeps_the_others_once_they_are_asked_one_by_one(
    make_rig: MakeRig, run_source: Run
) -> None:
    rig = make_rig(units=1, window=8)

    async def script(request: bytes) -> bytes:
        reply = await rig.gateway.answer_honestly(request)
        return reply[:7] + b"\4" + reply[8:] if request[8:10] == struct.pack(">H", 300) else reply

    rig.gateway.script = script
    async with run_source(rig.source.run()):
        await rig.until(lambda: any(q is Quality.GOOD for _, _, q in rig.readings("d1")))
    assert rig.counts["window_fallbacks"] == 1
    assert {name for name, _, q in rig.readings("d1") if q is Quality.GOOD} == {"R100", "R102"}
    rig.assert_no_wrong_value_is_good()


class Places:
    """Takers of places, each a task; how many each has got."""

    def __init__(self, size: int) -> None:
        self.window = Window(None, size)  # type: ignore[arg-type]
        self.got: dict[str, int] = {}

    async def take(self, name: str, most: int) -> None:
        self.got[name] = await self.window.take(most)


async def settled() -> None:
    for _ in range(5):
        await SystemClock().sleep(0)


async def test_places_are_given_in_turn_and_never_more_than_there_are() -> None:
    places = Places(4)
    await places.take("a", 3)
    tasks = [asyncio.create_task(places.take(name, most)) for name, most in (("b", 3), ("c", 2), ("d", 1))]
    await settled()
    assert places.got == {"a": 3, "b": 1}
    places.window.give_back(3)
    await settled()
    assert places.got == {"a": 3, "b": 1, "c": 2, "d": 1}
    await asyncio.gather(*tasks)


async def test_who_is_cancelled_while_waiting_leaves_the_place_to_the_next() -> None:
    places = Places(1)
    await places.take("a", 1)
    gone, stays = (asyncio.create_task(places.take(name, 1)) for name in ("gone", "stays"))
    await settled()
    places.window.give_back(1)
    gone.cancel()
    await settled()
    assert places.got == {"a": 1, "stays": 1}
    await stays


requests = st.builds(
    Request,
    transaction=st.just(0x0102),
    unit=st.integers(0, 3),
    table=st.sampled_from(list(RegisterTable)),
    address=st.just(7),
    count=st.integers(1, 4),
)


@given(
    requests,
    st.integers(0x0101, 0x0103),
    st.integers(0, 1),
    st.integers(-1, 1),
    st.integers(0, 3),
    st.binary(min_size=1, max_size=11),
)
def test_what_is_known_at_one_look_is_what_verification_accepts(
    query: Request, transaction: int, protocol: int, longer: int, unit: int, pdu: bytes
) -> None:
    length = 1 + len(pdu) + longer
    stream = struct.pack(">HHHB", transaction, protocol, length, unit) + pdu
    _compared(query, stream)
    good = struct.pack(">HHHBBB", 0x0102, 0, 3 + 2 * query.count, query.unit, query.function, 2 * query.count)
    _compared(query, good + pdu)


def _compared(query: Request, stream: bytes) -> None:
    begin = query.transaction.to_bytes(2, "big")
    begins = {begin + b"\0\0": begin + query.answers if query.answers else b""}
    quick, slow = MbapFramer(), MbapFramer()
    quick.feed(stream)
    slow.feed(stream)
    sound = quick.sound(begins)
    try:
        frame: Frame | None = slow.next_frame()
        content = None if frame is None else verified(query, frame)
    except GreenbridgeError:
        content = None
    if query.table.is_bits or content is None:
        assert sound == []
        assert quick.pending == len(stream)
    else:
        assert [pdu[2:] for _, pdu in sound][:1] == [content]
