"""TOML that is written reads back; tables line up; nothing is written over."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.config import GatewaySettings
from adapters.profiles import bundled_profiles
from commissioning.drafts import Draft, drafted_device, plain
from commissioning.tables import aligned, number, printable
from commissioning.toml_text import toml_text
from telemetry.devices import ModbusAddress
from telemetry.profiles import parse_profile

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars: st.SearchStrategy[Any] = st.one_of(
    st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), texts
)
values = st.recursive(
    st.one_of(scalars, st.lists(scalars, max_size=4)),
    lambda inner: st.one_of(
        st.dictionaries(texts, inner, max_size=4),
        st.lists(st.dictionaries(texts, inner, max_size=3), min_size=1, max_size=3),
    ),
    max_leaves=15,
)


@given(st.dictionaries(texts, values, max_size=5))
def test_what_is_written_reads_back(document: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text(document)) == document


def test_what_has_no_form_in_toml_is_refused() -> None:
    with pytest.raises(TypeError, match="object is no type"):
        toml_text({"key": object()})


@pytest.mark.parametrize("name", sorted(bundled_profiles()))
def test_every_bundled_profile_survives_being_written(name: str) -> None:
    profile = bundled_profiles()[name]
    assert parse_profile(toml_text(plain(profile)), "again.toml") == profile


def test_a_profile_alone_carries_what_leads_to_it_as_comments() -> None:
    profile = bundled_profiles()["umg"]
    device = drafted_device(7, profile.id, modbus=ModbusAddress(gateway="gateway", unit=7))
    gateway = GatewaySettings(id="gateway", host="192.0.2.7", timeout_s=2.5)
    text = Draft(profile, "modbus", "gateway", gateway, (device,), ("Mind the step",)).profile_text()
    assert parse_profile(text, "umg.toml") == profile
    comments = "\n".join(line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   "))
    led = tomllib.loads(comments)
    assert led["modbus"]["gateway"] == [{"id": "gateway", "host": "192.0.2.7", "timeout_s": 2.5}]
    assert led["device"][0]["modbus"] == {"gateway": "gateway", "unit": 7}
    assert "# Mind the step\n" in text


def test_columns_line_up_and_nothing_moves_the_cursor() -> None:
    shown = aligned(["name", "value"], [["a", "1"], ["long\x1b[2Jer", "23456"]], {1}).splitlines()
    assert shown == ["  name        value", "  a               1", "  long?[2Jer  23456"]
    assert printable("a\nb\x07") == "a?b?"
    assert aligned(["only"], []) == "  only"


@pytest.mark.parametrize(
    ("value", "shown"), [(50.0, "50"), (50.00235, "50.00235"), (-323112.4375, "-323112.4"), (1e30, "1e+30")]
)
def test_numbers_have_as_many_digits_as_were_measured(value: float, shown: str) -> None:
    assert number(value) == shown
