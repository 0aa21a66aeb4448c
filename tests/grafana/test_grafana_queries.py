"""Every query of every panel, asked of a real InfluxDB that holds what the simulated corridor measured."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from grafana.catalogue import SHEETS
from greenbridge.settings import Configuration
from tests.grafana.filling import BROKEN, LENGTH_S, SECOND, SILENT, START, TAP, Stored

GENERATED = Path(__file__).parents[2] / "grafana" / "generated"
DOCUMENTS = {sheet.name: json.loads((GENERATED / f"{sheet.name}.json").read_text()) for sheet in SHEETS}
FIRST_MS, LAST_MS = START // 1_000_000, (START + LENGTH_S * SECOND) // 1_000_000
EVERYTHING = {"area": ".*", "site": ".*", "device": ".*"}


def panels(name: str) -> dict[str, dict[str, Any]]:
    return {panel["title"]: panel for panel in DOCUMENTS[name]["panels"] if panel["type"] != "row"}


def asked(query: str, interval_s: int = 10, chosen: dict[str, str] | None = None) -> str:
    """A query as Grafana sends it: macros and variables replaced."""
    text = query.replace("$timeFilter", f"time >= {FIRST_MS}ms and time <= {LAST_MS}ms")
    text = text.replace("$__interval", f"{interval_s}s")
    for name, value in (EVERYTHING | (chosen or {})).items():
        text = text.replace(f"${{{name}:regex}}", value)
    assert "$" not in re.sub(r"\)\$/|\*\$/|[A-Z]\$/", "", text), text
    return text


@dataclass
class Asking:
    stored: Stored

    async def ask(
        self, query: str, interval_s: int = 10, chosen: dict[str, str] | None = None
    ) -> list[dict[str, Any]]:
        """Series of a query, asked as Grafana asks."""
        text = asked(query, interval_s, chosen)
        parameters = {"db": self.stored.bucket, "q": text, "epoch": "ms"}
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.stored.influxd}/query", params=parameters) as answer,
        ):
            [result] = json.loads(await answer.read())["results"]
        assert "error" not in result, (text, result)
        series: list[dict[str, Any]] = result.get("series", [])
        return series

    async def values(self, name: str, title: str, alias: str = "") -> dict[int, float]:
        """Values by second of one series of a panel."""
        [query] = [
            target["query"]
            for target in panels(name)[title]["targets"]
            if not alias or target.get("alias") == alias
        ]
        [series] = await self.ask(query)
        rows = [(round(row[0] / 1000 - START / SECOND), row[1]) for row in series["values"]]
        return {second: value for second, value in rows if value is not None}


@pytest.fixture
def filled(stored: Stored) -> Asking:
    return Asking(stored)


@pytest.mark.system("influxd")
@pytest.mark.parametrize("name", DOCUMENTS)
async def test_every_query_of_every_panel_returns_data(filled: Asking, name: str) -> None:
    for title, panel in panels(name).items():
        for target in panel["targets"]:
            series = await filled.ask(target["query"])
            if not series and target.get("alias") in BROKEN:
                continue  # nothing of it is usable
            assert series, (title, target["query"])
            if target["resultFormat"] == "table":
                assert all(one["columns"][0] == "time" for one in series)
                continue
            for one in series:
                assert len(one["columns"]) == 2, (title, one["columns"])
                values = [value for _, value in one["values"] if value is not None]
                assert values, (title, target["query"])
                if title == "States of alarms":
                    continue
                assert all(math.isfinite(value) for value in values)
                times = [row[0] for row in one["values"]]
                assert all(later - earlier >= 10_000 for earlier, later in pairwise(times))


@pytest.mark.system("influxd")
async def test_what_the_panels_show(filled: Asking, configuration: Configuration) -> None:
    tie = await filled.values("ties", "SHY-TAS at TAS", "main")
    schedule = await filled.values("corridor", "SHY-TAS at TAS", "schedule")
    assert set(schedule.values()) == {323.0}
    assert all(abs(value - 323) < 100 for value in tie.values())

    line, size, start = TAP
    before: list[float] = []
    after: list[float] = []
    for second, value in (await filled.values("ties", "Two-end residual", line)).items():
        (before if second + 10 <= start else after).append(value)
    assert max(map(abs, before)) < 3
    assert sorted(after)[len(after) // 2] == pytest.approx(size, abs=3)
    for other in configuration.grid.line:
        shares = await filled.values("ties", "Two-end residual against the limit of R6", other.id)
        assert (max(shares.values()) > 3) == (other.id == line), other.id
        assert max(abs(share) for second, share in shares.items() if second + 10 <= start) < 1, other.id

    losses = await filled.values("ties", "Measured loss of lines", "NAV-BUK")
    assert losses.keys().isdisjoint(
        range(SILENT[1], SILENT[2], 10)
    )  # a silent meter leaves a gap, not a wrong balance
    assert len(losses) == 11

    assert max(map(abs, (await filled.values("ties", "AKT-ALT: loss less model")).values())) < 6


@pytest.mark.system("influxd")
async def test_what_an_area_exports_is_the_sum_of_its_ties(
    filled: Asking, configuration: Configuration
) -> None:
    grid = configuration.grid
    for area in grid.area:
        found = await filled.values("areas", "Net positions", area.id)
        sums = dict.fromkeys(found, 0.0)
        for tie in grid.tie:
            sign = {area.id: 1}.get(grid.outflow(tie)[0], -1 if grid.outflow(tie)[1] == area.id else 0)
            if sign:
                title = f"{tie.id} at {tie.delivery_node}"
                for second, value in (await filled.values("ties", title, "main")).items():
                    sums[second] += sign * value
        assert found == pytest.approx(sums)


@pytest.mark.system("influxd")
async def test_the_newest_revision_is_what_counts(filled: Asking) -> None:
    shown = panels("settlement")
    [query] = [t["query"] for t in shown["Inadvertent energy of each quarter of an hour"]["targets"]]
    found = {one["tags"]["account"]: one["values"] for one in await filled.ask(query)}
    assert {account: [value for _, value in rows] for account, rows in found.items()} == {
        "AKT-ALT": [1.5],
        "UZ-AZ-transit": [-1.0],
    }
    [table] = await filled.ask(shown["Settled quarters of an hour"]["targets"][0]["query"])
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["values"]]
    assert sorted((row["account"], row["revision"], row["metered_mwh"]) for row in rows) == [
        ("AKT-ALT", 1, 201.5),
        ("UZ-AZ-transit", 0, 199.0),
    ]


@pytest.mark.system("influxd")
async def test_bad_values_are_counted_and_enter_no_mean(filled: Asking) -> None:
    for title, broken in (("Bad readings of meters", BROKEN[0]), ("Bad readings of plants", BROKEN[1])):
        [series] = await filled.ask(panels("quality")[title]["targets"][0]["query"])
        assert series["tags"] == {"device": broken}
        assert sum(count for _, count in series["values"]) == LENGTH_S
    voltages = await filled.ask(panels("areas")["Busbar voltage"]["targets"][0]["query"])
    assert len(voltages) == 16  # without Tashkent
    assert all(480 < value < 520 for one in voltages for _, value in one["values"] if value is not None)


@pytest.mark.system("influxd")
async def test_an_alarm_that_is_normal_again_is_not_active(filled: Asking) -> None:
    shown = panels("alarms")
    [active] = await filled.ask(shown["Active alarms"]["targets"][0]["query"])
    rows = [dict(zip(active["columns"], row, strict=True)) for row in active["values"]]
    assert [(row["rule"], row["asset"], row["state"]) for row in rows] == [("R6", "SHY-TAS", "acknowledged")]
    assert (rows[0]["value"], rows[0]["limit"], rows[0]["unit"]) == (29.8, 3.1, "MW")
    assert rows[0]["alarm"] == "R6-SHY-TAS-1"
    [held] = await filled.ask(shown["Shelved, suppressed and out of service"]["targets"][0]["query"])
    assert [row[held["columns"].index("asset")] for row in held["values"]] == ["modbus/SHY"]
    [log] = await filled.ask(shown["Alarm log"]["targets"][0]["query"], chosen={"area": "KZ"})
    event = log["columns"].index("event")
    assert [row[event] for row in log["values"]] == ["acknowledge", "raise", "clear", "acknowledge", "raise"]
    timeline = await filled.ask(shown["States of alarms"]["targets"][0]["query"])
    life = {one["tags"]["asset"]: [row[1] for row in one["values"]] for one in timeline}
    assert life["AKT-ALT"] == ["unacknowledged", "acknowledged", "normal"]


@pytest.mark.system("influxd")
async def test_variables_offer_what_is_there_and_narrow_down(
    filled: Asking, configuration: Configuration
) -> None:
    variables = {v["name"]: v["query"] for v in DOCUMENTS["plants"]["templating"]["list"]}

    async def offered(name: str, **chosen: str) -> set[str]:
        series = await filled.ask(variables[name], chosen=chosen)
        assert all(one["columns"] == ["key", "value"] for one in series)
        return {value for one in series for _, value in one["values"]}

    areas = {area.id for area in configuration.grid.area}
    assert await offered("area") == areas
    sites = await offered("site", area="(KZ|UZ)")
    assert sites == {node.id for node in configuration.grid.node if node.area in {"KZ", "UZ"}}
    devices = await offered("device", area="KZ", site="SHY")
    expected = {d.id for d in configuration.devices if d.node == "SHY"}
    assert devices == expected
    only = await filled.ask(
        panels("plants")["Output of plants"]["targets"][0]["query"],
        chosen={"device": "(bash-wind|khizi-wind)"},
    )
    assert [one["tags"]["device"] for one in only] == ["bash-wind", "khizi-wind"]


@pytest.mark.system("influxd")
async def test_alarms_are_marked_when_they_were_raised(filled: Asking) -> None:
    [annotation] = DOCUMENTS["corridor"]["annotations"]["list"]
    target = annotation["target"]
    [series] = await filled.ask(target["query"])
    assert {target["textColumn"], *target["tagsColumn"].split(",")} <= set(series["columns"])
    assert len(series["values"]) == 4
