"""What becomes of readings, marks and rejects when the journal takes them late or not at all."""

from __future__ import annotations

import asyncio
import struct
from functools import partial

import numpy as np
import pytest
from structlog.testing import capture_logs

from adapters.link import LinkState
from adapters.modbus._outlet import Outlet
from adapters.modbus._rejects import Rejects
from adapters.modbus.codec import Doubt, ProtocolDoubtError
from ingest.fakes import FakeIntake
from telemetry.batch import Columns, ReadingBatch
from telemetry.errors import StorageError
from telemetry.quality import Quality
from tests.adapters.modbus_rig import MakeRig, Rig, Run

NAMES = ("R100", "R102", "R300", "R302")
FULL = StorageError("disk full")


async def ends(rig: Rig, task: asyncio.Task[None]) -> None:
    await rig.until(task.done)
    with pytest.raises(StorageError, match="disk full"):
        await task


async def test_a_lost_link_is_told_again_when_the_journal_did_not_keep_it(
    make_rig: MakeRig, run_source: Run
) -> None:
    rig = make_rig()
    async with run_source(rig.source.run()) as task:
        await rig.polls(8)
        rig.intake.refusal = FULL
        await rig.gateway.stop()
        await ends(rig, task)
    assert rig.bad("d1") == rig.bad("d2") == [], "nothing of it became durable"
    rig.intake.refusal = None
    async with run_source(rig.source.run()):
        failures = rig.counts["connect_failures"]
        await rig.until(lambda: rig.counts["connect_failures"] >= failures + 3)
    for device in ("d1", "d2"):
        assert rig.bad(device) == [(name, Quality.LINK_LOST) for name in NAMES]


async def test_the_loss_of_marks_is_noticed_although_there_is_nothing_more_to_tell(
    make_rig: MakeRig, run_source: Run
) -> None:
    """A silent unit is all there is: no later batch would bring the failed commit to light."""
    rig = make_rig(units=1)

    async def silent(_: bytes) -> bytes | None:
        return b""

    rig.gateway.script = silent
    rig.intake.refusal = FULL
    async with run_source(rig.source.run()) as task:
        await ends(rig, task)
    rig.intake.refusal = None
    async with run_source(rig.source.run()):
        await rig.until(lambda: rig.bad("d1") != [])
    assert rig.bad("d1") == [(name, Quality.DEVICE_TIMEOUT) for name in NAMES]
    assert rig.counts["batches_given_up"] == 1


async def test_a_reject_is_kept_later_when_it_could_not_be_kept_at_first(
    make_rig: MakeRig, run_source: Run
) -> None:
    rig = make_rig(units=1)

    async def lie(request: bytes) -> bytes | None:
        return b"\0\0" + (await rig.gateway.answer_honestly(request))[2:]

    rig.gateway.script = lie
    rig.intake.refusal = FULL
    async with run_source(rig.source.run()) as task:
        await ends(rig, task)
    rig.intake.refusal = None
    assert rig.intake.letters == []
    async with run_source(rig.source.run()):
        await rig.until(lambda: rig.counts["rejected"] >= 4)
    assert [letter.reason for letter in rig.intake.letters] == ["modbus_transaction"]


def batch(seq: int) -> ReadingBatch:
    columns = Columns.of([seq], np.array([seq]), np.array([1.0]), np.array([0]))
    return ReadingBatch(
        "modbus/gw", 1, seq, 0, columns.point, columns.t_source, columns.value, columns.quality
    )


async def test_batches_of_several_lanes_keep_their_order_at_the_limit() -> None:
    intake, link = FakeIntake(), LinkState("modbus/gw")
    outlet = Outlet(intake, 1, link)
    intake.hold()
    puts = [asyncio.create_task(outlet.put(partial(batch, seq))) for seq in range(1, 6)]
    for _ in range(10):
        await asyncio.wait(puts, timeout=0)
    assert sum(put.done() for put in puts) == 1, "one commit is under way, the others wait"
    intake.release()
    await asyncio.gather(*puts)
    await intake.wait_for(batches=5)
    await outlet.close()
    assert [made.seq for made in intake.batches] == [1, 2, 3, 4, 5]
    assert link.counts["batches_given_up"] == 0


async def test_every_batch_that_did_not_become_durable_is_counted() -> None:
    intake, link = FakeIntake(), LinkState("modbus/gw")
    outlet = Outlet(intake, 2, link)
    intake.hold()
    intake.refusal = FULL
    puts = [asyncio.create_task(outlet.put(partial(batch, seq))) for seq in range(1, 5)]
    await asyncio.wait(puts, timeout=0)
    intake.release()
    outcomes = await asyncio.gather(*puts, return_exceptions=True)
    assert [isinstance(outcome, StorageError) for outcome in outcomes] == [False, False, True, True]
    with pytest.raises(StorageError):
        outlet.check()
    await outlet.close()
    assert link.counts["batches_given_up"] == 4


async def test_a_commit_that_does_not_end_is_given_up_and_counted() -> None:
    intake, link = FakeIntake(), LinkState("modbus/gw")
    outlet = Outlet(intake, 2, link, last_s=0.01)
    await outlet.put(partial(batch, 1))
    await intake.wait_for(batches=1)
    outlet.check()
    intake.hold()
    await outlet.put(partial(batch, 2))
    await outlet.close()
    assert link.counts["batches_given_up"] == 1


async def test_what_was_left_at_the_end_is_committed_in_its_order() -> None:
    intake, link = FakeIntake(), LinkState("modbus/gw")
    outlet = Outlet(intake, 1, link)
    intake.hold()
    puts = [asyncio.create_task(outlet.put(partial(batch, seq))) for seq in (1, 2, 3)]
    await asyncio.wait(puts, timeout=0.001)
    for put in puts:
        put.cancel()
    await asyncio.gather(*puts, return_exceptions=True)
    outlet.leave(partial(batch, 4))
    closing = asyncio.create_task(outlet.close())
    await asyncio.wait({closing}, timeout=0.001)
    intake.release()
    await closing
    assert [made.seq for made in intake.batches] == [1, 2, 3, 4]
    assert link.counts["batches_given_up"] == 0


async def test_what_was_read_of_a_device_is_kept_when_the_source_is_ended(
    make_rig: MakeRig, run_source: Run
) -> None:
    """The profile takes two reads: the first is answered, the second under way."""
    rig = make_rig(units=1)
    asked = asyncio.Event()

    async def script(request: bytes) -> bytes | None:
        if len(rig.gateway.requests) == 2:
            asked.set()
            return b""
        return await rig.gateway.answer_honestly(request)

    rig.gateway.script = script
    async with run_source(rig.source.run()):
        await rig.until(asked.is_set)
        assert rig.intake.batches == []
    assert rig.readings("d1") == [("R100", 1100.0, Quality.GOOD), ("R102", 1102.0, Quality.GOOD)]


async def test_a_reject_names_its_origin_and_repeats_are_logged_once_and_counted(
    make_rig: MakeRig, run_source: Run
) -> None:
    rig = make_rig(units=1)

    async def lie(request: bytes) -> bytes | None:
        reply = await rig.gateway.answer_honestly(request)
        return reply[:7] + b"\x04" + reply[8:]

    rig.gateway.script = lie
    with capture_logs() as logs:
        async with run_source(rig.source.run()):
            await rig.until(lambda: rig.counts["rejected"] >= 5)
    (letter,) = rig.intake.letters
    assert (letter.source, letter.address) == ("modbus/gw", "d1: unit 1 holding 100+4")
    assert letter.reason == "modbus_function"
    assert "function code 4 where 3 is due" in letter.detail
    assert letter.payload == b"\x04\x08" + struct.pack(">ff", 1100, 1102)
    assert letter.size == 10
    (logged,) = [line for line in logs if line["event"] == "modbus_reply_rejected"]
    assert (logged["link"], logged["device"], logged["reason"]) == ("modbus/gw", "d1", "function")
    assert logged["address"] == "unit 1 holding 100+4"
    assert logged["first_bytes"].startswith("04 08 44 89 80 00")
    assert rig.counts["rejected_again"] == rig.counts["rejected"] - 1


async def test_rejects_of_other_kinds_are_each_kept() -> None:
    intake, link = FakeIntake(), LinkState("modbus/gw")
    rejects = Rejects(link, intake)
    for reason in (Doubt.UNIT, Doubt.LENGTH, Doubt.UNIT):
        for device in ("a", "b"):
            await rejects.add(0, device, "unit 1", ProtocolDoubtError(reason, "x", b"y" * 100))
    assert [(x.address, x.reason) for x in intake.letters] == [
        ("a: unit 1", "modbus_unit"),
        ("b: unit 1", "modbus_unit"),
        ("a: unit 1", "modbus_length"),
        ("b: unit 1", "modbus_length"),
    ]
    assert {(len(x.payload), x.size) for x in intake.letters} == {(64, 100)}
    assert (link.counts["rejected"], link.counts["rejected_again"]) == (6, 2)
