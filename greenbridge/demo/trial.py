"""The demonstration without people: acts as the operator and judges whether every promise was kept."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from aiohttp import web

from greenbridge.demo.ledger import store_facts
from greenbridge.demo.operator import ConsoleClient, console_client
from greenbridge.demo.report import Check, TrialReport
from greenbridge.demo.show import log_entry
from greenbridge.demo.supervisor import Options, Running, demonstration
from greenbridge.settings import load
from ingest.journal.points import declare
from telemetry.clock import Clock
from telemetry.errors import UnavailableError

MIN_TRIAL_S = 180.0
"""From when all runs: a minute to the tap, one more to its alarm, half of one from its end to normal."""
_TAP_AT_S = 60.0
_TAP_ENDS_BEFORE_END_S = 50.0
_READY_WITHIN_S = 30.0
_ALARM_WITHIN_S = 90.0
_TICK_S = 0.5
_EXPECTED = "R6/SHY-TAS"


class _Watch:
    """What was seen while the trial ran."""

    def __init__(self) -> None:
        self.ready_s: float | None = None
        self.alarms: dict[str, dict[str, Any]] = {}
        self.states: dict[str, list[str]] = {}
        self.acknowledged: dict[str, Any] = {}
        self.posts: list[dict[str, Any]] = []
        self.logged: list[dict[str, Any]] = []
        self.status: dict[str, Any] = {}
        self.announcements: list[dict[str, Any]] = []

    def see(self, alarm: dict[str, Any]) -> None:
        states = self.states.setdefault(alarm["id"], [])
        if not states or states[-1] != alarm["state"]:
            states.append(alarm["state"])
        self.alarms[alarm["id"]] = alarm


async def trial(options: Options, clock: Clock, for_s: float) -> TrialReport:
    """Runs the demonstration for a time [s] once all its parts run, acknowledges what comes up, and reports.

    Raises
    ------
    GreenbridgeError
        The demonstration cannot be started.

    """
    watch = _Watch()
    tap_for_s = for_s - _TAP_AT_S - _TAP_ENDS_BEFORE_END_S
    begun = clock.monotonic()
    async with _webhook(watch) as address:
        options = dataclasses.replace(options, tap_for_s=tap_for_s, webhook=address)
        async with demonstration(options, clock) as running, console_client(running.console_url) as client:
            await client.sign_in(running.token)
            all_run = clock.monotonic()
            while clock.monotonic() - all_run < for_s:
                _read_log(running, watch)
                with contextlib.suppress(UnavailableError):
                    await _look(client, watch, clock.monotonic() - begun)
                await clock.sleep(_TICK_S)
            _read_log(running, watch)
            restarts = {name: child.restarts for name, child in running.children.items()}
            for alarm in await client.get("/api/v1/alarms/history"):
                watch.see(alarm)
    data = options.state / "data"
    facts = store_facts(data / "store.duckdb", _periods(data))
    return _judged(watch, facts, for_s, restarts)


def _periods(data: Path) -> dict[int, float]:
    """Expected time between two readings of each point of the demonstration [s]; some only report changes."""
    configuration = load("corridor")
    site = configuration.site(declare(data / "points.sqlite", configuration.keys()))
    return {
        point.index: point.profile.period_of(point.key.name)
        for point in site.points.values()
        if not point.profile.by_exception
    }


async def _look(client: ConsoleClient, watch: _Watch, elapsed_s: float) -> None:
    """One turn of the operator: status, alarms, and an acknowledgement for each new one."""
    watch.status = await client.get("/api/v1/status")
    if watch.ready_s is None and watch.status["devices_seen"] == watch.status["devices"]:
        watch.ready_s = elapsed_s
    watch.announcements = await client.get("/api/v1/announcements") or watch.announcements
    for alarm in (await client.get("/api/v1/alarms"))["alarms"]:
        watch.see(alarm)
        if alarm["state"] == "unacknowledged" and alarm["id"] not in watch.acknowledged:
            answer = await client.post(
                f"/api/v1/alarms/{alarm['id']}/acknowledge", {"comment": "seen by the trial"}
            )
            watch.acknowledged[alarm["id"]] = answer
            watch.see(answer)


def _read_log(running: Running, watch: _Watch) -> None:
    while not running.lines.empty():
        _, line = running.lines.get_nowait()
        entry = log_entry(line)
        if entry.get("event") == "alarm_notification":
            watch.logged.append(entry)


@contextlib.asynccontextmanager
async def _webhook(watch: _Watch) -> AsyncIterator[str]:
    """A receiver of notifications on loopback."""

    async def receive(request: web.Request) -> web.Response:
        watch.posts.append(msgspec.json.decode(await request.read(), type=dict[str, Any]))
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/notify", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}/notify"
    finally:
        await runner.cleanup()


def _judged(
    watch: _Watch, facts: Mapping[str, Any], seconds: float, restarts: Mapping[str, int]
) -> TrialReport:
    status = watch.status
    stores: Sequence[Mapping[str, Any]] = status.get("stores", ())
    durable = status.get("read_to_durable", {})
    delays = [float(a["raised_at"] - a["t_source"]) for a in watch.alarms.values()]
    to_alarm = {f"p{q}": round(float(np.percentile(delays, q)), 1) if delays else None for q in (50, 99)}
    return TrialReport(
        seconds=seconds,
        devices={"configured": status.get("devices", 0), "seen": status.get("devices_seen", 0)},
        conservation=stores,
        rows_in_store=facts["rows"],
        gaps=facts["gaps"],
        latency_ms={
            "read_to_durable": {
                f"p{q}": None if durable.get(f"p{q}_s") is None else round(1000 * durable[f"p{q}_s"], 1)
                for q in (50, 99)
            },
            "read_to_alarm": to_alarm,
        },
        alarms=[{**alarm, "states": watch.states[key]} for key, alarm in watch.alarms.items()],
        announcements=watch.announcements,
        restarts=restarts,
        checks=tuple(_checks(watch, facts, stores, restarts)),
    )


def _checks(
    watch: _Watch, facts: Mapping[str, Any], stores: Sequence[Mapping[str, Any]], restarts: Mapping[str, int]
) -> Iterator[Check]:
    ready = watch.ready_s
    yield Check(
        f"every device is live within {_READY_WITHIN_S:.0f} s",
        ready is not None and ready <= _READY_WITHIN_S,
        f"{watch.status.get('devices_seen', 0)} of {watch.status.get('devices', 0)}"
        + (f" after {ready:.1f} s" if ready is not None else ""),
    )
    unaccounted = {store["name"]: store["unaccounted"] for store in stores}
    yield Check(
        "every reading is accounted for",
        bool(stores) and all(store["holds"] for store in stores),
        ", ".join(f"{name}: {count} unaccounted" for name, count in unaccounted.items())
        or "no store reported",
    )
    yield Check("no reading is stored twice", facts["keys_twice"] == 0, f"{facts['keys_twice']} keys twice")
    yield Check("no gap in any point", facts["gaps"]["count"] == 0, f"{facts['gaps']['count']} gaps")
    yield Check(
        "no child died", not any(restarts.values()), ", ".join(f"{k} {v}" for k, v in restarts.items())
    )
    others = [alarm["title"] for alarm in watch.alarms.values() if alarm["key"] != _EXPECTED]
    yield Check("no other alarm rose", not others, "; ".join(others) or "none")
    expected = [alarm for alarm in watch.alarms.values() if alarm["key"] == _EXPECTED]
    yield Check(f"one alarm {_EXPECTED}", len(expected) == 1, f"{len(expected)} raised")
    if len(expected) == 1:
        yield from _alarm_checks(watch, expected[0])


def _alarm_checks(watch: _Watch, alarm: Mapping[str, Any]) -> Iterator[Check]:
    tap = next((entry["t"] for entry in watch.announcements if "tap" in entry["text"]), None)
    delay = None if tap is None else (alarm["raised_at"] - tap) / 1000
    yield Check(
        f"raised within {_ALARM_WITHIN_S:.0f} s of the announced tap",
        delay is not None and 0 <= delay <= _ALARM_WITHIN_S,
        "the tap was not announced" if delay is None else f"after {delay:.1f} s",
    )
    value, limit = alarm["value"], alarm["limit"]
    yield Check(
        "it says how much, over which limit, on what evidence and what to do",
        value is not None and limit is not None and bool(alarm["evidence"]) and bool(alarm["response"]),
        f"{alarm['title']}: limit {limit} {alarm['unit']}, {len(alarm['evidence'])} pieces of evidence",
    )
    raised = [p for p in watch.posts if p["alarm"]["id"] == alarm["id"] and p["occasion"] == "raised"]
    yield Check("the webhook received it once", len(raised) == 1, f"{len(raised)} received")
    logged = [e for e in watch.logged if e["alarm"] == alarm["id"] and e["occasion"] == "raised"]
    yield Check("the log holds it once", len(logged) == 1, f"{len(logged)} lines")
    yield Check(
        "acknowledging it works",
        watch.acknowledged.get(alarm["id"], {}).get("state") == "acknowledged",
        "comment: " + str(alarm["comment"]),
    )
    yield Check("it returned to normal", alarm["state"] == "normal", " > ".join(watch.states[alarm["id"]]))
