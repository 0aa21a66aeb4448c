from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import AwareDatetime, Field, field_validator

from telemetry.errors import ConfigError, Problem
from telemetry.settings import Settings, key_path, nearest, parse


class Plain(Settings):
    kind: Literal["plain"]
    path: str


class Secured(Settings):
    kind: Literal["secured"]
    password: Annotated[str, Field(min_length=3)]


class Item(Settings):
    name: Annotated[str, Field(pattern=r"^[a-z]+$")]
    period_s: Annotated[float, Field(gt=0)] = 1.0
    level: Literal[1, 2] = 1

    @field_validator("name")
    @classmethod
    def _not_reserved(cls, name: str) -> str:
        if name == "none":
            raise ValueError("is reserved")
        return name


class Config(Settings):
    mode: Literal["fast", "slow"] = "fast"
    port: int = 1
    start: AwareDatetime | None = None
    low: float = 0.0
    tokens: tuple[str, ...] = ()
    password_file: str = ""
    item: tuple[Item, ...] = ()
    sink: Annotated[Plain | Secured, Field(discriminator="kind")] | None = None
    by_name: dict[str, Item] = Field(default_factory=dict)
    unit: Annotated[int, Field(ge=1, le=247)] = 1
    share: Annotated[float, Field(gt=0, lt=1)] | None = None


def problems(text: str, **environment: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "a.toml", Config, environment)
    return list(caught.value.problems)


def only(text: str, **environment: str) -> Problem:
    [problem] = problems(text, **environment)
    return problem


def test_every_fault_is_told_at_once_with_file_key_value_reason_and_fix() -> None:
    text = """
    mode = "fats"
    port = "one"
    pört = 1
    [[item]]
    name = "a"
    [[item]]
    perid_s = 2
    period_s = -1
    """
    found = {problem.key: problem for problem in problems(text.replace("pört", "prot"))}
    assert set(found) == {"mode", "port", "prot", "item[1].name", "item[1].perid_s", "item[1].period_s"}
    assert {problem.file for problem in found.values()} == {"a.toml"}
    assert found["mode"].fix == 'did you mean "fast"?'
    assert (found["prot"].reason, found["prot"].fix) == ("unknown key", 'did you mean "port"?')
    assert (found["item[1].name"].reason, found["item[1].name"].fix) == ("missing", "add name")
    assert found["item[1].perid_s"].fix == 'did you mean "period_s"?'
    assert found["item[1].period_s"].value == "-1"
    assert (
        str(found["port"]) == 'a.toml: port = "one": Input should be a valid integer (write a whole number)'
    )


def test_the_error_counts_its_problems() -> None:
    with pytest.raises(ConfigError, match=r"^2 problems in the configuration\n  a.toml: x = 1: .*\n  a"):
        parse("x = 1\ny = 2", "a.toml", Config)
    with pytest.raises(ConfigError, match=r"^1 problem in the configuration\n"):
        parse("x = 1", "a.toml", Config)


def test_text_that_is_not_toml_is_one_problem_with_its_place() -> None:
    problem = only("mode = ]")
    assert problem.key == ""
    assert "line 1" in problem.reason


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("tokens = [5]", "tokens[0]"),
        ('sink = { kind = "secured", password = "no" }', "sink.password"),
        ('by_name = { secret = { name = "A" } }', "by_name.secret.name"),
    ],
)
def test_secrets_are_masked_and_keys_carry_no_union_tag(text: str, key: str) -> None:
    problem = only(text)
    assert problem.key == key
    assert problem.value == '"***"'


def test_the_path_of_a_secret_is_no_secret() -> None:
    assert only("password_file = 5").value == "5"


@pytest.mark.parametrize(
    ("text", "reason", "fix"),
    [
        ('item = [{ name = "none" }]', "is reserved", ""),
        ('item = [{ name = "a", level = 3 }]', "Input should be 1 or 2", "valid: 1 or 2"),
        ("start = 2026-01-01T00:00:00", "Input should have timezone info", ""),
        ("port = 1.5", "Input should be a valid integer", "write a whole number"),
        ("port = true", "Input should be a valid integer", "write a whole number"),
    ],
)
def test_reasons_are_for_people(text: str, reason: str, fix: str) -> None:
    problem = only(text)
    assert (problem.reason, problem.fix) == (reason, fix)


def test_values_come_from_the_environment() -> None:
    text = """
    mode = "${MODE}"
    port = "${PORT:-7}"
    low = "${LOW}"
    tokens = ["${TOKEN}", "${EMPTY:-}"]
    """
    config = parse(text, "a.toml", Config, {"MODE": "slow", "LOW": "-inf", "TOKEN": "0123"})
    assert (config.mode, config.port, config.low, config.tokens) == ("slow", 7, float("-inf"), ("0123", ""))
    assert parse(text, "a.toml", Config, {"MODE": "slow", "LOW": "1", "TOKEN": "t", "PORT": "8"}).port == 8


def test_a_password_of_digits_stays_text() -> None:
    text = 'tokens = ["${TOKEN}"]\nport = "${PORT}"\nsink = { kind = "secured", password = "${PASSWORD}" }'
    config = parse(text, "a.toml", Config, {"TOKEN": "1e3", "PORT": "5", "PASSWORD": "123456"})
    assert config.tokens == ("1e3",)
    assert config.port == 5
    assert isinstance(config.sink, Secured)
    assert config.sink.password == "123456"


@pytest.mark.parametrize("value", ["${MODE", "${mode}", "x${MODE}", "${MODE}x", "${MODE:+x}"])
def test_a_reference_is_the_whole_value_or_refused(value: str) -> None:
    problem = only(f'mode = "{value}"', MODE="fast")
    assert problem.key == "mode"
    assert "must be the whole value" in problem.reason


def test_a_variable_that_is_not_set_is_one_problem_beside_the_others() -> None:
    found = problems('port = "${PORT}"\ntokens = ["${TOKEN}"]\nmode = 1')
    assert [(p.key, p.reason) for p in found[:2]] == [
        ("port", "environment variable PORT is not set"),
        ("tokens[0]", "environment variable TOKEN is not set"),
    ]
    assert [p.key for p in found] == ["port", "tokens[0]", "mode"]
    assert only('low = 1\ntokens = ["${TOKEN}"]').fix == "set TOKEN"


def test_settings_are_frozen() -> None:
    config = parse("", "a.toml", Config)
    with pytest.raises(ValueError, match="frozen"):
        config.port = 2


def test_nearest_offers_one_name_or_the_short_list() -> None:
    assert nearest("pm5xx", ["pm5xxx", "umg"]) == 'did you mean "pm5xxx"?'
    assert nearest("q", ["a", "b"]) == "valid: a, b"
    assert nearest("q", map(str, range(10))) == "valid: 0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
    assert nearest("q", []) == "none is defined"


def test_key_path() -> None:
    assert key_path(("device", 3, "modbus", "unit")) == "device[3].modbus.unit"
    assert key_path(()) == ""


class Chain(Settings):
    link: Annotated[tuple[Item, ...], Field(min_length=1)]


def test_a_faulty_entry_does_not_make_its_list_too_short_as_well() -> None:
    with pytest.raises(ConfigError) as caught:
        parse('link = [{ name = "a", period_s = -1.0 }]', "a.toml", Chain, {})
    assert [problem.key for problem in caught.value.problems] == ["link[0].period_s"]
    with pytest.raises(ConfigError, match="at least 1 item"):
        parse("link = []", "a.toml", Chain, {})


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("unit = 248", "valid: 1 to 247"),
        ("unit = 0", "valid: 1 to 247"),
        ("share = 1.0", "valid: more than 0 to less than 1"),
        ("item = [{ name = 'a', period_s = 0 }]", ""),
    ],
)
def test_a_number_out_of_range_is_told_the_whole_range(text: str, fix: str) -> None:
    assert only(text).fix == fix
