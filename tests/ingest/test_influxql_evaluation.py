from __future__ import annotations

import numpy as np
import pytest

from ingest.influxql import evaluation
from ingest.influxql.evaluation import selected
from ingest.influxql.frames import Frame, Values
from ingest.influxql.parser import parse
from ingest.influxql.syntax import QueryError, Select


def frame(tags: dict[str, str], t: list[int], **columns: list[object]) -> Frame:
    made: dict[str, Values] = {}
    for name, values in columns.items():
        if all(isinstance(value, float) for value in values):
            made[name] = np.array(values, np.float64)
        else:
            made[name] = np.empty(len(values), object)
            made[name][:] = values
    return Frame("m", tags, np.array(t, np.int64), made)


ONE = frame({"d": "a", "k": "x"}, [0, 5, 10, 25], v=[1.0, 3.0, float("nan"), 8.0], q=[0.0, 0.0, 0.0, 128.0])
TWO = frame({"d": "b", "k": "x"}, [5, 12], v=[10.0, 20.0], q=[0.0, 0.0])


def rows(text: str, *frames: Frame, low: int = 0, high: int = 29) -> dict[str, list[list[object]]]:
    select = parse(text)
    assert isinstance(select, Select)
    found = selected(select, frames or (ONE, TWO), low, high)
    return {
        ",".join(one.tags.values()): [
            [t, *values]
            for t, *values in zip(
                one.t.tolist(), *(one.columns[field.name].tolist() for field in select.fields), strict=True
            )
        ]
        for one in found
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('SELECT mean("v") FROM "m" GROUP BY time(10ns) fill(none)',
         {"": [[0, 14 / 3], [10, 20.0], [20, 8.0]]}),
        ('SELECT mean("v") FROM "m" WHERE "q" < 128 GROUP BY time(10ns), "d" fill(null)',
         {"a": [[0, 2.0], [10, None], [20, None]], "b": [[0, 10.0], [10, 20.0], [20, None]]}),
        ('SELECT count("v") FROM "m" GROUP BY time(10ns), "d" fill(null)',
         {"a": [[0, 2], [10, 0], [20, 1]], "b": [[0, 1], [10, 1], [20, 0]]}),
        ('SELECT sum("v") - 1 AS "s" FROM "m"', {"": [[0, 41.0]]}),
        ('SELECT max("v") AS "top", "q" FROM "m" GROUP BY "d"',
         {"a": [[25, 8.0, 128.0]], "b": [[12, 20.0, 0.0]]}),
        ('SELECT last("v") AS "v", "d" FROM "m"', {"": [[25, 8.0, "a"]]}),
        ('SELECT "v", "d" FROM "m" WHERE "v" >= 3 ORDER BY time DESC LIMIT 3',
         {"": [[25, 8.0, "a"], [12, 20.0, "b"], [5, 3.0, "a"]]}),
        ('SELECT abs("v" - 5) AS "off" FROM "m" WHERE "d" =~ /^(b|c)$/', {"": [[5, 5.0], [12, 15.0]]}),
        ('SELECT "v" / "q" AS "x" FROM "m" WHERE "d" = \'b\'', {"": [[5, 0.0], [12, 0.0]]}),
        ('SELECT sqrt("v") AS "r" FROM "m" WHERE ("v" = 1 OR "v" = 8) AND "nowhere" != \'z\'',
         {"": [[0, 1.0], [25, 8**0.5]]}),
        ('SELECT "d" FROM "m"', {}),
        ('SELECT "v" FROM "m" WHERE "missing" > 0', {}),
        ('SELECT min("v") FROM "m" WHERE "d" != \'a\'', {"": [[5, 10.0]]}),
    ],
)  # fmt: skip
def test_what_a_query_makes_of_rows(text: str, expected: dict[str, list[list[object]]]) -> None:
    assert rows(text) == {series: [pytest.approx(row) for row in each] for series, each in expected.items()}


def test_a_mean_of_means_counts_what_each_stands_for() -> None:
    weighed = Frame("m", {}, ONE.t[:2], {"v": np.array([1.0, 4.0])}, np.array([3.0, 1.0]))
    assert rows('SELECT mean("v") FROM "m"', weighed) == {"": [[0, 1.75]]}


def test_texts_and_numbers_stay_what_they_are() -> None:
    events = frame({}, [3, 4], title=["a", None], at=[2**62 + 1, 7], done=[True, None])
    assert rows('SELECT "title", "at", "done" FROM "m"', events) == {
        "": [[3, "a", 2**62 + 1, True], [4, None, 7, None]]
    }


def test_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(QueryError, match="choose longer"):
        rows('SELECT mean("v") FROM "m" GROUP BY time(1ns) fill(null)', high=10**6)
    monkeypatch.setattr(evaluation, "MAX_ROWS", 3)
    with pytest.raises(QueryError, match="more than 3 rows"):
        rows('SELECT "v" FROM "m"')
