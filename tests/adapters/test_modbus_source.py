"""The Modbus source against gateways that misbehave: every true value is 1000 * unit + its own address."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

import pytest

from telemetry.errors import StorageError
from telemetry.quality import Quality
from tests.adapters.modbus_rig import Gateway, MakeRig, Run, Script


async def test_devices_are_read_once_a_period_with_the_time_of_each_read(
    make_rig: MakeRig, run_source: Run
) -> None:
    rig = make_rig()
    async with run_source(rig.source.run()):
        await rig.polls(8)
    assert rig.gateway.units()[:8] == [1, 1, 2, 2, 1, 1, 2, 2]
    assert rig.gateway.connections == 1
    first, second, third = rig.intake.batches[:3]
    assert (first.source, first.seq, second.seq) == ("modbus/gw", 1, 2)
    assert first.session == second.session == third.session
    assert len(first) == 4
    assert third.t_source[0] - first.t_source[0] == pytest.approx(1e9, rel=0.2)
    rig.assert_no_wrong_value_is_good()
    assert rig.bad("d1") == rig.bad("d2") == []


def altered(change: Callable[[bytes], bytes], gateway: Gateway, unit: int = 1) -> Script:
    async def script(request: bytes) -> bytes | None:
        reply = await gateway.answer_honestly(request)
        return change(reply) if request[6] == unit else reply

    return script


LIES: dict[str, Callable[[bytes], bytes]] = {
    "transaction 0": lambda r: b"\0\0" + r[2:],
    "transaction of the request before": lambda r: (
        struct.pack(">H", struct.unpack(">H", r[:2])[0] - 1) + r[2:]
    ),
    "another unit": lambda r: r[:6] + b"\x02" + r[7:],
    "FC4 reply to FC3": lambda r: r[:7] + b"\x04" + r[8:],
    "one register short": lambda r: (
        r[:4] + struct.pack(">H", len(r) - 8) + r[6:8] + bytes([r[8] - 2]) + r[9:-2]
    ),
    "byte count 0": lambda r: r[:4] + b"\0\3" + r[6:8] + b"\0",
    "byte count without its bytes": lambda r: r[:4] + struct.pack(">H", len(r) - 8) + r[6:-2],
    "protocol 1": lambda r: r[:2] + b"\0\1" + r[4:],
    "garbage": lambda r: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "the reply twice": lambda r: r + r,
    "a tail": lambda r: r + b"\0",
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_is_never_good_and_costs_only_its_teller(
    lie: str, make_rig: MakeRig, run_source: Run
) -> None:
    rig = make_rig()
    rig.gateway.script = altered(LIES[lie], rig.gateway)
    async with run_source(rig.source.run()):
        await rig.until(lambda: rig.counts["doubts"] >= 2 and len(rig.readings("d2")) >= 12)
        rig.gateway.script = rig.gateway.answer_honestly
        told = len(rig.readings("d1"))
        await rig.until(lambda: len(rig.readings("d1")) > told)
    rig.assert_no_wrong_value_is_good()
    assert rig.bad("d2") == []
    assert {quality for _, quality in rig.bad("d1")} == {Quality.PROTOCOL_DOUBT}
    assert len(rig.bad("d1")) <= 4 or lie == "a tail"
    assert rig.readings("d1")[-1][2] is Quality.GOOD


async def test_grid_x_78_a_late_reply_never_answers_the_next_request(
    make_rig: MakeRig, run_source: Run
) -> None:
    rig = make_rig()
    kept: list[bytes] = []
    resume = asyncio.Event()

    async def late(request: bytes) -> bytes | None:
        reply = await rig.gateway.answer_honestly(request)
        if request[6] == 1 and not resume.is_set():
            await resume.wait()
            kept.append(request)
        return reply

    rig.gateway.script = late
    async with run_source(rig.source.run()):
        await rig.until(lambda: rig.counts["timeouts"] >= 1)
        resume.set()
        await rig.until(lambda: kept != [] and len(rig.readings("d1")) >= 12)
    rig.assert_no_wrong_value_is_good()
    assert rig.bad("d1") == [(name, Quality.DEVICE_TIMEOUT) for name in ("R100", "R102", "R300", "R302")]
    assert rig.bad("d2") == []
    assert rig.counts["doubts"] == 0
    assert rig.gateway.connections == 2


async def test_a_frame_that_nobody_asked_for_costs_the_connection_and_no_reading(
    make_rig: MakeRig, run_source: Run
) -> None:
    rig = make_rig()
    async with run_source(rig.source.run()):
        await rig.polls(8)
        rig.gateway.writers[-1].write(await rig.gateway.answer_honestly(rig.gateway.requests[-1]))
        await rig.until(lambda: rig.counts["doubts"] == 1)
        await rig.polls(8)
    assert rig.gateway.connections == 2
    assert rig.bad("d1") == rig.bad("d2") == []
    rig.assert_no_wrong_value_is_good()


async def test_telegraf_11782_a_dead_unit_does_not_stop_the_others_of_its_bus(
    make_rig: MakeRig, run_source: Run
) -> None:
    rig = make_rig(units=4)

    async def script(request: bytes) -> bytes | None:
        return b"" if request[6] == 2 else await rig.gateway.answer_honestly(request)

    rig.gateway.script = script
    async with run_source(rig.source.run()):
        await rig.until(lambda: rig.gateway.units().count(1) >= 24)
    for healthy in ("d1", "d3", "d4"):
        assert rig.bad(healthy) == []
        assert len(rig.readings(healthy)) >= 11 * 4
    assert len(rig.bad("d2")) == 4, "told once, not every cycle"
    assert rig.gateway.units().count(2) < 7, "asked less and less often"
    rig.assert_no_wrong_value_is_good()


async def test_telegraf_14671_an_illegal_address_costs_only_the_points_behind_it(
    make_rig: MakeRig, run_source: Run
) -> None:
    rig = make_rig()

    async def script(request: bytes) -> bytes | None:
        if request[6] == 1 and request[8:10] == struct.pack(">H", 300):
            return request[:4] + b"\0\3" + request[6:7] + b"\x83\x02"
        return await rig.gateway.answer_honestly(request)

    rig.gateway.script = script
    async with run_source(rig.source.run()):
        await rig.polls(16)
    assert rig.bad("d1") == [("R300", Quality.DEVICE_REFUSED)]
    good = [name for name, _, quality in rig.readings("d1") if quality is Quality.GOOD]
    assert set(good) == {"R100", "R102", "R302"}
    assert good.count("R302") == good.count("R100") >= 3, "the search lost no cycle"
    assert rig.bad("d2") == []
    assert rig.gateway.connections == 1
    assert "registers 300-301" in rig.source.state.last_error
    assert "illegal_data_address" in rig.source.state.last_error


async def test_a_register_that_was_missing_is_asked_for_at_once_when_the_link_is_back(
    make_rig: MakeRig, run_source: Run
) -> None:
    """The gateway may have been away to be given new firmware, or to be replaced."""
    rig = make_rig(units=1)
    port = rig.gateway.port

    async def script(request: bytes) -> bytes:
        first, count = struct.unpack(">HH", request[8:12])
        if first <= 100 < first + count:
            return request[:4] + b"\0\3" + request[6:7] + bytes([request[7] | 0x80, 2])
        return await rig.gateway.answer_honestly(request)

    def polls() -> int:
        return sum(name == "R102" for name, _, _ in rig.readings("d1"))

    rig.gateway.script = script
    async with run_source(rig.source.run()):
        await rig.until(lambda: polls() >= 20, 0.2)  # by now it rests for 16 polls at a time
        await rig.gateway.stop()
        await rig.until(lambda: rig.counts["connect_failures"] > 0)
        rig.gateway.script = rig.gateway.answer_honestly
        await rig.gateway.start(port)
        before = polls()
        good = ("R100", 1100.0, Quality.GOOD)
        await rig.until(lambda: good in rig.readings("d1") or polls() > before + 4)
    assert good in rig.readings("d1")


async def test_a_gateway_that_cannot_reach_its_unit_says_so_without_a_reconnect(
    make_rig: MakeRig, run_source: Run
) -> None:
    rig = make_rig()

    async def script(request: bytes) -> bytes | None:
        if request[6] == 1:
            return request[:4] + b"\0\3" + request[6:7] + b"\x83\x0b"
        return await rig.gateway.answer_honestly(request)

    rig.gateway.script = script
    async with run_source(rig.source.run()):
        await rig.until(lambda: len(rig.readings("d2")) >= 12)
    assert [quality for _, quality in rig.bad("d1")] == [Quality.DEVICE_TIMEOUT] * 4
    assert rig.gateway.connections == 1


async def test_thingsboard_2065_values_are_not_sent_again_after_the_link_is_lost(
    make_rig: MakeRig, run_source: Run
) -> None:
    rig = make_rig()
    port = rig.gateway.port
    async with run_source(rig.source.run()):
        await rig.polls(8)
        await rig.gateway.stop()
        await rig.until(lambda: rig.counts["connect_failures"] >= 3)
        lost = len(rig.intake.batches)
        assert not rig.source.state.connected
        await rig.until(lambda: rig.counts["connect_failures"] >= 40, step_s=900.0)
        assert len(rig.intake.batches) == lost, "told once"
        # a long outage does not freeze the polling: thingsboard-gateway#2132
        await rig.gateway.start(port)
        await rig.until(lambda: len(rig.intake.batches) >= lost + 4)
    for device in ("d1", "d2"):
        bad = [quality for _, quality in rig.bad(device)]
        assert bad == [Quality.LINK_LOST] * 4
    sessions = [batch.session for batch in rig.intake.batches]
    assert sessions == sorted(sessions)
    assert len(set(sessions)) == 2
    rig.assert_no_wrong_value_is_good()


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"])
async def test_a_port_that_hangs_up_or_chatters_is_not_called_in_a_tight_loop(
    greeting: bytes, make_rig: MakeRig, run_source: Run
) -> None:
    rig = make_rig()
    rig.gateway.greeting = greeting

    async def hang_up(_: bytes) -> bytes | None:
        return None

    rig.gateway.script = hang_up
    async with run_source(rig.source.run()):
        await rig.until(lambda: rig.clock.monotonic() > 30)
    assert rig.gateway.connections < 60
    assert {name for name, _ in rig.bad("d1")} == {"R100", "R102", "R300", "R302"}
    rig.assert_no_wrong_value_is_good()


async def test_a_slow_journal_holds_the_polling_back_and_nothing_is_dropped(
    make_rig: MakeRig, run_source: Run
) -> None:
    rig = make_rig(max_pending_batches=3)
    rig.intake.hold()
    async with run_source(rig.source.run()):
        await rig.until(lambda: rig.counts["back_pressure"] == 1)
        asked = len(rig.gateway.requests)
        for _ in range(20):
            await rig.clock.advance(1.0)
        assert len(rig.gateway.requests) == asked
        rig.intake.release()
        await rig.polls(8)
    assert [batch.seq for batch in rig.intake.batches] == list(range(1, len(rig.intake.batches) + 1))
    assert rig.counts["overruns"] > 0


async def test_a_journal_that_fails_ends_the_source(make_rig: MakeRig, run_source: Run) -> None:
    rig = make_rig()
    rig.intake.refusal = StorageError("disk full")
    async with run_source(rig.source.run()) as task:
        await rig.until(task.done)
        with pytest.raises(StorageError, match="disk full"):
            await task
    assert not rig.source.state.connected
