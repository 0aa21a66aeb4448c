# ruff: noqa: S608 - queries for a parser

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.influxql.evaluation import selected
from ingest.influxql.frames import Frame
from ingest.influxql.parser import MAX_DEPTH, parse
from ingest.influxql.syntax import (
    Among,
    Call,
    Column,
    Comparison,
    Either,
    Every,
    Field,
    Number,
    Operation,
    QueryError,
    Select,
    ShowMeasurements,
    ShowTagValues,
)
from ingest.influxql.tokens import MAX_LENGTH

SECOND = 10**9
GENERATED = Path(__file__).parents[2] / "grafana" / "generated"
QUERIES = sorted(
    {
        target["query"].replace("$timeFilter", "time >= 1ms and time <= 2ms").replace("$__interval", "10s")
        for file in GENERATED.glob("*.json")
        for panel in json.loads(file.read_text())["panels"]
        for target in panel.get("targets", [])
    }
)


FRAMES = [
    Frame("m", {"area": "KZ"}, np.array([1, 9]), {"W": np.array([1.0, np.nan]), "W_q": np.zeros(2)}),
    Frame("m", {"area": "UZ"}, np.array([4]), {"title": np.array(["a"], object), "W_q": np.array([200.0])}),
]  # fmt: skip


def test_a_query_becomes_a_tree() -> None:
    text = (
        'select mean("W") * 2 AS "w", COUNT("W_q") FROM "m", "n" WHERE "a" = \'it\\\'s\' AND ("x" < -1 OR '
        '"y" != 2.5) AND "d" =~ /^(a\\.b|c)$/ AND time >= 5s AND time < \'1970-01-01T00:00:09Z\' '
        'GROUP BY time(2m), "d" fill(none) ORDER BY time DESC LIMIT 7;'
    )
    assert parse(text) == Select(
        (
            Field(Operation("*", Call("mean", Column("W")), Number(2)), "w"),
            Field(Call("count", Column("W_q")), "count"),
        ),
        ("m", "n"),
        Every(
            (
                Comparison("a", "=", "it's"),
                Either((Comparison("x", "<", -1.0), Comparison("y", "!=", 2.5))),
                Among("d", frozenset({"a.b", "c"})),
            )
        ),
        low=5 * SECOND,
        high=9 * SECOND - 1,
        step=120 * SECOND,
        tags=("d",),
        newest_first=True,
        limit=7,
    )


def test_products_bind_closer_than_sums_and_bounds_of_time_meet() -> None:
    text = 'SELECT "a" - "b" * 2 / ("c" + 1) AS "x" FROM "m"'
    found = parse(f"{text} WHERE time > 3 AND time >= 2 AND time <= 9")
    assert isinstance(found, Select)
    inner = Operation("/", Operation("*", Column("b"), Number(2)), Operation("+", Column("c"), Number(1)))
    assert found.fields[0].expression == Operation("-", Column("a"), inner)
    assert (found.low, found.high, found.filled) == (4, 9, False)


def test_the_other_statements() -> None:
    tags = parse('SHOW TAG VALUES FROM "a", "b" WITH KEY = "area" WHERE "node" =~ /^.*$/')
    assert tags == ShowTagValues(("a", "b"), "area", Every((Among("node", None),)))
    assert parse("SHOW MEASUREMENTS LIMIT 1") == ShowMeasurements(1)
    assert parse("show measurements") == ShowMeasurements(None)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "SHOW is expected instead of the end"),
        ("DROP DATABASE x", "SHOW is expected instead of word 'drop'"),
        ('DELETE FROM "m"', "word 'delete'"),
        ('SELECT * FROM "m"', "a word is expected instead of sign '*'"),
        ('SELECT "a" INTO "b" FROM "m"', "FROM is expected instead of word 'into'"),
        ('SELECT derivative("a") FROM "m"', "no such function here; there are count, sum, mean"),
        ('SELECT mean("a") FROM /.*/', "is not understood here"),
        ('SELECT "a" FROM "m"; SELECT "b" FROM "m"', "one statement is answered at a time"),
        ('SELECT "a" FROM "m" WHERE "t" =~ /^(a+)+$/', "'(' in /^(a+)+$/ is not answered here"),
        ('SELECT "a" FROM "m" WHERE "t" =~ /a/', "not of the form"),
        ('SELECT "a" FROM "m" WHERE "t" =~ /^a', "does not end"),
        ('SELECT "a" FROM "m" WHERE "t" =~ /^\\d$/', r"\d in"),
        ('SELECT "a" FROM "m" WHERE "t" < \'x\'', "by = or != only"),
        ('SELECT "a" FROM "m" WHERE time = 3', "time = is not understood"),
        ('SELECT "a" FROM "m" WHERE time > \'soon\'', "'soon' is no time"),
        ('SELECT "a" FROM "m" GROUP BY time(10s)', "needs a function"),
        ('SELECT mean("a") FROM "m" GROUP BY time(0s)', "not above 0"),
        ('SELECT mean("a") FROM "m" GROUP BY time(1s) fill(linear)', "NONE is expected"),
        ('SELECT mean("a"), "b" FROM "m"', "beside columns stands exactly one of last"),
        ('SELECT mean("a") + "b" AS "x" FROM "m"', "mixes columns"),
        ('SELECT "a" + 1 FROM "m"', "needs AS and a name"),
        ('SELECT "a", "b" AS "a" FROM "m"', "one name"),
        ('SELECT "a" FROM "m", (SELECT "a" FROM "m")', "do not stand in one FROM"),
        ('SHOW TAG VALUES FROM "m" WITH KEY = "k" WHERE time > 3', "not narrowed down by time"),
        ('SELECT "a" FROM "m" LIMIT 1.5', "whole number"),
        ("x" * (MAX_LENGTH + 1), "at most"),
    ],
)  # fmt: skip
def test_what_is_no_shape_of_ours_is_refused_by_name(text: str, told: str) -> None:
    with pytest.raises(QueryError) as refused:
        parse(text)
    assert told in str(refused.value)


def test_depth_is_bounded() -> None:
    deep = MAX_DEPTH + 1
    for text in (
        f'SELECT {"(" * deep}"a"{")" * deep} AS "x" FROM "m"',
        'SELECT "a" FROM (' * deep + 'SELECT "a" FROM "m"' + ")" * deep,
        'SELECT "a" FROM "m" WHERE ' + "(" * deep + '"a" = 1' + ")" * deep,
    ):
        with pytest.raises(QueryError, match="within each other"):
            parse(text)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    _read_or_refused(text)


@given(st.sampled_from(QUERIES), st.data())
def test_a_damaged_query_is_read_or_refused(query: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(query) - 1))
    length = data.draw(st.integers(0, 8))
    scrap = data.draw(st.text("\"'/()=~<>,;*+-. \\0a", max_size=4))
    _read_or_refused(query[:at] + scrap + query[at + length :])


def _read_or_refused(text: str) -> None:
    with suppress(QueryError):
        found = parse(text)
        if isinstance(found, Select):
            selected(found, FRAMES, 0, 30)
