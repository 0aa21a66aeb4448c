"""A change of a running site is made as a whole, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from greenbridge.application import Application, application
from greenbridge.difference import difference
from greenbridge.settings import Configuration
from ingest.audit_chain import Act
from telemetry.batch import ReadingBatch
from telemetry.clock import SystemClock
from telemetry.errors import StorageError
from telemetry.points import Deadband
from tests.greenbridge.test_reload_difference import CONNECTED, DEVICES, PUBLISHER, site

MORE = DEVICES + PUBLISHER.replace("p1", "p2").replace('"SHY"', '"TAS"')
STORE = '[influx]\nurl = "http://127.0.0.1:9"\norg = "o"\nbucket = "b"\ntoken_env = "T"\n'
SECOND = 1_000_000_000
ENVIRONMENT = {"MQTT_PASSWORD": "x", "T": "t"}


async def unaudited(_: Act) -> None:
    return


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Application]:
    state = tmp_path / "state"
    state.mkdir()
    begun = application(site(tmp_path), state, SystemClock(), ENVIRONMENT, unaudited)
    async with asyncio.timeout(30), begun as made:
        task = asyncio.create_task(made.run())
        yield made
        task.cancel()
        await asyncio.wait({task})


def parts(running: Application) -> list[str]:
    return sorted(task.name for task in running._supervisor.status)


async def test_what_cannot_be_audited_or_prepared_is_not_begun(running: Application, tmp_path: Path) -> None:
    before, names = running.configuration, parts(running)
    wanted = site(tmp_path, CONNECTED + STORE, MORE)
    found = difference(before, wanted)

    async def full() -> None:
        raise StorageError("audit cannot be written: disk full")

    async def done() -> None:
        return

    with pytest.raises(StorageError, match="disk full"):
        await running.apply(wanted, found, full)
    assert (running.configuration, parts(running)) == (before, names)
    assert "p2" not in running.site.devices

    await running.apply(wanted, found, done)
    assert running.configuration is wanted
    assert set(parts(running)) - set(names) == {"pump/influx", "events/influx"}
    assert "p2" in running.site.devices


def with_deadband(configuration: Configuration, name: str) -> Configuration:
    """The same with a deadband for the first point of a profile."""
    profile = configuration.profiles[name]
    point, spec = next(iter(profile.points.items()))
    thinned = spec.model_copy(update={"deadband": Deadband(absolute=0.5)})
    points = profile.points | {point: thinned}
    profiles = {**configuration.profiles, name: profile.model_copy(update={"points": points})}
    return replace(configuration, profiles=profiles)


async def test_a_deadband_of_a_changed_profile_thins_the_store_from_then_on(running: Application) -> None:
    async def done() -> None:
        return

    async def suppressed_after(seq: int) -> int:
        """Hands over a reading that says what the last one said; returns how many were left out so far."""
        point = next(p for p in running.site.points.values() if p.key.device == "p1")
        t = later + seq * SECOND
        batch = ReadingBatch.of("t", 1, seq, t, point=[point.index], t_source=[t], value=[1.0], quality=[0])
        committed = await running._intake.submit(batch)
        while (await running._embedded.position()).offset < committed.offset:
            await SystemClock().sleep(0.01)
        return (await running._embedded.position()).totals.suppressed

    # what its link reports as lost meanwhile is older and passes
    later = SystemClock().now_ns() + 3600 * SECOND
    assert [await suppressed_after(seq) for seq in (0, 1)] == [0, 0]
    before = running.configuration
    wanted = with_deadband(before, "bus-meter")
    await running.apply(wanted, difference(before, wanted), done)
    assert [await suppressed_after(seq) for seq in (2, 3)] == [1, 2]
    await running.apply(before, difference(wanted, before), done)
    assert await suppressed_after(4) == 2
