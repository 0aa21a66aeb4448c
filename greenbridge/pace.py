"""The pace of this process's clock, from its environment: shared by ``simulate`` and ``run``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from telemetry.clock import Pace, SystemClock
from telemetry.errors import ConfigError, Problem

SPEED, START, EPOCH = "GREENBRIDGE_SPEED", "GREENBRIDGE_START", "GREENBRIDGE_EPOCH"
"""Seconds for each real second; date and time to start at; real time at which that date holds.

Processes that are to share one time need the same three; without an epoch the clock starts with the process.
"""
LIMITS = (0.1, 1000.0)


def clock(environment: Mapping[str, str]) -> SystemClock:
    """The clock that the environment asks for; the machine's if it asks for none.

    Raises
    ------
    ConfigError
        A value cannot be read or is out of range.

    """
    if not any(environment.get(name) for name in (SPEED, START, EPOCH)):
        return SystemClock()
    now_ns = SystemClock().now_ns()
    problems: list[Problem] = []
    speed = _speed(environment.get(SPEED) or "1", problems)
    epoch_ns = _time(EPOCH, environment.get(EPOCH, ""), now_ns, problems)
    wall_ns = _time(START, environment.get(START, ""), epoch_ns, problems)
    if problems:
        raise ConfigError(problems)
    return SystemClock(Pace(speed, wall_ns, epoch_ns))


def _speed(text: str, problems: list[Problem]) -> float:
    low, high = LIMITS
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not low <= speed <= high:
        problems.append(Problem("environment", SPEED, text, f"is not a number from {low:g} to {high:g}"))
        return 1.0
    return speed


def _time(name: str, text: str, default: int, problems: list[Problem]) -> int:
    if not text:
        return default
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        fix = "write it like 2026-01-13T10:00:00Z"
        problems.append(Problem("environment", name, text, "is not a date and time with its zone", fix))
        return default
    return round(moment.timestamp() * 1e6) * 1_000
