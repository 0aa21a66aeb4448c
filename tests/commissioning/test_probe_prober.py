"""The prober's manners, on a clock that moves when told to and a link that answers as a list says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise
from types import TracebackType
from typing import Self

import pytest

from adapters.modbus.burst import Burst
from adapters.modbus.codec import DeviceRefusedError, Doubt, ProtocolDoubtError, Query, Request
from adapters.modbus.config import GatewaySettings
from adapters.modbus.connection import ConnectionLostError, Link, ReplyTimeoutError
from commissioning.modbus.prober import ProbeError, Prober
from commissioning.modbus.recording import Recorder
from commissioning.modbus.registers import RegisterScan
from commissioning.modbus.target import Span
from commissioning.modbus.units import UnitScan
from commissioning.modbus.walk import Reply
from commissioning.modbus.wish import Manners
from telemetry.clock import ManualClock
from telemetry.profiles import RegisterTable

Answer = DeviceRefusedError | ReplyTimeoutError | ConnectionLostError | ProtocolDoubtError | None
"""What the link raises; None for data."""


class ScriptedLink(Link):
    """Answers after 30 ms; a link that did not answer is gone, as one over TCP is."""

    def __init__(self, rig: Rig) -> None:
        self.gone = False
        self._rig = rig

    @property
    def alive(self) -> bool:
        return not self.gone

    @property
    def fault(self) -> None:
        return None

    async def exchange(self, queries: Sequence[Query], timeout_s: float) -> Burst:
        (query,) = queries
        rig = self._rig
        assert self.alive
        assert not rig.in_flight
        rig.in_flight = True
        rig.asked.append((rig.clock.monotonic(), query))
        answer = rig.script(len(rig.asked) - 1)
        await rig.clock.sleep(timeout_s if isinstance(answer, ReplyTimeoutError) else 0.03)
        rig.in_flight = False
        burst = Burst(queries)
        if answer is None:
            burst.answer(0, bytes(2 * query.count) if isinstance(query, Request) else b"", 0.0)
        elif isinstance(answer, DeviceRefusedError):
            burst.answer(0, answer, 0.0)
        else:
            self.gone, burst.fault = True, answer
        return burst

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.gone = True


class Rig:
    def __init__(self, clock: ManualClock, script: Callable[[int], Answer]) -> None:
        self.clock = clock
        self.script = script
        self.asked: list[tuple[float, Query]] = []
        self.in_flight = False
        self.connects = 0
        gateway = GatewaySettings(id="gw", host="192.0.2.1")
        self.prober = Prober(gateway, clock, Manners(pause_s=0.1), self._connect)

    async def _connect(self) -> ScriptedLink:
        self.connects += 1
        return ScriptedLink(self)

    async def during(self, work: Callable[[Prober], object]) -> object:
        """Runs it while time goes on; returns what it returned, or what it raised."""

        async def whole() -> object:
            async with self.prober:
                outcome = work(self.prober)
                return await outcome if asyncio.iscoroutine(outcome) else outcome

        task = asyncio.create_task(whole())
        for _ in range(400):
            await self.clock.advance(0.25)
            if task.done():
                break
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        return outcome


def timeout() -> ReplyTimeoutError:
    return ReplyTimeoutError("unit 1 did not answer within 1 s")


def scan(count: int = 10) -> RegisterScan:
    return RegisterScan(1, RegisterTable.HOLDING, Span(0, count), 1, 100)


async def test_there_is_a_pause_between_a_reply_and_the_next_request(clock: ManualClock) -> None:
    rig = Rig(clock, lambda n: None)
    await rig.during(lambda prober: prober.walk(scan(5).walk()))
    starts = [at for at, _ in rig.asked]
    assert len(starts) == 5
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    assert gaps == pytest.approx([0.13] * 4)
    trips = rig.prober.round_trips
    assert (trips.answers, trips.median_ms, trips.unanswered) == (5, 30.0, 0)


async def test_three_silences_in_a_row_end_the_probe_and_say_why(clock: ManualClock) -> None:
    rig = Rig(clock, lambda n: timeout())
    outcome = await rig.during(lambda prober: prober.walk(scan().walk()))
    assert isinstance(outcome, ProbeError)
    assert "3 times in a row" in str(outcome)
    assert "--timeout" in str(outcome)
    assert len(rig.asked) == 3
    assert rig.connects == 3


async def test_an_answer_in_between_is_forgiven(clock: ManualClock) -> None:
    rig = Rig(clock, lambda n: timeout() if n % 3 else None)
    outcome = await rig.during(lambda prober: prober.walk(scan(9).walk()))
    assert outcome is None
    assert rig.prober.round_trips.unanswered == 6


async def test_silent_units_do_not_end_a_scan_of_units_but_doubts_do(clock: ManualClock) -> None:
    found = UnitScan(range(1, 8), RegisterTable.HOLDING, 0)
    rig = Rig(clock, lambda n: None if n == 5 else timeout())
    assert await rig.during(lambda prober: prober.walk(found.walk(), patient=True)) is None
    assert [one.unit for one in found.found] == [6]
    rig = Rig(ManualClock(), lambda n: ProtocolDoubtError(Doubt.PROTOCOL, "protocol identifier 7", b"abc"))
    outcome = await rig.during(lambda prober: prober.walk(found.walk(), patient=True))
    assert isinstance(outcome, ProbeError)
    assert "rtu_over_tcp" in str(outcome)
    assert "61 62 63" in str(outcome)


async def test_a_busy_device_is_asked_again_later_and_later(clock: ManualClock) -> None:
    rig = Rig(clock, lambda n: DeviceRefusedError(6) if n < 2 else None)
    request = Request(0, 1, RegisterTable.HOLDING, 0, 1)
    reply = await rig.during(lambda prober: prober.ask(request))
    assert isinstance(reply, Reply)
    assert reply.ok
    starts = [at for at, _ in rig.asked]
    assert starts[1] - starts[0] > 1
    assert starts[2] - starts[1] > 10
    assert rig.connects == 1


async def test_a_device_that_stays_busy_is_left_alone(clock: ManualClock) -> None:
    rig = Rig(clock, lambda n: DeviceRefusedError(6))
    request = Request(0, 1, RegisterTable.HOLDING, 0, 1)
    rig.prober.listeners.append(lambda query, reply: None)
    outcome = asyncio.create_task(rig.during(lambda prober: prober.ask(request)))
    await clock.advance(200)
    reply = await outcome
    assert isinstance(reply, Reply)
    assert reply.code == 6
    assert len(rig.asked) == 4


async def test_a_connection_that_is_lost_counts_as_no_answer(clock: ManualClock) -> None:
    rig = Rig(clock, lambda n: ConnectionLostError("the gateway closed the connection"))
    outcome = await rig.during(lambda prober: prober.walk(scan().walk()))
    assert isinstance(outcome, ProbeError)
    assert "closed the connection" in str(outcome)


def test_a_recording_keeps_the_last_words_and_leaves_bits_out() -> None:
    recorder = Recorder()
    recorder.note(Request(0, 1, RegisterTable.HOLDING, 10, 2), Reply(b"\0\1\0\2"))
    recorder.note(Request(0, 1, RegisterTable.HOLDING, 11, 2), Reply(b"\0\5\0\6"))
    recorder.note(Request(0, 1, RegisterTable.HOLDING, 20, 1), Reply(b"\0\7"))
    recorder.note(Request(0, 1, RegisterTable.HOLDING, 30, 1), Reply(code=2))
    recorder.note(Request(0, 1, RegisterTable.COIL, 0, 3), Reply(b"\0\1\0\0\0\1"))
    recorder.identified(1, {1: "code", 0: "vendor"})
    recorder.identified(2, {})
    assert recorder.text().splitlines() == [
        '{"unit": 1, "identification": {"0": "vendor", "1": "code"}}',
        '{"unit": 1, "table": "holding", "address": 10, "words": [1, 5, 6]}',
        '{"unit": 1, "table": "holding", "address": 20, "words": [7]}',
    ]
    assert (recorder.size, recorder.left_out) == (4, 3)
