"""Measurements of the simulators' corridor, whose power flow shares no code with the estimator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from alerts.estimator.diagnosis import Diagnosis, Estimator
from alerts.estimator.measurements import Array, Meter, Scan
from alerts.rules.line_state import MeterAccuracy
from simulators.world.corridor import reference
from simulators.world.plants import reference_plants
from simulators.world.world import World, WorldPlan
from telemetry.grid import Grid
from telemetry.settings import parse

CLASS = MeterAccuracy(0.2, 0.3)
START_NS = 1_795_500_000_000_000_000


class Corridor:
    """The corridor with a main meter at every branch end and an injection meter at every node."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        ends = [(b.id, node) for b in grid.line for node in (b.from_node, b.to_node)]
        ends += [(b.id, node) for b in grid.hvdc for node in (b.from_node, b.to_node)]
        self.meters = [Meter(f"{branch}_{node}_main", node, branch, CLASS) for branch, node in ends]
        self.meters += [Meter(f"{node.id}_injection", node.id, "", CLASS) for node in grid.node]
        self.estimator = Estimator(grid, self.meters)
        self.world = World(WorldPlan(reference(), reference_plants()), 1, START_NS)

    def index(self, meter: str) -> int:
        return [m.id for m in self.meters].index(meter)

    def truth(self) -> Scan:
        now, nodes = self.world.snapshot, list(self.world.nodes)
        columns = []
        for meter in self.meters:
            if meter.branch:
                i = self.world.end(meter.branch, meter.node)
                columns.append((now.end_p_mw[i], now.end_q_mvar[i], now.end_v_kv[i]))
            else:
                i = nodes.index(meter.node)
                columns.append((now.node_p_mw[i], now.node_q_mvar[i], now.node_v_kv[i]))
        p, q, v = np.array(columns).T
        return Scan(now.t_ns, p, q, v, np.hypot(0.002 * p, 0.3))

    def diagnose(self, p: Array, scan: Scan | None = None) -> Diagnosis:
        base = scan or self.truth()
        return self.estimator.diagnose(Scan(base.instant, p, base.q_mvar, base.v_kv, base.sigma_mw))

    def noisy(self, scan: Scan, count: int, seed: int, bias: Array | float = 0.0) -> Iterator[Diagnosis]:
        rng = np.random.default_rng(seed)
        for _ in range(count):
            noise = scan.sigma_mw * rng.standard_normal(len(scan.p_mw))
            yield self.diagnose(scan.p_mw + bias + noise, scan)


@pytest.fixture(scope="session")
def configured() -> Grid:
    path = Path(__file__).parents[3] / "greenbridge" / "corridor" / "grid.toml"
    return parse(path.read_text("utf-8"), path.name, Grid)


@pytest.fixture
def corridor(configured: Grid) -> Corridor:
    """With the weather known to be fair."""
    known = configured.line_parameters.model_copy(update={"corona_sigma_kw_per_km": 0.0})
    return Corridor(configured.model_copy(update={"line_parameters": known}))


@pytest.fixture
def unknown_weather(configured: Grid) -> Corridor:
    """With the uncertainty of the corona loss that the corridor's configuration states."""
    return Corridor(configured)
