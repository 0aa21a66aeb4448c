"""GET /api/v1/influx/query: the queries of Grafana's panels, answered from the embedded store."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from console import metrics
from console.problems import json_response
from ingest.influxql.answering import answered
from ingest.influxql.reading import Readings
from ingest.influxql.syntax import QueryError
from ingest.ports import QueryPort
from telemetry.site import Site

_REFUSED = 400


class Influx:
    """Answers as InfluxDB does, so that a plain Grafana can be pointed here.

    Parameters
    ----------
    query
        The store.
    site
        The site that is shown now.

    """

    def __init__(self, query: QueryPort, site: Callable[[], Site]) -> None:
        self._query = query
        self._site = site
        self._shown: tuple[Site, Readings] | None = None

    def _readings(self) -> Readings:
        """The store as the series of the site that is shown now."""
        site = self._site()
        if self._shown is None or self._shown[0] is not site:
            self._shown = (site, Readings(self._query, site))
        return self._shown[1]

    async def ask(self, request: Request) -> Response:
        """GET /api/v1/influx/query?q=STATEMENT&epoch=ms; ``db`` is not looked at, for there is one.

        A query that is none of those that are answered gets status 400 with the reason, in InfluxDB's shape.
        """
        parameters = request.query_params
        try:
            series = await answered(parameters.get("q", ""), parameters.get("epoch", "ms"), self._readings())
        except QueryError as error:
            metrics.REFUSED.labels("query").inc()
            return Response(
                msgspec.json.encode({"error": str(error)}), _REFUSED, media_type="application/json"
            )
        return json_response({"results": [{"statement_id": 0, **({"series": series} if series else {})}]})
