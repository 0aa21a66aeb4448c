"""Every query of every panel, asked of a real InfluxDB that holds what the simulated corridor measured."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from alerts.alarms import Alarm, AlarmState, Priority
from alerts.journal import AlarmJournal, Progress
from alerts.lifecycle import Event
from alerts.occurrence import Change
from alerts.settlement.interval import AccountKind, EnergyQuality, Interval
from greenbridge.settings import Configuration
from ingest.config import InfluxSettings
from ingest.fakes import FakeCursors, FakeJournal, FakeLetters
from ingest.stores.influx.store import InfluxStore
from simulators.bench import load_file
from simulators.state import BenchState
from telemetry.batch import ReadingBatch
from telemetry.clock import ManualClock
from telemetry.quality import Quality
from telemetry.registry import PointRegistry
from telemetry.site import Site
from tests.support.influx import InfluxBench

DOCUMENT = json.loads((Path(__file__).parents[2] / "grafana/generated/corridor.json").read_text())
SECOND = 1_000_000_000
START = 1_767_268_800 * SECOND  # 2026-01-01 12:00 UTC
LENGTH_S = 120
TAP = ("SHY-TAS", 30.0, 60)
"""Line, size [MW] and start [s] of the simulated tap."""
SILENT = ("NAV-BUK_BUK_main", 30, 50)
"""A meter that is silent in between [s]."""
BROKEN = ("TAS_injection", "zarafshan-wind")
"""Devices whose values are bad throughout."""

MEMBERS = {"TotW": "p_mw", "W": "p_mw", "TotVAr": "q_mvar", "VAr": "q_mvar", "PPV": "v_kv", "Hz": "f_hz"}


def measured(site: Site) -> Iterator[ReadingBatch]:
    """What the simulated corridor measures in two minutes, with a tap in the second one."""
    bench = load_file(None, {"GB_TAP_AT_S": str(TAP[2]), "GB_TAP_MW": str(TAP[1])})
    state = BenchState(bench, START)
    rows: list[tuple[int, int, float, int]] = []
    for second in range(1, LENGTH_S + 1):
        now = START + second * SECOND
        state.step(second, now)
        for device, reading in zip(state.metered, state.readings, strict=True):
            if device.id == SILENT[0] and SILENT[1] <= second < SILENT[2]:
                continue
            broken = device.id in BROKEN
            quality = Quality.OUT_OF_RANGE if broken else Quality.GOOD
            for one in site.points_of(device.id):
                member = MEMBERS.get(one.key.name)
                if member is not None:
                    rows.append((one.index, now, 1e6 if broken else getattr(reading, member), quality))
        if second % 30 == 0:
            point, t_source, value, code = zip(*rows, strict=True)
            yield ReadingBatch.of(
                "bench", 1, second, now, point=point, t_source=t_source, value=value, quality=code
            )
            rows = []


def alarm(rule: str, asset: str, raised_s: int) -> Alarm:
    at = START + raised_s * SECOND
    return Alarm(
        id=f"{rule}-{asset}-1", key=f"{rule}/{asset}", rule=rule, rule_version=1, asset=asset, area="KZ",
        title=f"{asset} is wrong", priority=Priority.MEDIUM, state=AlarmState.UNACKNOWLEDGED, value=29.8,
        limit=3.1, unit="MW", quality="good", t_source=at, t_received=at, raised_at=at, updated_at=at,
    )  # fmt: skip


def steps(raised: Alarm, *further: tuple[Event, AlarmState]) -> list[Change]:
    """The life of an alarm, one step every ten seconds."""
    changes = [Change(Event.RAISE, "", AlarmState.NORMAL, raised)]
    for event, state in further:
        before = changes[-1].alarm
        after = replace(before, state=state, updated_at=before.updated_at + 10 * SECOND)
        changes.append(Change(event, "", before.state, after))
    return changes


def intervals() -> Iterator[Interval]:
    """A quarter of an hour of a tie with a revision, and of a contract."""
    energies = (200.0, 199.0, None, -1.0, None, 4.7, 100.0)
    tie = Interval(
        "AKT-ALT", AccountKind.TIE, "KZ", 15, START, *energies, EnergyQuality.BRIDGED, reason="closed"
    )
    yield tie
    yield replace(tie, metered_mwh=201.5, inadvertent_mwh=1.5, revision=1, reason="late data")
    yield replace(tie, account="UZ-AZ-transit", kind=AccountKind.CONTRACT, wheeled_mwh=125.0)


@dataclass
class Filled:
    bench: InfluxBench
    panels: dict[str, dict[str, Any]]

    async def ask(self, query: str, interval_s: int = 10) -> list[dict[str, Any]]:
        """Series of a query, asked as Grafana asks."""
        first, last = START // 1_000_000, (START + LENGTH_S * SECOND) // 1_000_000
        window = f"time >= {first}ms and time <= {last}ms"
        text = query.replace("$timeFilter", window).replace("$__interval", f"{interval_s}s")
        assert "$" not in text
        header = {"Authorization": f"Token {self.bench.token}"}
        parameters = {"db": self.bench.bucket, "q": text, "epoch": "ms"}
        async with (
            aiohttp.ClientSession(headers=header) as session,
            session.get(f"{self.bench.url}/query", params=parameters) as answer,
        ):
            [result] = json.loads(await answer.read())["results"]
        assert "error" not in result, (text, result)
        series: list[dict[str, Any]] = result.get("series", [])
        return series

    async def values(self, title: str, alias: str = "") -> dict[int, float]:
        """Values by second of one series of a panel."""
        [query] = [
            target["query"]
            for target in self.panels[title]["targets"]
            if not alias or target.get("alias") == alias
        ]
        [series] = await self.ask(query)
        rows = [(round(row[0] / 1000 - START / SECOND), row[1]) for row in series["values"]]
        return {second: value for second, value in rows if value is not None}


@pytest.fixture
async def filled(influx: InfluxBench, configuration: Configuration, tmp_path: Path) -> AsyncIterator[Filled]:
    registry = PointRegistry(configuration.keys())
    site = configuration.site(registry)
    settings = InfluxSettings(url=influx.url, org=influx.org, bucket=influx.bucket, token_env="TOKEN")
    store = InfluxStore(
        settings, site, registry, cursors=FakeCursors(), letters=FakeLetters(), clock=ManualClock(START),
        environment={"TOKEN": influx.token},
    )  # fmt: skip
    journal = FakeJournal()
    for batch in measured(site):
        journal.append(batch)
    seen = (Event.ACKNOWLEDGE, AlarmState.ACKNOWLEDGED)
    over = steps(alarm("R1", "AKT-ALT", 20), seen, (Event.CLEAR, AlarmState.NORMAL))
    acknowledged = steps(alarm("R6", "SHY-TAS", 90), seen)
    async with store, AlarmJournal(tmp_path / "alarms.sqlite") as alarms:
        for offset in range(journal.head):
            await store.apply(await journal.read(offset, 1))
        await alarms.commit(Progress(), [], [*over, *acknowledged], [i.record() for i in intervals()])
        await store.apply_events(await alarms.events(0))
        yield Filled(
            influx, {panel["title"]: panel for panel in DOCUMENT["panels"] if panel["type"] != "row"}
        )


@pytest.mark.system("influxd")
async def test_every_query_of_every_panel_returns_data(filled: Filled) -> None:
    for title, panel in filled.panels.items():
        for target in panel["targets"]:
            series = await filled.ask(target["query"])
            assert series, (title, target["query"])
            if target["resultFormat"] == "table":
                assert [one["columns"][0] for one in series] == ["time"]
                continue
            for one in series:
                assert len(one["columns"]) == 2
                numbers = [value for _, value in one["values"] if value is not None]
                assert numbers, (title, target["query"])
                assert all(math.isfinite(value) for value in numbers)
                times = [row[0] for row in one["values"]]
                assert all(later - earlier >= 10_000 for earlier, later in pairwise(times))


@pytest.mark.system("influxd")
async def test_what_the_panels_show(filled: Filled, configuration: Configuration) -> None:
    tie = await filled.values("SHY-TAS at TAS", "main")
    schedule = await filled.values("SHY-TAS at TAS", "schedule")
    assert set(schedule.values()) == {323.0}
    assert all(abs(value - 323) < 100 for value in tie.values())

    line, size, start = TAP
    before: list[float] = []
    after: list[float] = []
    for second, value in (await filled.values("Two-end residual", line)).items():
        (before if second + 10 <= start else after).append(value)
    assert max(map(abs, before)) < 3
    assert sorted(after)[len(after) // 2] == pytest.approx(size, abs=3)
    for other in configuration.grid.line:
        shares = await filled.values("Two-end residual against the limit of R6", other.id)
        assert (max(shares.values()) > 3) == (other.id == line), other.id
        assert max(abs(share) for second, share in shares.items() if second + 10 <= start) < 1, other.id

    losses = await filled.values("Measured loss of lines", "NAV-BUK")
    assert losses.keys().isdisjoint(
        range(SILENT[1], SILENT[2], 10)
    )  # a silent meter leaves a gap, not a wrong balance
    assert len(losses) == 11

    assert max(map(abs, (await filled.values("AKT-ALT: loss less model")).values())) < 6


@pytest.mark.system("influxd")
async def test_the_newest_revision_is_what_counts(filled: Filled) -> None:
    [query] = [t["query"] for t in filled.panels["Inadvertent energy of each quarter of an hour"]["targets"]]
    found = {one["tags"]["account"]: one["values"] for one in await filled.ask(query)}
    assert {account: [value for _, value in rows] for account, rows in found.items()} == {
        "AKT-ALT": [1.5],
        "UZ-AZ-transit": [-1.0],
    }
    [table] = await filled.ask(filled.panels["Settled quarters of an hour"]["targets"][0]["query"])
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["values"]]
    assert sorted((row["account"], row["revision"], row["metered_mwh"]) for row in rows) == [
        ("AKT-ALT", 1, 201.5),
        ("UZ-AZ-transit", 0, 199.0),
    ]


@pytest.mark.system("influxd")
async def test_bad_values_are_counted_and_enter_no_mean(filled: Filled) -> None:
    for title, broken in (("Bad readings of meters", BROKEN[0]), ("Bad readings of plants", BROKEN[1])):
        [series] = await filled.ask(filled.panels[title]["targets"][0]["query"])
        assert series["tags"] == {"device": broken}
        assert sum(count for _, count in series["values"]) == LENGTH_S
    voltages = await filled.ask(filled.panels["Busbar voltage"]["targets"][0]["query"])
    assert len(voltages) == 16  # without Tashkent
    assert all(480 < value < 520 for one in voltages for _, value in one["values"] if value is not None)


@pytest.mark.system("influxd")
async def test_an_alarm_that_is_normal_again_is_not_active(filled: Filled) -> None:
    [active] = await filled.ask(filled.panels["Active alarms"]["targets"][0]["query"])
    rows = [dict(zip(active["columns"], row, strict=True)) for row in active["values"]]
    assert [(row["rule"], row["asset"], row["state"]) for row in rows] == [("R6", "SHY-TAS", "acknowledged")]
    assert (rows[0]["value"], rows[0]["limit"], rows[0]["unit"]) == (29.8, 3.1, "MW")
    [log] = await filled.ask(filled.panels["Alarm log"]["targets"][0]["query"])
    event = log["columns"].index("event")
    assert [row[event] for row in log["values"]] == ["acknowledge", "raise", "clear", "acknowledge", "raise"]
