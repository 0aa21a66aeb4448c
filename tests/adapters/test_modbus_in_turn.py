"""Several reads of a device asked one after the other: what is answered counts, whatever comes after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from adapters.modbus._connection import Link, opener
from adapters.modbus.burst import Burst, ConnectionLostError, ReplyTimeoutError
from adapters.modbus.codec import DeviceRefusedError, ProtocolDoubtError, Query
from adapters.modbus.config import GatewaySettings
from telemetry.quality import Quality
from tests.adapters.modbus_rig import Gateway, MakeRig, Run
from tests.adapters.test_modbus_burst import READS, data

EXPECTED = [data(query) for query in READS]
Spoil = Callable[[bytes, bytes], bytes | None]
"""What is sent in place of an honest reply, which comes with the one before it."""

LIES: dict[str, Spoil] = {
    "nothing": lambda reply, before: b"",
    "a hang-up": lambda reply, before: None,
    "the reply twice": lambda reply, before: reply + reply,
    "a tail": lambda reply, before: reply + b"\0",
    "junk before it": lambda reply, before: b"\0" + reply,
    "the reply before": lambda reply, before: before,
    "the reply before and this": lambda reply, before: before + reply,
    "another unit": lambda reply, before: reply[:6] + b"\2" + reply[7:],
    "another function": lambda reply, before: reply[:7] + b"\4" + reply[8:],
    "a register less": lambda reply, before: reply[:4] + b"\0\x09\1\3\6" + reply[9:-2],
    "bytes left out": lambda reply, before: reply[:-4],
}


async def connected(gateway: Gateway) -> Link:
    return await opener(GatewaySettings(id="gw", host="127.0.0.1", port=gateway.port))()


async def test_each_is_asked_when_the_one_before_is_answered(gateway: Gateway) -> None:
    open_, most = 0, 0

    async def script(request: bytes) -> bytes:
        nonlocal open_, most
        open_ += 1
        most = max(most, open_)
        reply = await gateway.answer_honestly(request)
        open_ -= 1
        return reply

    gateway.script = script
    burst = Burst(READS, in_turn=True)
    async with await connected(gateway) as link:
        await link.exchange_in_turn(burst, 1.0)
        assert link.alive
    assert (burst.fault, burst.contents, burst.sent, most) == (None, EXPECTED, 4, 1)
    numbers = [request[:2] for request in gateway.requests]
    assert len(set(numbers)) == 4
    assert burst.heard_at == sorted(burst.heard_at)


@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_costs_its_own_read_and_those_behind_it(lie: str, at: int, gateway: Gateway) -> None:
    replies: list[bytes] = []

    async def script(request: bytes) -> bytes | None:
        replies.append(await gateway.answer_honestly(request))
        if len(replies) == at + 1:
            return LIES[lie](replies[at], replies[at - 1])
        return replies[-1]

    gateway.script = script
    burst = Burst(READS, in_turn=True)
    async with await connected(gateway) as link:
        await link.exchange_in_turn(burst, 0.2)
        assert not link.alive
    assert isinstance(burst.fault, ProtocolDoubtError | ReplyTimeoutError | ConnectionLostError)
    assert burst.contents == EXPECTED[:at] + [None] * (4 - at)
    assert (burst.next, burst.refusals) == (at, 0)


async def test_a_refusal_is_that_of_its_own_read_and_the_rest_is_asked(gateway: Gateway) -> None:
    async def script(request: bytes) -> bytes:
        reply = await gateway.answer_honestly(request)
        return reply[:4] + b"\0\3\x01\x83\x02" if len(gateway.requests) == 2 else reply

    gateway.script = script
    burst = Burst(READS, in_turn=True)
    async with await connected(gateway) as link:
        await link.exchange_in_turn(burst, 1.0)
    assert burst.fault is None
    assert isinstance(burst.contents[1], DeviceRefusedError)
    assert [burst.contents[i] for i in (0, 2, 3)] == [EXPECTED[i] for i in (0, 2, 3)]


async def test_a_unit_that_its_gateway_cannot_reach_is_asked_for_nothing_more(gateway: Gateway) -> None:
    """Each question would cost the gateway's own time-out, at the expense of the units that answer."""

    async def script(request: bytes) -> bytes:
        reply = await gateway.answer_honestly(request)
        return reply[:4] + b"\0\3\x01\x83\x0b" if len(gateway.requests) >= 2 else reply

    gateway.script = script
    burst = Burst(READS, in_turn=True)
    async with await connected(gateway) as link:
        await link.exchange_in_turn(burst, 1.0)
        assert link.alive
    assert len(gateway.requests) == 2
    assert burst.contents[0] == EXPECTED[0]
    assert burst.contents[2:] == [None, None]


async def test_what_was_answered_before_a_cancellation_is_found_by_who_asked(gateway: Gateway) -> None:
    asked = asyncio.Event()

    async def script(request: bytes) -> bytes:
        if len(gateway.requests) == 3:
            asked.set()
            return b""
        return await gateway.answer_honestly(request)

    gateway.script = script
    burst = Burst(READS, in_turn=True)
    async with await connected(gateway) as link:
        task = asyncio.ensure_future(link.exchange_in_turn(burst, 5.0))
        await asyncio.wait_for(asked.wait(), 10)
        task.cancel()
        await asyncio.wait({task})
        assert not link.alive, "the reply that is owed finds nobody"
    assert burst.contents == [*EXPECTED[:2], None, None]


async def test_a_gateway_that_owes_a_reply_does_not_cost_what_was_read_before(
    make_rig: MakeRig, run_source: Run
) -> None:
    rig = make_rig(units=2)

    async def script(request: bytes) -> bytes | None:
        silent = request[6] == 1 and int.from_bytes(request[8:10], "big") == 300
        return b"" if silent else await rig.gateway.answer_honestly(request)

    rig.gateway.script = script
    async with run_source(rig.source.run()):
        await rig.until(lambda: rig.counts["timeouts"] >= 2 and len(rig.readings("d2")) >= 12)
    good = {name for name, _, quality in rig.readings("d1") if quality is Quality.GOOD}
    assert good == {"R100", "R102"}
    assert {name for name, _ in rig.bad("d1")} >= {"R300", "R302"}
    assert rig.bad("d2") == []
    rig.assert_no_wrong_value_is_good()


async def test_over_a_line_the_same_is_done_one_exchange_at_a_time_and_can_be_gone_on_with() -> None:
    class Line(Link):
        """Answers until it loses one reply, and then all."""

        def __init__(self) -> None:
            self.asked = 0

        async def exchange(self, queries: Sequence[Query], timeout_s: float) -> Burst:
            self.asked += 1
            (query,) = queries
            burst = Burst((query,), float(self.asked))
            if self.asked == 3:
                burst.fail(ReplyTimeoutError("lost"), self.asked + 0.5)
            else:
                burst.answer(0, data(query), self.asked + 0.25)
            return burst

    line: Line = Line()  # type: ignore[abstract]
    burst = Burst(READS, in_turn=True)
    await line.exchange_in_turn(burst, 1.0)
    assert str(burst.fault) == "lost"
    assert (burst.contents, burst.sent) == ([*EXPECTED[:2], None, None], 3)
    await line.exchange_in_turn(burst, 1.0)
    assert str(burst.fault) == "None"
    assert (burst.contents, burst.sent) == (EXPECTED, 5)
    assert burst.slowest_s == 0.25
