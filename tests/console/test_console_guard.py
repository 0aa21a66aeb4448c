from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from console.config import LOOPBACK_NAMES
from console.guard import refusal_of

HOSTS = LOOPBACK_NAMES | {"console.example"}


def refused(method: str, *headers: tuple[str, str]) -> str:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    refusal = refusal_of(method, Headers(raw=raw), HOSTS)
    return "" if refusal is None else refusal[0]


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("127.0.0.1:8080", ""),
        ("localhost", ""),
        ("LOCALHOST:1", ""),
        ("[::1]:8080", ""),
        ("console.example", ""),
        ("evil.example", "host"),
        ("evil.example:8080", "host"),
        ("127.0.0.1.evil.example", "host"),
        ("127.0.0.1:8080@evil.example", "host"),
        ("localhost:8080:8080", "host"),
        ("", "host"),
        ("[::1", "host"),
    ],
)
def test_hosts(host: str, reason: str) -> None:
    assert refused("GET", ("host", host)) == reason


def test_a_request_names_one_host() -> None:
    assert refused("GET") == "host"
    assert refused("GET", ("host", "localhost"), ("host", "localhost")) == "host"


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "PATCH"])
@pytest.mark.parametrize(
    ("origin", "reason"),
    [
        ("http://localhost:8080", ""),
        ("https://localhost:8080", ""),
        ("http://localhost:9090", "origin"),
        ("http://localhost", "origin"),
        ("http://evil.example", "origin"),
        ("http://localhost:8080.evil.example", "origin"),
        ("null", "origin"),
        ("", "origin"),
        ("file://localhost:8080", "origin"),
        ("http://[", "origin"),
        ("http://user@localhost:8080", "origin"),
    ],
)
def test_changes_come_from_the_own_page(method: str, origin: str, reason: str) -> None:
    assert refused(method, ("host", "localhost:8080"), ("origin", origin)) == reason


def test_a_change_without_an_origin_or_with_two_is_refused() -> None:
    own = ("origin", "http://localhost:8080")
    assert refused("POST", ("host", "localhost:8080")) == "origin"
    assert refused("POST", ("host", "localhost:8080"), own, own) == "origin"
