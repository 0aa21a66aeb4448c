from __future__ import annotations

from collections.abc import Callable

import pytest

from simulators.bench import Bench, load_file
from simulators.world.corridor import Corridor, reference
from simulators.world.plants import reference_plants
from simulators.world.world import World, WorldPlan

START_NS = 1_795_500_000_000_000_000

MakeWorld = Callable[..., World]


@pytest.fixture(scope="session")
def corridor() -> Corridor:
    return reference()


@pytest.fixture
def make_world(corridor: Corridor) -> MakeWorld:
    def make(seed: int = 1, scale: float = 1.0, start_ns: int = START_NS) -> World:
        return World(WorldPlan(corridor, reference_plants(), injection_scale=scale), seed, start_ns)

    return make


@pytest.fixture
def bench() -> Bench:
    """The shipped bench on free ports, with nobody at the broker's port."""
    free = {f"GB_MODBUS_PORT_{gateway.id}": "0" for gateway in load_file(None, {}).gateway}
    return load_file(None, {**free, "GB_SIM_CONTROL_PORT": "0", "GB_BROKER_PORT": "1"})
