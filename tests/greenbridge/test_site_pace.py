"""The clock of a process from its environment."""

from __future__ import annotations

import pytest

from greenbridge.pace import EPOCH, SPEED, START, clock
from telemetry.clock import Pace
from telemetry.errors import ConfigError


def test_without_a_word_the_clock_is_the_machines() -> None:
    assert clock({}).pace.speed == 1.0
    assert abs(clock({}).now_ns() - clock({SPEED: "1"}).now_ns()) < 10**9


def test_the_same_environment_is_the_same_time() -> None:
    environment = {SPEED: "60", START: "2026-01-13T10:00:00Z", EPOCH: "2026-11-24T09:00:00+00:00"}
    expected = Pace(60.0, 1_768_298_400 * 10**9, 1_795_510_800 * 10**9)
    assert clock(environment).pace == clock(environment).pace == expected


def test_a_start_without_an_epoch_holds_from_now_on() -> None:
    started = clock({START: "2026-01-13T15:00:00+05:00"})
    assert 0 <= started.now_ns() - 1_768_298_400 * 10**9 < 10**9


@pytest.mark.parametrize(
    ("name", "value"),
    [(SPEED, "fast"), (SPEED, "0"), (SPEED, "1001"), (START, "2026-01-13"), (START, "soon"), (EPOCH, "x")],
)
def test_a_faulty_value_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} = {value}"):
        clock({name: value})
