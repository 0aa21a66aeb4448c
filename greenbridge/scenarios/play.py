"""From the name of a scenario to its report."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

import structlog

from greenbridge.scenarios import smallest, wire
from greenbridge.scenarios.library import Library, Named
from greenbridge.scenarios.player import Play, Player, built_rules
from greenbridge.scenarios.report import Report
from greenbridge.scenarios.smallest import Summary
from greenbridge.scenarios.verdict import judge, missing_rules
from greenbridge.settings import Configuration, load
from simulators.bench import Bench, load_file
from telemetry.clock import SystemClock
from telemetry.errors import ConfigError, Problem

SITE = "corridor"
"""The built-in site on whose devices scenarios are played."""


@cache
def _parts() -> tuple[Configuration, Bench]:
    return load(SITE, {}), load_file(None, {})


def library() -> Library:
    """The scenarios for the built-in site and bench."""
    return Library(*_parts())


def checked(names: Sequence[str] | None) -> Sequence[str]:
    """The names of scenarios, or of every shipped one, after all of them were read.

    Raises
    ------
    ConfigError
        One does not exist or is faulty: with the faults of all.

    """
    scenarios, problems = library(), list[Problem]()
    wanted = list(names or scenarios.names)
    for name in wanted:
        try:
            scenarios.get(name)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return wanted


def catalogue() -> list[dict[str, Any]]:
    """Name, title and missing rules of every shipped scenario."""
    built = built_rules()
    return [
        {"name": n.name, "title": n.scenario.title, "needs": missing_rules(n.scenario, built)}
        for n in library().all()
    ]


def in_virtual_time(name: str, seed: int | None = None, *, full: bool = False) -> Report:
    """Plays a scenario as fast as the machine can.

    Raises
    ------
    ConfigError
        There is no such scenario, or it is faulty.

    """
    # what the pipeline has to say of the faults is expected here
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    named = library().get(name)
    clock = SystemClock()
    begun = clock.monotonic()
    play = Player(*_parts()).play(named.scenario, seed=seed, full=full)
    return _report(named, play, seed, clock.monotonic() - begun)


def smallest_sizes(names: Sequence[str], seeds: Sequence[int]) -> Summary:
    """Plays sweeps of sizes with every seed.

    Raises
    ------
    ConfigError
        There is no such sweep.

    """
    wanted = smallest.checked(names)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    plays = dict(smallest.swept(wanted, seeds, Player(*_parts())))
    return smallest.summary(wanted, plays, *_parts())


def over_sockets(name: str, seed: int | None = None, *, full: bool = False) -> Report:
    """Plays a scenario in real time with broker, simulators and greenbridge as processes.

    Raises
    ------
    ConfigError
        There is no such scenario, or it is faulty.
    GreenbridgeError
        A process cannot be started.

    """
    named = library().get(name)
    clock = SystemClock()
    begun = clock.monotonic()
    play = asyncio.run(wire.play(named.scenario, clock, seed=seed, full=full))
    return _report(named, play, seed, clock.monotonic() - begun)


def each(work: Callable[[str], Report], names: Sequence[str], jobs: int) -> Iterator[Report]:
    """Reports in the order of the names, from several processes if ``jobs`` is above 1."""
    if jobs == 1 or len(names) == 1:
        yield from map(work, names)
        return
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, names)


def _report(named: Named, play: Play, seed: int | None, wall_s: float) -> Report:
    scenario = named.scenario
    verdict = judge(scenario, play.seen, built_rules(), play.broken)
    return Report(
        named.name, scenario.title, scenario.world.seed if seed is None else seed, play, verdict, wall_s
    )
