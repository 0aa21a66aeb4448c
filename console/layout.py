"""Where nodes stand on the one-line diagram: geographic, loosened until every card and label is readable.

Pure and deterministic. Real coordinates crowd (four nodes within 300 km) and sprawl (one line of 1,400 km):
each axis is first blended with its rank order, which spreads crowds. Then nodes move, one at a time and by
less and less, whenever that lowers a cost: boxes that overlap, lines that run through boxes, lines too short
for an arrow, nodes that changed sides, distance from home.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WIDTH = 1040.0
HEIGHT = 560.0


@dataclass(frozen=True, slots=True)
class Box:
    """Size of something drawn, with the free space that it needs [diagram units]."""

    width: float
    height: float


CARD = Box(132.0, 58.0)
"""A node."""
LABEL = Box(92.0, 46.0)
"""What is written on a branch."""
NEIGHBOUR = Box(84.0, 52.0)
"""The name of a neighbour outside the model."""
ARROW = 3.0
"""Length of line between the free space of a card and that of a label, so that an arrow can be seen."""

_RANK_SHARE_X = 0.3
_RANK_SHARE_Y = 0.5
_BEYOND_DEG = 1.0
_TRIALS = 8
"""Searches side by side, of which the best is taken: each gets stuck somewhere else."""
_MOVES_PER_NODE = 200
_FIRST_STEP = 130.0
_LAST_STEP = 3.0
_HOMESICK = 0.004
"""Cost of a distance from home, against 1 for each unit of overlap."""
_SWAPPED = 0.6
"""Cost of a distance on the wrong side of another node."""
_SAME_SIDE_X = 1.0
_SAME_SIDE_Y = 1.0
"""Nodes further apart than this keep their order [degrees]."""


def place(
    coordinates: Mapping[str, tuple[float, float]],
    branches: Sequence[tuple[str, str]],
    neighbours: Mapping[str, str] | None = None,
) -> dict[str, tuple[float, float]]:
    """Centres of the nodes' cards and of the neighbours' names.

    Arguments
    ---------
    coordinates
        Latitude and longitude of each node [degrees].
    branches
        The two nodes of each branch; a label stands at the middle of it.
    neighbours
        Names of what lies outside the model, each with the node that leads there; no name may be a node's.

    Returns
    -------
    dict
        x to the east and y to the south [diagram units], within ``WIDTH`` and ``HEIGHT``.

    """
    return dict(
        _placed(
            tuple(coordinates.items()), tuple((a, b) for a, b in branches), tuple((neighbours or {}).items())
        )
    )


@lru_cache(maxsize=4)
def _placed(
    places: tuple[tuple[str, tuple[float, float]], ...],
    branches: tuple[tuple[str, str], ...],
    neighbours: tuple[tuple[str, str], ...],
) -> Mapping[str, tuple[float, float]]:
    """The search takes a while; devices change more often than the grid."""
    coordinates, outside = dict(places), dict(neighbours)
    everything = {**coordinates, **_outward(coordinates, outside)}
    if not everything:
        return {}
    plan = _Plan(everything, branches, outside)
    at = np.repeat(plan.home[None], _TRIALS, axis=0)
    cost = plan.cost(at)
    trial = np.arange(_TRIALS)
    # a fixed seed: the same grid is always drawn the same way
    random = np.random.default_rng(1)
    moves = _MOVES_PER_NODE * len(everything)
    for move in range(moves):
        reach = _FIRST_STEP * (_LAST_STEP / _FIRST_STEP) ** (move / moves)
        node = random.integers(len(everything), size=_TRIALS)
        there = at.copy()
        there[trial, node] = plan.within(node, at[trial, node] + random.normal(0.0, reach, (_TRIALS, 2)))
        cost_there = plan.cost(there)
        better = cost_there < cost
        at[better], cost[better] = there[better], cost_there[better]
    best = at[int(np.argmin(cost))].tolist()
    return {node: (round(x, 1), round(y, 1)) for node, (x, y) in zip(everything, best, strict=True)}


class _Plan:
    """What a placement is judged by."""

    def __init__(
        self,
        coordinates: Mapping[str, tuple[float, float]],
        branches: Sequence[tuple[str, str]],
        outside: Mapping[str, str],
    ) -> None:
        position = {node: i for i, node in enumerate(coordinates)}
        boxes = [NEIGHBOUR if node in outside else CARD for node in coordinates]
        nodes = len(boxes)
        labelled = [(position[a], position[b]) for a, b in branches]
        lines = labelled + [(position[node], position[name]) for name, node in outside.items()]
        self._label_a = np.array([a for a, _ in labelled], np.intp)
        self._label_b = np.array([b for _, b in labelled], np.intp)
        self._line_a = np.array([a for a, _ in lines], np.intp)
        self._line_b = np.array([b for _, b in lines], np.intp)
        sizes = boxes + [LABEL] * len(labelled)
        self._half = np.array([(box.width / 2, box.height / 2) for box in sizes]).reshape(-1, 2)
        self._pair_half = self._half[:, None, :] + self._half[None, :, :]
        self._above = np.triu(np.ones((len(sizes), len(sizes)), bool), 1)
        # a line is free to touch the boxes at its ends and its own label
        self._foreign = np.ones((len(lines), len(sizes)), bool)
        for i, (a, b) in enumerate(lines):
            self._foreign[i, [a, b]] = False
            if i < len(labelled):
                self._foreign[i, nodes + i] = False
        self.home = _homes(coordinates, self._half[:nodes])
        degrees = np.array([(longitude, -latitude) for latitude, longitude in coordinates.values()])
        apart = degrees[:, None, :] - degrees[None, :, :]
        self._order = np.where(np.abs(apart) > (_SAME_SIDE_X, _SAME_SIDE_Y), np.sign(apart), 0.0)

    def within(self, node: NDArray[np.int64], centre: Floats) -> Floats:
        """Centres of some nodes moved into the diagram, one row for each."""
        half = self._half[node]
        return np.clip(centre, half, np.array([WIDTH, HEIGHT]) - half)

    def cost(self, at: Floats) -> Floats:
        """How bad placements are, shape (trials, nodes, 2); 0 if nothing collides and all are at home."""
        centres = np.concatenate([at, (at[:, self._label_a] + at[:, self._label_b]) / 2], axis=1)
        over = self._pair_half - np.abs(centres[:, :, None] - centres[:, None, :])
        overlap = np.minimum(over[..., 0], over[..., 1])
        collisions = np.where(self._above & (overlap > 0), overlap, 0.0).sum(axis=(1, 2))
        swapped = np.maximum(0.0, -self._order * (at[:, :, None] - at[:, None, :])).sum(axis=(1, 2, 3)) / 2
        away = np.hypot(at[..., 0] - self.home[:, 0], at[..., 1] - self.home[:, 1]).sum(axis=1)
        lines = self._struck(at, centres) + self._short(at)
        return np.asarray(collisions + lines + _SWAPPED * swapped + _HOMESICK * away)

    def _struck(self, at: Floats, centres: Floats) -> Floats:
        """Lines that run through boxes of others: how deep."""
        start, way, length = self._ways(at)
        x = centres[:, None, :, 0] - start[..., 0, None]
        y = centres[:, None, :, 1] - start[..., 1, None]
        way_x, way_y = way[..., 0, None], way[..., 1, None]
        along = x * way_x + y * way_y
        across = np.abs(x * way_y - y * way_x)
        # half of what a box covers of a direction across the line
        needed = self._half[:, 0] * np.abs(way_y) + self._half[:, 1] * np.abs(way_x)
        struck = self._foreign & (along > 0) & (along < length[..., None])
        return np.asarray(np.where(struck, np.maximum(0.0, needed - across), 0.0).sum(axis=(1, 2)))

    def _short(self, at: Floats) -> Floats:
        """Lines that leave no room for an arrow between the card and the label: how much is missing."""
        _, way, length = self._ways(at)
        n = len(self._label_a)
        aside = np.maximum(np.abs(way[:, :n]), 1e-9)
        card = (self._half[self._line_a[:n]] / aside).min(axis=2)
        label = (np.array([LABEL.width / 2, LABEL.height / 2]) / aside).min(axis=2)
        return np.asarray(np.maximum(0.0, card + label + ARROW - length[:, :n] / 2).sum(axis=1))

    def _ways(self, at: Floats) -> tuple[Floats, Floats, Floats]:
        """Start, direction and length of every line."""
        start = at[:, self._line_a]
        span = at[:, self._line_b] - start
        length = np.maximum(np.hypot(span[..., 0], span[..., 1]), 1.0)
        return start, span / length[..., None], length


def _outward(
    coordinates: Mapping[str, tuple[float, float]], neighbours: Mapping[str, str]
) -> dict[str, tuple[float, float]]:
    """A neighbour lies beyond its node, seen from the middle of everything [degrees]."""
    if not neighbours:
        return {}
    middle = [sum(c[axis] for c in coordinates.values()) / len(coordinates) for axis in (0, 1)]
    placed = {}
    for name, node in neighbours.items():
        north, east = (coordinates[node][axis] - middle[axis] for axis in (0, 1))
        distance = math.hypot(north, east) or 1.0
        placed[name] = (
            coordinates[node][0] + _BEYOND_DEG * north / distance,
            coordinates[node][1] + _BEYOND_DEG * east / distance,
        )
    return placed


def _homes(coordinates: Mapping[str, tuple[float, float]], half: Floats) -> Floats:
    x = _spread([longitude for _, longitude in coordinates.values()], _RANK_SHARE_X)
    y = _spread([-latitude for latitude, _ in coordinates.values()], _RANK_SHARE_Y)
    edge = np.array([WIDTH, HEIGHT])
    return half + np.column_stack([x, y]) * (edge - 2 * half)


def _spread(values: Sequence[float], rank_share: float) -> Floats:
    """Values mapped to 0..1, partly by size and partly by order; equal values stay equal."""
    distinct, rank = np.unique(np.array(values), return_inverse=True)
    if len(distinct) < 2:
        return np.full(len(values), 0.5)
    by_size = (np.array(values) - distinct[0]) / (distinct[-1] - distinct[0])
    return np.asarray((1 - rank_share) * by_size + rank_share * rank / (len(distinct) - 1))
