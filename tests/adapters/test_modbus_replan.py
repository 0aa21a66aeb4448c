"""Devices come, go and change behind a gateway while the others of it are read on."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from adapters.modbus.schedule import Schedule
from telemetry.backoff import Backoff
from telemetry.errors import ConfigError
from telemetry.profiles import DeviceProfile
from telemetry.quality import Quality
from tests.adapters.modbus_rig import MakePoints, MakeRig, Rig, Run


def times_s(rig: Rig, device: str) -> list[float]:
    """When the first point of a device was read [s]."""
    first = next(p.index for p in rig.points if p.key.device == device)
    return [
        at / 1e9
        for batch in rig.intake.batches
        for point, at in zip(batch.point.tolist(), batch.t_source.tolist(), strict=True)
        if point == first
    ]


@pytest.mark.parametrize("window", [1, 4])
async def test_only_the_devices_that_differ_are_touched(
    window: int, make_rig: MakeRig, make_points: MakePoints, address_profile: DeviceProfile, run_source: Run
) -> None:
    rig = make_rig(units=3, window=window)
    # d2 is found at another unit, d3 is gone, d4 is new; the indices are those of the same registry
    names = {"d1": 1, "d2": 7, "d3": 3, "d4": 4}
    every = make_points(*((name, address_profile, unit) for name, unit in names.items()))
    wanted = [point for point in every if point.key.device != "d3"]
    async with run_source(rig.source.run()):
        await rig.polls(18)
        before = len(rig.readings("d3"))
        rig.source.prepared(wanted, {"d2", "d3", "d4"})()
        rig.points = wanted
        asked = len(rig.gateway.requests)
        await rig.until(lambda: rig.gateway.units()[asked:].count(4) >= 6)
    rig.points = every
    assert rig.gateway.connections == 1
    after = set(rig.gateway.units()[asked + window :])
    assert after == {1, 4, 7}
    for healthy in ("d1", "d2", "d4"):
        assert rig.bad(healthy) == []
    steps = [two - one for one, two in pairwise(times_s(rig, "d1"))]
    assert max(steps) < 1.3, "the device that stays misses no turn"
    assert len(rig.readings("d3")) <= before + 4
    assert {value for _, value, _ in rig.readings("d2")} == {
        1000.0 * unit + address for unit in (2, 7) for address in (100, 102, 300, 302)
    }


async def test_a_reply_that_a_changed_device_still_owes_is_made_no_readings_of(
    make_rig: MakeRig, make_points: MakePoints, address_profile: DeviceProfile, run_source: Run
) -> None:
    rig = make_rig(units=2)
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def script(request: bytes) -> bytes | None:
        if request[6] == 2 and not asked.is_set():
            asked.set()
            await go_on.wait()
        return await rig.gateway.answer_honestly(request)

    rig.gateway.script = script
    wanted = make_points(("d1", address_profile, 1), ("d2", address_profile, 5))
    async with run_source(rig.source.run()):
        await rig.until(asked.is_set)
        rig.source.prepared(wanted, {"d2"})()
        rig.points = wanted
        go_on.set()
        await rig.until(lambda: len(rig.readings("d2")) >= 4)
    rig.assert_no_wrong_value_is_good()
    assert rig.counts["polls_superseded"] == 1
    assert rig.gateway.connections == 1


async def test_a_device_that_is_due_every_second_does_not_wait_for_one_that_is_due_every_quarter_of_an_hour(
    make_rig: MakeRig, make_points: MakePoints, address_profile: DeviceProfile, run_source: Run
) -> None:
    slow = address_profile.model_copy(update={"id": "slow", "period_s": 900.0})
    rig = make_rig(units=1)
    rig.source.prepared(make_points(("d1", slow, 1)), {"d1"})()
    async with run_source(rig.source.run()):
        await rig.until(lambda: rig.clock.sleeping > 0)
        wanted = make_points(("d1", slow, 1), ("d2", address_profile, 2))
        rig.source.prepared(wanted, {"d2"})()
        await rig.until(lambda: rig.gateway.units().count(2) >= 4)
        assert rig.clock.monotonic() < 10


async def test_a_new_device_is_told_out_of_reach_when_the_link_is_down(
    make_rig: MakeRig, make_points: MakePoints, address_profile: DeviceProfile, run_source: Run
) -> None:
    rig = make_rig(units=1)
    await rig.gateway.stop()
    async with run_source(rig.source.run()):
        await rig.until(lambda: rig.counts["connect_failures"] >= 2)
        rig.points = make_points(("d1", address_profile, 1), ("d2", address_profile, 2))
        rig.source.prepared(rig.points, {"d2"})()
        await rig.until(lambda: rig.bad("d2") != [])
    assert [quality for _, quality in rig.bad("d1")] == [Quality.LINK_LOST] * 4
    assert [quality for _, quality in rig.bad("d2")] == [Quality.LINK_LOST] * 4


async def test_a_device_that_cannot_be_planned_changes_nothing(
    make_rig: MakeRig, make_points: MakePoints, address_profile: DeviceProfile, run_source: Run
) -> None:
    rig = make_rig(units=1)
    no_modbus = address_profile.model_copy(update={"id": "none", "modbus": None})
    with pytest.raises(ConfigError):
        rig.source.prepared(make_points(("d1", address_profile, 1), ("d2", no_modbus, 2)), {"d2"})
    async with run_source(rig.source.run()):
        await rig.polls(6)
    assert set(rig.gateway.units()) == {1}


def test_how_the_poll_of_a_removed_unit_ends_makes_no_difference() -> None:
    schedule = Schedule({0: [1.0], 1: [1.0]}, {i: Backoff(1.0, 8.0, lambda: 1.0) for i in (0, 1)}, 100.0)
    taken = schedule.take(100.0)
    assert taken is not None
    schedule.remove(taken.unit)
    schedule.add(2, [1.0, 10.0], Backoff(1.0, 8.0, lambda: 1.0), 100.0)
    assert schedule.answered(taken.turn, 100.2) == 0
    schedule.failed(taken.turn, 100.2)
    schedule.postponed(taken.turn, 100.2)
    seen, now = set[int](), 100.2
    for _ in range(20):
        now += schedule.wait_s(now)
        again = schedule.take(now)
        assert again is not None
        seen.add(again.unit)
        schedule.answered(again.turn, now)
    assert seen == {1, 2}
