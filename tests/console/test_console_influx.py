from __future__ import annotations

import httpx
import pytest

from ingest.influxql import reading
from ingest.ports import JournalRecord
from telemetry.batch import ReadingBatch
from telemetry.quality import Quality
from tests.console.rig import Rig

PATH = "/api/v1/influx/query"
S = 1_000_000_000
QUERY = (
    'SELECT mean("TotW") AS "MW" FROM "pm5xxx" WHERE "device" = \'SHY-TAS_SHY_main\' AND "TotW_q" < 128 '
    "AND time >= 0s AND time <= 19s GROUP BY time(10s) fill(null)"
)


@pytest.fixture
async def filled(rig: Rig) -> Rig:
    point = rig.point("SHY-TAS_SHY_main/TotW")
    batch = ReadingBatch.of(
        "bench", 1, 1, 9 * S, point=[point] * 3, t_source=[S, 2 * S, 3 * S], value=[-320.0, -322.0, 9e9],
        quality=[Quality.GOOD, Quality.GOOD, Quality.OUT_OF_RANGE],
    )  # fmt: skip
    await rig.store.apply([JournalRecord(1, 9 * S, 0, batch)])
    return rig


async def ask(client: httpx.AsyncClient, query: str, **more: str) -> httpx.Response:
    return await client.get(PATH, params={"db": "telemetry", "q": query, "epoch": "ms", **more})


async def test_a_panel_is_answered_as_influxdb_answers(filled: Rig, operator: httpx.AsyncClient) -> None:
    answer = await ask(operator, QUERY)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    values = [[0, -321.0], [10_000, None]]
    assert answer.json() == {
        "results": [
            {
                "statement_id": 0,
                "series": [{"name": "pm5xxx", "columns": ["time", "MW"], "values": values}],
            }
        ]
    }
    seconds = await ask(operator, QUERY, epoch="s")
    assert [row[0] for row in seconds.json()["results"][0]["series"][0]["values"]] == [0, 10]


async def test_a_query_without_an_answer_has_no_series(filled: Rig, operator: httpx.AsyncClient) -> None:
    nowhere = await ask(operator, QUERY.replace("SHY-TAS_SHY_main", "nowhere"))
    assert nowhere.json() == {"results": [{"statement_id": 0}]}
    unknown = await ask(operator, QUERY.replace("pm5xxx", "unknown"))
    assert unknown.json() == {"results": [{"statement_id": 0}]}


async def test_grafana_finds_what_there_is(filled: Rig, operator: httpx.AsyncClient) -> None:
    """Its test of a data source asks for measurements, its variables for values of tags."""
    [series] = (await ask(operator, "SHOW MEASUREMENTS")).json()["results"][0]["series"]
    assert ["pm5xxx"] in series["values"]
    tags = 'SHOW TAG VALUES FROM "pm5xxx" WITH KEY = "node" WHERE "area" =~ /^UZ$/'
    [series] = (await ask(operator, tags)).json()["results"][0]["series"]
    assert (series["columns"], series["values"]) == (["key", "value"], [["node", "TAS"]])


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("DROP SERIES FROM x", "word 'drop'"),
        ("", "SHOW is expected"),
        ('SELECT "TotW" FROM "pm5xxx"', "no bounds of time"),
        ('SELECT "TotW" FROM "pm5xxx" WHERE time >= 0s', "no bounds of time"),
    ],
)
async def test_other_queries_are_refused_by_name(
    filled: Rig, operator: httpx.AsyncClient, query: str, told: str
) -> None:
    answer = await ask(operator, query)
    assert answer.status_code == 400
    assert told in answer.json()["error"]


async def test_too_much_for_one_query_is_refused(
    filled: Rig, operator: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    single = 'SELECT "TotW" FROM "pm5xxx" WHERE time >= 0s AND time <= 9s'
    assert (await ask(operator, single)).status_code == 200
    monkeypatch.setattr(reading, "MAX_READINGS", 2)
    answer = await ask(operator, single)
    assert answer.status_code == 400
    assert "choose a shorter time range" in answer.json()["error"]
    assert (await ask(operator, QUERY, epoch="fortnights")).status_code == 400
