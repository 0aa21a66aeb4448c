"""What users of other Modbus software report of it, one test for each; the README says which is which.

Where another file holds the subject, its test is named in the README's table instead.
"""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress

import numpy as np
import pytest

from adapters.modbus._connection import opener
from adapters.modbus.codec import Request
from adapters.modbus.config import GatewaySettings
from adapters.modbus.decoding import BlockDecoder, Slot
from adapters.modbus.sunspec.models import models
from telemetry.profiles import RegisterTable, RegisterType, WordOrder
from telemetry.quality import Quality
from tests.adapters.conftest import honest
from tests.adapters.modbus_rig import Gateway, MakePoints, MakeRig, Run
from tests.adapters.test_modbus_timeline import Timeline, strays


def illegal(request: bytes) -> bytes:
    return request[:4] + b"\0\3" + request[6:7] + bytes([request[7] | 0x80, 2])


async def test_pymodbus_475_a_cancelled_request_leaves_its_reply_to_nobody(gateway: Gateway) -> None:
    """Its user got the registers of another slave after a task was cancelled."""
    arrived, resume = asyncio.Event(), asyncio.Event()

    async def slow(request: bytes) -> bytes:
        arrived.set()
        await resume.wait()
        return await gateway.answer_honestly(request)

    gateway.script = slow
    connect = opener(GatewaySettings(id="gw", host="127.0.0.1", port=gateway.port))
    async with await connect() as link:
        asking = asyncio.create_task(link.ask(Request(1, 1, RegisterTable.HOLDING, 100, 4), 5.0))
        await arrived.wait()
        asking.cancel()
        await asyncio.wait([asking])
        resume.set()
        assert not link.alive, "the reply is on its way, so the connection is of no use any more"
        with suppress(Exception):
            assert await link.ask(Request(1, 2, RegisterTable.HOLDING, 300, 4), 1.0) == b"", "no reply at all"
    async with await connect() as link:
        query = Request(1, 2, RegisterTable.HOLDING, 300, 4)
        frame = struct.pack(">HHHB", 1, 0, 6, 2) + query.pdu()
        assert await link.ask(query, 1.0) == honest(frame)[9:]


async def test_telegraf_a_failing_register_does_not_discard_the_poll_cycle(
    make_rig: MakeRig, run_source: Run
) -> None:
    rig = make_rig(units=1)

    async def script(request: bytes) -> bytes:
        first, count = struct.unpack(">HH", request[8:12])
        bad = first <= 100 < first + count
        return illegal(request) if bad else await rig.gateway.answer_honestly(request)

    rig.gateway.script = script
    async with run_source(rig.source.run()):
        await rig.until(lambda: len(rig.readings("d1")) >= 4)
    names = [name for name, _, quality in rig.readings("d1") if quality is Quality.GOOD]
    assert set(names[:3]) == {"R102", "R300", "R302"}, "in the very first cycle"
    rig.assert_no_wrong_value_is_good()


async def test_thingsboard_a_dropped_chunk_does_not_shift_the_registers_behind_it(
    make_rig: MakeRig, run_source: Run
) -> None:
    """Each value knows its address: what is missing before it changes nothing."""
    rig = make_rig(units=2)

    async def script(request: bytes) -> bytes:
        refused = request[6] == 1 and request[8:10] == struct.pack(">H", 100)
        return illegal(request) if refused else await rig.gateway.answer_honestly(request)

    rig.gateway.script = script
    async with run_source(rig.source.run()):
        await rig.until(lambda: len(rig.readings("d1")) >= 8)
    rig.assert_no_wrong_value_is_good()
    good = {name: value for name, value, quality in rig.readings("d1") if quality is Quality.GOOD}
    assert good == {"R102": 1102.0, "R300": 1300.0, "R302": 1302.0}


@pytest.mark.parametrize("window", [1, 4])
async def test_telegraf_each_read_has_its_own_time_not_that_of_the_last(
    window: int, make_points: MakePoints, run_source: Run
) -> None:
    timeline = Timeline(make_points, {1: 0.2}, periods_s=dict.fromkeys("ABC", 1.0), window=window)
    async with run_source(timeline.source.run()):
        await timeline.clock.advance(1.9)
    (batch, *_) = timeline.intake.batches
    assert np.diff(batch.t_source).tolist() == pytest.approx([200_000_000, 200_000_000], abs=1)


async def test_thingsboard_1944_many_devices_behind_one_gateway_are_read_in_time_and_whole(
    make_points: MakePoints, run_source: Run
) -> None:
    """Its user had 130 devices, each read in pieces of 16 registers, and time-outs."""
    periods = {f"P{i}": 1.0 for i in range(12)}
    timeline = Timeline(make_points, dict.fromkeys(range(1, 131), 0.005), periods_s=periods, max_gap=10)
    async with run_source(timeline.source.run()):
        await timeline.clock.advance(5)
    for unit in range(1, 131):
        times = timeline.line.times(unit)
        assert len(times) == 5, "one read of 111 registers in each period"
        assert max(strays(times, 1.0)) < 0.1
    assert timeline.source.state.counts["overruns"] == timeline.source.state.counts["timeouts"] == 0


async def test_telegraf_16293_after_a_reconnect_readings_flow_again(
    make_rig: MakeRig, run_source: Run
) -> None:
    rig = make_rig()
    port = rig.gateway.port
    async with run_source(rig.source.run()):
        await rig.polls(8)
        for _ in range(3):
            await rig.gateway.stop()
            await rig.until(lambda: not rig.source.state.connected)
            await rig.gateway.start(port)
            before = len(rig.readings("d2"))
            await rig.until(lambda: rig.source.state.connected)
            await rig.until(lambda seen=before: len(rig.readings("d2")) >= seen + 8)  # type: ignore[misc]
    assert rig.readings("d2")[-1][2] is Quality.GOOD
    rig.assert_no_wrong_value_is_good()


@pytest.mark.parametrize(("changes", "most"), [({}, 1), ({"window": 8}, 8)], ids=["default", "window of 8"])
async def test_pymodbus_s_server_loses_pipelined_requests_so_one_is_in_flight_by_default(
    changes: dict[str, int], most: int, make_points: MakePoints, run_source: Run
) -> None:
    takes, periods = dict.fromkeys(range(1, 7), 0.2), dict.fromkeys("ABC", 1.0)
    timeline = Timeline(make_points, takes, periods_s=periods, **changes)  # type: ignore[arg-type]
    async with run_source(timeline.source.run()):
        await timeline.clock.advance(5)
    assert timeline.line.most_flying == most


def test_an_int16_holds_500_mw_with_a_scale_factor_of_5() -> None:
    slot = Slot(0, RegisterType.INT16, scale=1e-6, scale_from=1)
    value, _ = BlockDecoder([slot], WordOrder.BIG).decode(struct.pack(">hh", 5000, 5))
    assert value.tolist() == pytest.approx([500.0])


def test_an_acc32_is_exact_up_to_its_rollover() -> None:
    """It rolls over at 4.29 GWh; what a rollover means is the rules' to say."""
    slot = Slot(0, RegisterType.ACC32, scale_from=2)
    decoder = BlockDecoder([slot], WordOrder.BIG)
    for raw in (2**32 - 1, 2**32 - 2, 1):
        assert decoder.decode(struct.pack(">Ih", raw, 0))[0].tolist() == [float(raw)]


def test_states_of_model_701_are_not_those_of_103() -> None:
    assert models()[103].points["St"].states[3] == "STARTING"
    assert models()[701].points["InvSt"].states[3] == "RUNNING"
