from __future__ import annotations

import asyncio

import pytest

from grafana.model import Model
from greenbridge.dashboards import model_of
from greenbridge.settings import Configuration, load
from tests.grafana.filling import Stored, fill
from tests.support.influx import Influxd, influx, influxd

__all__ = ["influx", "influxd"]


@pytest.fixture(scope="session")
def configuration() -> Configuration:
    return load("corridor", {})


@pytest.fixture(scope="session")
def model(configuration: Configuration) -> Model:
    return model_of(configuration)


@pytest.fixture(scope="session")
def stored(
    influxd: Influxd, configuration: Configuration, tmp_path_factory: pytest.TempPathFactory
) -> Stored:
    """What two minutes of the simulated corridor left in an InfluxDB and in an embedded store: once."""
    return asyncio.run(fill(influxd, configuration, tmp_path_factory.mktemp("stored")))
