"""The same queries of the same panels, asked of InfluxDB and of the embedded store: the answers agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ingest.config import EmbeddedSettings
from ingest.influxql.answering import answered
from ingest.influxql.reading import Readings
from ingest.stores.embedded.store import EmbeddedStore
from tests.grafana.filling import Stored
from tests.grafana.test_grafana_queries import DOCUMENTS, Asking, asked, panels

CHOICES: tuple[tuple[int, dict[str, str]], ...] = (
    (10, {}),
    (60, {"area": "(KZ|UZ)", "site": "(SHY|TAS|NAV|AKT)"}),
)
"""Intervals [s], and what is chosen in the variables."""


def queries(name: str) -> Iterator[tuple[str, str]]:
    """Title and query of everything that a dashboard asks."""
    document = DOCUMENTS[name]
    for title, panel in panels(name).items():
        for target in panel["targets"]:
            yield title, target["query"]
    for annotation in document["annotations"]["list"]:
        yield annotation["name"], annotation["target"]["query"]
    for variable in document["templating"]["list"]:
        yield variable["name"], variable["query"]


def same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Series in the same order, with the same rows; numbers but for rounding."""
    assert [(s["name"], s.get("tags", {}), s["columns"]) for s in ours] == [
        (s["name"], s.get("tags", {}), s["columns"]) for s in theirs
    ]
    for one, other in zip(ours, theirs, strict=True):
        assert len(one["values"]) == len(other["values"])
        for row, expected in zip(one["values"], other["values"], strict=True):
            for value, wanted in zip(row, expected, strict=True):
                if isinstance(wanted, float | int) and not isinstance(wanted, bool):
                    assert value == pytest.approx(wanted, rel=1e-9, abs=1e-9), (row, expected)
                else:
                    assert value == wanted, (row, expected)


@pytest.mark.system("influxd")
@pytest.mark.parametrize("name", DOCUMENTS)
async def test_the_embedded_store_answers_as_influxdb_does(stored: Stored, name: str) -> None:
    influx = Asking(stored)
    async with EmbeddedStore(stored.embedded, EmbeddedSettings()) as store:
        readings = Readings(store.query, stored.site)
        for interval_s, chosen in CHOICES:
            for title, query in queries(name):
                if chosen and "${" not in query:
                    continue
                text = asked(query, interval_s, chosen)
                ours = await answered(text, "ms", readings)
                theirs = await influx.ask(query, interval_s, chosen)
                try:
                    same(ours, theirs)
                except AssertionError as error:
                    raise AssertionError(f"{title}: {text}\n{error}") from error
