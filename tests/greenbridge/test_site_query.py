"""The command query: readings, sums and events of a stopped and of a running site, and wrong questions."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import math
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from greenbridge.backup import REGISTRY, STORE
from greenbridge.claim import claimed
from greenbridge.cli import app
from greenbridge.control import listening, routed
from greenbridge.query_answers import COMMAND, Query, What, answered, length_s, moment
from greenbridge.query_text import document, table, time_text
from greenbridge.settings import load
from ingest.config import EmbeddedSettings
from ingest.fakes import FakeCursors, FakeJournal, FakeLetters
from ingest.journal.points import declare
from ingest.ports import EventRecord
from ingest.stores.embedded.store import EmbeddedStore
from ingest.stores.influx.store import InfluxStore
from telemetry.batch import ReadingBatch
from telemetry.clock import ManualClock
from telemetry.errors import GreenbridgeError
from telemetry.points import PointKey
from telemetry.quality import Quality
from tests.greenbridge.test_site_settings import DEVICE, GRID, MAIN
from tests.support.influx import InfluxBench, influx, influxd

__all__ = ["influx", "influxd"]

SECOND = 1_000_000_000
NOON = int(datetime(2026, 1, 10, 12, tzinfo=UTC).timestamp()) * SECOND
KEYS = [PointKey("a-meter", "TotW", "MW"), PointKey("a-meter", "Hz", "Hz"), PointKey("b-meter", "TotW", "MW")]
ALMATY = ZoneInfo("Asia/Almaty")


@pytest.fixture
async def site(tmp_path: Path) -> Path:
    """A stopped site with a minute of readings of two points, and two alarms."""
    state = tmp_path / "state"
    state.mkdir()
    (tmp_path / "greenbridge.toml").write_text(MAIN.replace('"state"', f'"{state}"'))
    (tmp_path / "grid.toml").write_text(GRID)
    (tmp_path / "devices.toml").write_text(DEVICE)
    declare(state / REGISTRY, KEYS)
    journal = FakeJournal(ManualClock(NOON))
    for second in range(60):
        t = NOON + second * SECOND
        lost = int(Quality.LINK_LOST)
        journal.append(
            ReadingBatch.of(
                "s", 1, second, t, point=[0, 1], t_source=[t, t],
                value=[second / 4, math.nan if second == 5 else 50.0],
                quality=[0, lost if second == 5 else 0],
            )
        )  # fmt: skip
    events = [
        EventRecord("alarm", k, NOON + i * SECOND, {"rule": "R6"}, {"text": k}) for i, k in enumerate("xy")
    ]
    async with EmbeddedStore(state / STORE, EmbeddedSettings()) as store:
        await store.apply(journal.records)
        await store.apply_events(list(enumerate(events, start=1)))
    return tmp_path


def cli(site: Path, *arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["query", str(site / "greenbridge.toml"), *arguments])
    return done.exit_code, done.stdout, done.stderr


def answer(site: Path, *arguments: str) -> list[dict[str, Any]]:
    code, out, err = cli(site, *arguments, "--json")
    assert code == 0, err
    rows: list[dict[str, Any]] = json.loads(out)["rows"]
    return rows


def test_without_a_time_it_is_the_newest_reading(site: Path) -> None:
    common = {"time": "2026-01-10T12:00:59.000Z", "quality": "good"}
    assert answer(site, "*/TotW", "a-meter/Hz") == [
        common | {"point": "a-meter/TotW", "value": 14.75, "unit": "MW"},
        common | {"point": "a-meter/Hz", "value": 50.0, "unit": "Hz"},
    ]
    code, out, _ = cli(site, "a-meter/*")
    assert code == 0
    assert out.splitlines()[0].split() == ["time", "point", "value", "unit", "quality"]
    assert out.splitlines()[1].split() == ["2026-01-10T12:00:59.000Z", "a-meter/TotW", "14.75", "MW", "good"]


def test_a_stretch_of_time_in_a_zone_of_ones_own(site: Path) -> None:
    span = ("--from", "2026-01-10T17:00:04", "--to", "2026-01-10T17:00:07", "--zone", "Asia/Almaty")
    rows = answer(site, "a-meter/Hz", *span)
    assert [(row["time"], row["value"], row["quality"]) for row in rows] == [
        ("2026-01-10T17:00:04.000+0500", 50.0, "good"),
        ("2026-01-10T17:00:05.000+0500", None, "link_lost"),
        ("2026-01-10T17:00:06.000+0500", 50.0, "good"),
    ]
    _, out, _ = cli(site, "a-meter/Hz", *span, "--csv")
    lines = list(csv.reader(io.StringIO(out)))
    assert lines[2] == ["2026-01-10T17:00:05.000+0500", "a-meter/Hz", "", "Hz", "link_lost"]


def test_sums_over_intervals(site: Path) -> None:
    rows = answer(site, "a-meter/TotW", "--from", "2026-01-10", "--every", "30s")
    assert [(r["time"], r["low"], r["high"], r["count"]) for r in rows] == [
        ("2026-01-10T12:00:00.000Z", 0.0, 7.25, 30),
        ("2026-01-10T12:00:30.000Z", 7.5, 14.75, 30),
    ]


def test_events_and_a_cut_answer(site: Path) -> None:
    rows = answer(site, "--events", "alarm")
    assert [(row["key"], row["tags"]) for row in rows] == [("y", {"rule": "R6"}), ("x", {"rule": "R6"})]
    _, out, _ = cli(site, "a-meter/TotW", "--from", "2026-01-10", "--limit", "3")
    assert "and more: raise --limit (3)" in out
    code, out, err = cli(site, "a-meter/TotW", "--from", "2026-01-10", "--limit", "3", "--csv")
    assert (code, len(out.splitlines()), "cut after 3 rows" in err) == (0, 4, True)
    assert cli(site, "a-meter/TotW", "--to", "2020-01-01")[1] == "Nothing is stored there.\n"


async def test_a_site_at_work_is_asked_over_its_socket(site: Path) -> None:
    state = site / "state"
    async with EmbeddedStore(state / STORE, EmbeddedSettings()) as store:

        async def at_work(request: dict[str, Any], _: str) -> dict[str, Any]:
            return await answered(store.query, declare(state / REGISTRY), Query.read(request))

        commands = {COMMAND: at_work}
        with claimed(state):
            async with listening(state, lambda request, who: routed(commands, request, who)):
                rows = await asyncio.to_thread(answer, site, "a-meter/TotW")
    assert [row["value"] for row in rows] == [14.75]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("a-meter/TotWW",), 2, 'did you mean "a-meter/TotW"?'),
        ((), 2, "no point is asked for"),
        (("a-meter/Hz", "--from", "yesterday"), 2, "--from yesterday: give a time like"),
        (("a-meter/Hz", "--from", "2026-13-01"), 2, "--from 2026-13-01: give a time like"),
        (("a-meter/Hz", "--from", "1h", "--to", "2h"), 2, "--to is not after --from"),
        (("a-meter/Hz", "--every", "1min"), 2, "--every needs --from"),
        (("a-meter/Hz", "--from", "1h", "--every", "1 month"), 2, "--every 1 month: give a length of time"),
        (("a-meter/Hz", "--limit", "0"), 2, "--limit 0: give 1 to"),
        (("a-meter/Hz", "--limit", "1000000"), 2, "greenbridge export"),
        (("a-meter/Hz", "--zone", "Mars"), 2, "Mars is no zone"),
        (("a-meter/Hz", "--events", "alarm"), 2, "--events are of no point"),
        (("a-meter/Hz", "--csv", "--json"), 2, "one of them"),
        (("a-meter/Hz", "--store", "influx"), 2, "this site has no InfluxDB"),
        (("a-meter/Hz", "--store", "paper"), 2, "paper"),
        (("a-meter/Hz", "--state", "/nonexistent"), 3, "holds no readings"),
    ],
)
def test_a_wrong_question_is_told_in_clear_words(
    site: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    found, _, err = cli(site, *arguments)
    assert (found, said in err.replace("\n", " ")) == (code, True), err


def test_a_damaged_store_is_named_with_what_to_do(site: Path) -> None:
    (site / "state" / STORE).write_bytes(b"rubbish" * 1000)
    code, _, err = cli(site, "a-meter/TotW")
    assert (code, "and start again" in err) == (3, True)


@pytest.mark.system("influxd")
async def test_influx_is_asked_the_same_way(site: Path, influx: InfluxBench, tmp_path: Path) -> None:
    example = tmp_path / "example"
    shutil.copytree("examples/first-site", example)
    main = example / "greenbridge.toml"
    lines = [line for line in main.read_text().splitlines() if not line.startswith("state_dir")]
    token = example / "token"
    token.write_text(influx.token)
    where = f'url = "{influx.url}"\norg = "{influx.org}"\nbucket = "{influx.bucket}"\ntoken_file = "{token}"'
    main.write_text("\n".join([f'state_dir = "{site / "state"}"', *lines, "[influx]", where]))
    configuration = load(str(main), {})
    registry = declare(site / "state" / REGISTRY, configuration.keys())
    index, point = next(iter(configuration.site(registry).points.items()))
    journal = FakeJournal()
    journal.append(
        ReadingBatch.of("s", 1, 1, NOON, point=[index], t_source=[NOON], value=[7.5], quality=[64])
    )
    settings = configuration.settings.influx
    assert settings is not None
    async with InfluxStore(
        settings,
        configuration.site(registry),
        registry,
        cursors=FakeCursors(),
        letters=FakeLetters(),
        clock=ManualClock(),
        environment={},
    ) as store:
        await store.apply(journal.records)
    rows = await asyncio.to_thread(answer, example, point.path, "--store", "influx")
    assert [(row["value"], row["quality"]) for row in rows] == [(7.5, "unknown_64")]


def test_times_as_people_give_them() -> None:
    now = NOON + SECOND // 2
    assert moment("now", now, UTC, "--to") == now
    assert moment("90s", now, UTC, "--from") == moment("-1.5min", now, UTC, "--from") == now - 90 * SECOND
    assert moment("11:30", now, UTC, "--from") == NOON - 1800 * SECOND
    assert moment("9:30", now, UTC, "--from") == NOON - 9000 * SECOND
    assert moment("17:00", now, ALMATY, "--from") == NOON
    assert moment("2026-01-10T12:00:00+02:00", now, ALMATY, "--from") == NOON - 7200 * SECOND
    assert (length_s("2 h", "-"), length_s("1w", "-")) == (7200, 604_800)


def test_times_are_shown_as_exactly_as_they_are() -> None:
    assert time_text(NOON + 1, UTC) == "2026-01-10T12:00:00.000000001Z"
    assert time_text(-SECOND, UTC) == "1969-12-31T23:59:59.000Z"
    assert time_text(1 << 62, UTC).startswith("2116-")
    assert time_text(NOON, ALMATY) == "2026-01-10T17:00:00.000+0500"


@pytest.mark.parametrize("broken", [{}, {"what": "all"}, {"what": "last", "points": 3}])
def test_what_is_no_query_is_refused(broken: Mapping[str, Any]) -> None:
    with pytest.raises(GreenbridgeError, match="cannot be understood"):
        Query.read(broken)


def test_a_query_survives_the_socket() -> None:
    asked = Query.of(["a/b"], start="1h", every="10s", limit=7, now=NOON)
    assert Query.read(json.loads(json.dumps(asked.document()))) == asked
    assert (asked.what, asked.step) == (What.SERIES, 10 * SECOND)


def test_numbers_stand_under_each_other() -> None:
    rows = [[NOON, "a", 1.0, "MW", "good"], [NOON, "b", 1234.5, "MW", "good"]]
    shown = table(
        {"columns": ["time", "point", "value", "unit", "quality"], "rows": rows, "more": False}, UTC
    )
    first, second = (line.index(" MW") for line in shown.splitlines()[1:])
    assert first == second
    assert document({"what": "last", "columns": ["value"], "rows": [[1.0]], "more": False}, UTC)["rows"] == [
        {"value": 1.0}
    ]
