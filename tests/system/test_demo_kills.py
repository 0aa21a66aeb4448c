"""Kills the greenbridge child of a running demonstration and counts what came through."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from greenbridge.demo.ledger import view_readings
from greenbridge.demo.operator import ConsoleClient
from greenbridge.demo.supervisor import Running
from ingest.journal.points import declare
from telemetry.errors import UnavailableError
from tests.support.demo import CLOCK, demo, signed_in

KILLS = 3
GUARD_S = 170

# device (last but one level of the topic) and payload member to the point that it becomes
MEMBERS = {"p_mw": ("TotW", "W"), "q_mvar": ("TotVAr", "VAr"), "f_hz": ("Hz",), "online": ("OnlCnt",)}


async def alarms(client: ConsoleClient) -> list[dict[str, Any]]:
    """Open alarms; asks again while the console is down."""
    while True:
        try:
            found: list[dict[str, Any]] = (await client.get("/api/v1/alarms"))["alarms"]
        except UnavailableError:
            await CLOCK.sleep(0.2)
        else:
            return found


async def kill(running: Running, seed: int) -> None:
    """Kills the greenbridge child at a random moment and waits until its successor serves."""
    await CLOCK.sleep(random.Random(seed).uniform(1.0, 5.0))  # noqa: S311 - a moment, not a secret
    child = running.children["greenbridge"]
    before = child.restarts
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    while child.restarts == before or child.pid is None:
        await CLOCK.sleep(0.05)


async def drained(client: ConsoleClient) -> None:
    """Waits until nothing new has been committed for three looks and the store has everything."""
    seen: list[int] = []
    while len(seen) < 3:
        status = await client.get("/api/v1/status")
        (store,) = status["stores"]
        assert store["unaccounted"] == 0
        if store["pending"] or (seen and seen[-1] != status["readings"]):
            seen.clear()
        else:
            seen.append(status["readings"])
        await CLOCK.sleep(1.1)


def acknowledged(ledger: Path) -> set[tuple[str, int, str, float]]:
    """What the broker acknowledged to the publisher: (device, source time [ms], member, value)."""
    found = set()
    for line in ledger.read_bytes().splitlines():
        entry = msgspec.json.decode(line)
        device = entry["topic"].split("/")[3]
        found |= {
            (device, entry["ts"], member, float(entry[member])) for member in MEMBERS if member in entry
        }
    return found


def stored(state: Path) -> dict[tuple[str, int, str], list[float]]:
    """Every stored reading of the members: (device, source time [ms], member) to its values."""
    names = {name: member for member, points in MEMBERS.items() for name in points}
    registry = declare(state / "points.sqlite")
    keys = {index: registry.key(index) for index in range(len(registry))}
    with duckdb.connect(str(state / "store.duckdb"), read_only=True) as db:
        view_readings(db)
        rows = db.execute("SELECT point, t_source, value FROM reading").fetchall()
    found: dict[tuple[str, int, str], list[float]] = {}
    for point, t_source, value in rows:
        key = keys[point]
        if key.name in names:
            found.setdefault((key.device, t_source // 1_000_000, names[key.name]), []).append(value)
    return found


@pytest.mark.system("mosquitto")
async def test_three_kills_lose_no_acknowledged_message_and_no_alarm(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    async with (
        asyncio.timeout(GUARD_S),
        demo(tmp_path / "demo", tap_at_s=5, tap_for_s=100, ledger=ledger, broker="mosquitto") as running,
        signed_in(running) as client,
    ):
        while not (open_alarms := await alarms(client)):
            await CLOCK.sleep(0.5)
        assert [alarm["key"] for alarm in open_alarms] == ["R6/SHY-TAS"]
        first = open_alarms[0]
        await client.post(f"/api/v1/alarms/{first['id']}/acknowledge", {"comment": "on it"})
        for seed in range(KILLS):
            await kill(running, seed)
            after = await alarms(client)
            assert [(alarm["id"], alarm["comment"]) for alarm in after] == [(first["id"], "on it")]
        while await alarms(client):
            await CLOCK.sleep(0.5)
        history = await client.get("/api/v1/alarms/history")
        assert [(alarm["id"], alarm["state"]) for alarm in history] == [(first["id"], "normal")]
        # the publisher ends first; what the broker took over before must come through
        await running.children["simulators"].stop(5)
        await drained(client)
    expected = acknowledged(ledger)
    assert running.children["greenbridge"].restarts == KILLS
    held = stored(tmp_path / "demo" / "data")
    assert len(expected) > 5000
    lost = [entry for entry in expected if held.get(entry[:3]) != [entry[3]]]
    assert not lost, f"{len(lost)} of {len(expected)} not stored exactly once, for example {sorted(lost)[:5]}"
    raised = (tmp_path / "demo" / "logs" / "greenbridge.log").read_bytes().count(b'"occasion": "raised"')
    assert raised == 1
