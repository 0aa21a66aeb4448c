"""Steps of the world: one second of the 17-node corridor at a time, without wire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np

from benchmarks.harness import Benchmark, Contenders, Size, repeated
from simulators.world.corridor import reference
from simulators.world.plants import reference_plants
from simulators.world.world import World, WorldPlan

START_NS = 1_795_500_000_000_000_000
_BATCH = 20


@contextmanager
def _steps(size: Size) -> Iterator[Contenders]:
    world = World(WorldPlan(reference(), reference_plants()), 1, START_NS)
    unknowns = 2 * len(world.network.free)
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(unknowns, unknowns)) + unknowns * np.eye(unknowns)
    right = rng.normal(size=unknowns)

    def ours() -> int:
        for _ in range(_BATCH):
            world.step(1.0)
        assert world.snapshot.collapse is None
        return _BATCH

    def baseline() -> int:
        for _ in range(_BATCH):
            np.linalg.solve(matrix, right)
        return _BATCH

    yield {
        "world": partial(repeated, ours, size.seconds),
        "one linear solve of the power flow's size": partial(repeated, baseline, size.seconds),
    }


STEPS = Benchmark(
    "world-step",
    "Seconds of the simulated corridor: weather, plants, loads, generation control, AC power flow",
    "step",
    _steps,
    target_per_s=1440,
    per_core=True,
    note="a simulated day in 60 s is 1440 steps/s; the baseline is the least that any Newton iteration costs",
)
