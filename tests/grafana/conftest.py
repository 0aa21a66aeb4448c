from __future__ import annotations

import pytest

from grafana.corridor import Corridor
from greenbridge.settings import Configuration, load
from tests.support.influx import influx, influxd

__all__ = ["influx", "influxd"]


@pytest.fixture(scope="session")
def configuration() -> Configuration:
    return load("corridor", {})


@pytest.fixture(scope="session")
def corridor(configuration: Configuration) -> Corridor:
    settings = configuration.settings
    return Corridor(
        settings.name, configuration.grid, configuration.devices, configuration.profiles, settings.alerts
    )
