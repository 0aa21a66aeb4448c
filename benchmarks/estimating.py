"""A state estimate of 300 nodes with every hypothesis tested, against plain dense least squares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np

from alerts.estimator.diagnosis import Estimator
from alerts.estimator.measurements import Meter, Scan
from alerts.rules.line_state import MeterAccuracy
from benchmarks.harness import Benchmark, Contenders, Size, repeated
from telemetry.grid import Grid, Line, LineParameters, Node

NODES, LINES = 300, 450
_CLASS = MeterAccuracy(0.2, 0.3)


def network(seed: int = 1) -> tuple[Grid, list[Meter], Scan]:
    """A meshed grid with random flows, a meter at each line end and node, and noise of their class."""
    rng = np.random.default_rng(seed)
    pairs = {(int(rng.integers(max(0, i - 8), i)), i) for i in range(1, NODES)}
    while len(pairs) < LINES:
        a = int(rng.integers(0, NODES - 1))
        b = min(NODES - 1, a + int(rng.integers(1, 12)))
        pairs |= {(a, b)} if a != b else set()
    lines = [
        {"id": f"L{k}", "from": f"N{a}", "to": f"N{b}", "circuits": 1 + k % 2, "limit_mw": 1000.0}
        | {"sections": [{"km": 100.0 + k % 150}]}
        for k, (a, b) in enumerate(sorted(pairs))
    ]
    grid = Grid(
        u_rated_kv=500.0,
        line_parameters=LineParameters(
            r_ohm_per_km=0.025,
            x_ohm_per_km=0.306,
            b_us_per_km=3.6,
            corona_kw_per_km=2.4,
            corona_sigma_kw_per_km=5.0,
        ),
        area=(),
        node=tuple(Node(id=f"N{i}", name="", area="X", latitude=0.0, longitude=0.0) for i in range(NODES)),
        line=tuple(Line.model_validate(line, strict=False) for line in lines),
    )
    meters = [Meter(f"{b.id}_{n}", n, b.id, _CLASS) for b in grid.line for n in (b.from_node, b.to_node)]
    meters += [Meter(node.id, node.id, "", _CLASS) for node in grid.node]
    branches = Estimator(grid, meters).model.branches
    p, q, v = np.zeros(len(meters)), np.zeros(len(meters)), np.full(len(meters), 505.0)
    for k, branch in enumerate(branches):
        sent = float(rng.normal(0, 300))
        far = branch.forward.of(grid.line[k].circuits).far_end(505.0, sent, -50.0)  # type: ignore[union-attr]
        p[2 * k : 2 * k + 2] = sent, far.p_mw
        q[2 * k : 2 * k + 2] = -50.0, far.q_mvar
        v[2 * k + 1] = far.v_kv
        for node, power in zip(branch.nodes, (sent, far.p_mw), strict=True):
            p[2 * LINES + int(node[1:])] += power
    sigma = np.hypot(0.002 * p, 0.3)
    return grid, meters, Scan(0, p + sigma * rng.standard_normal(len(p)), q, v, sigma)


@contextmanager
def _estimates(size: Size) -> Iterator[Contenders]:
    grid, meters, scan = network()
    estimator = Estimator(grid, meters)
    model = estimator.model
    seen = model.observe(scan, np.zeros(len(meters)))
    equations = model.linearised(seen, seen.start)
    matrix, candidates = equations.matrix.toarray(), model.losses_elsewhere(seen).toarray()
    weights = seen.sigma**-2

    def ours() -> int:
        assert estimator.diagnose(scan).freedom == 2 * LINES + NODES - LINES
        return 1

    def dense() -> int:
        # two steps of the iteration, then the covariance of every residual, as the textbook has it
        weighted = matrix.T * weights
        for _ in range(2):
            np.linalg.solve(weighted @ matrix, weighted @ (seen.z - equations.constant))
        omega = np.diag(seen.sigma**2) - matrix @ np.linalg.solve(weighted @ matrix, matrix.T)
        information = (candidates.T * weights) @ omega @ (weights[:, None] * candidates)
        assert len(information) == LINES
        return 1

    yield {
        "sparse, with every hypothesis": partial(repeated, ours, size.seconds),
        "plain dense numpy": partial(repeated, dense, size.seconds),
    }


ESTIMATED = Benchmark(
    "state-estimate",
    "State estimates of 300 nodes, 450 lines and 1,200 meters, with 1,650 hypotheses tested",
    "estimate",
    _estimates,
    target_per_s=10,
    per_core=True,
    note="below 100 ms each; the baseline leaves out losses, ranking and text",
)
