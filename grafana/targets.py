"""A query of a panel, in the shape that Grafana's InfluxDB data source reads."""

from __future__ import annotations

from dataclasses import dataclass

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models.common import DataSourceRef

DATASOURCE = DataSourceRef(type_val="influxdb", uid="greenbridge-influxql")
"""The data source that ``provisioning/datasources`` defines."""


_ANNOTATION = {"fromAnnotations": True, "textColumn": "title", "tagsColumn": "rule,asset,priority"}


@dataclass(frozen=True)
class InfluxqlQuery(Dataquery):
    """A raw InfluxQL query (Grafana documentation, "InfluxDB query editor", raw mode)."""

    ref_id: str
    query: str
    alias: str = ""
    """Name of the series; ``$tag_device`` and the like insert a tag."""
    table: bool = False
    annotation: bool = False
    """Rows become marks in time: their title is the text, rule and asset are the tags."""

    def to_json(self) -> dict[str, object]:
        """The object as it stands in the dashboard."""
        return {
            "refId": self.ref_id,
            "datasource": DATASOURCE.to_json(),
            "rawQuery": True,
            "query": self.query,
            "resultFormat": "table" if self.table or self.annotation else "time_series",
            **(_ANNOTATION if self.annotation else {}),
            **({"alias": self.alias} if self.alias else {}),
        }


class Target(Builder[Dataquery]):
    """Builder of a query, as panels take it."""

    def __init__(self, query: InfluxqlQuery) -> None:
        self._query = query

    def build(self) -> Dataquery:
        """The query."""
        return self._query


def targets(*queries: tuple[str, str]) -> list[Target]:
    """Queries with the names of their series; references run A, B, ... Z, A1, B1, ..."""
    return [Target(InfluxqlQuery(_reference(i), query, alias)) for i, (alias, query) in enumerate(queries)]


def _reference(i: int) -> str:
    return chr(ord("A") + i % 26) + (str(i // 26) if i >= 26 else "")
