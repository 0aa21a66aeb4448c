from __future__ import annotations

import pytest

from console.config import ConsoleSettings, is_loopback
from telemetry.errors import ConfigError
from telemetry.settings import parse


def test_defaults_stay_on_this_machine() -> None:
    settings = parse("", "site.toml", ConsoleSettings)
    assert is_loopback(settings.host)
    assert not settings.behind_proxy
    assert settings.hosts == {"127.0.0.1", "localhost", "[::1]"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "console.example"])
def test_other_addresses_need_tls_or_a_proxy(host: str) -> None:
    with pytest.raises(ConfigError, match="behind_proxy = true") as caught:
        parse(f'host = "{host}"', "site.toml", ConsoleSettings)
    assert [problem.key for problem in caught.value.problems] == ["host"]
    proxied = parse(f'behind_proxy = true\nhost = "{host}"', "site.toml", ConsoleSettings)
    tls = 'tls = {certificate_file = "cert.pem", key_file = "key.pem"}'
    served = parse(f'{tls}\nhost = "{host}"', "site.toml", ConsoleSettings)
    for settings in (proxied, served):
        assert (settings.host, settings.secure, settings.is_local) == (host, True, False)


@pytest.mark.parametrize(
    "text",
    ["port = 65536", "session_hours = 0.0", "max_streams = 0", 'allowed_hosts = ["a b"]', "tls = true"],
)
def test_what_cannot_be_used_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse(text, "site.toml", ConsoleSettings)


def test_host_names_are_compared_without_case() -> None:
    assert "console.example" in ConsoleSettings(allowed_hosts=("Console.Example",)).hosts
