"""A change of a running site is made as a whole, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from greenbridge.application import Application, application
from greenbridge.difference import difference
from ingest.audit_chain import Act
from telemetry.clock import SystemClock
from telemetry.errors import StorageError
from tests.greenbridge.test_reload_difference import CONNECTED, DEVICES, PUBLISHER, site

MORE = DEVICES + PUBLISHER.replace("p1", "p2").replace('"SHY"', '"TAS"')
STORE = '[influx]\nurl = "http://127.0.0.1:9"\norg = "o"\nbucket = "b"\ntoken_env = "T"\n'
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
