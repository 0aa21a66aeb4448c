from __future__ import annotations

import pytest

from ingest.config import DeadLetterSettings, EmbeddedSettings, InfluxSettings, JournalSettings
from telemetry.errors import ConfigError
from telemetry.settings import parse

INFLUX = 'url = "http://influxdb:8086"\norg = "corridor"\nbucket = "readings"\n'


def test_the_defaults_stand_on_their_own() -> None:
    for model in (JournalSettings, EmbeddedSettings, DeadLetterSettings):
        parse("", "site.toml", model)
    assert parse(INFLUX + 'token_env = "INFLUX_TOKEN"', "site.toml", InfluxSettings).timeout_s == 10


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (INFLUX, "token_file or token_env"),
        (INFLUX + 'token_env = "A"\ntoken_file = "/run/secrets/influx"', "token_file or token_env"),
        (INFLUX + 'token_env = "lower"', "token_env"),
        (INFLUX.replace("http://", "") + 'token_env = "A"', "url"),
        (INFLUX + 'token_env = "A"\nbuket = "x"', 'did you mean "bucket"'),
    ],
)
def test_faults_are_named(text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        parse(text, "site.toml", InfluxSettings)
