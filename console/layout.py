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
ARROW = 15.0
"""Length of line that must be seen between a card and a label, for the arrow."""

_RANK_SHARE_X = 0.45
_RANK_SHARE_Y = 0.35
_BEYOND_DEG = 1.0
_MOVES_PER_NODE = 300
_FIRST_STEP = 70.0
_LAST_STEP = 3.0
_HOMESICK = 0.004
"""Cost of a distance from home, against 1 for each unit of overlap."""
_SAME_SIDE_X = 0.5
_SAME_SIDE_Y = 0.5
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
    outside = neighbours or {}
    everything = {**coordinates, **_outward(coordinates, outside)}
    if not everything:
        return {}
    plan = _Plan(everything, branches, outside)
    at = plan.home.copy()
    cost = plan.cost(at)
    # a fixed seed: the same grid is always drawn the same way
    random = np.random.default_rng(1)
    moves = _MOVES_PER_NODE * len(at)
    for move in range(moves):
        reach = _FIRST_STEP * (_LAST_STEP / _FIRST_STEP) ** (move / moves)
        node = int(random.integers(len(at)))
        there = at.copy()
        there[node] = plan.within(node, at[node] + random.normal(0.0, reach, 2))
        lower = plan.cost(there)
        if lower < cost:
            at, cost = there, lower
    return {
        node: (round(float(x), 1), round(float(y), 1)) for node, (x, y) in zip(everything, at, strict=True)
    }


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

    def within(self, node: int, centre: Floats) -> Floats:
        """A centre moved into the diagram."""
        half = self._half[node]
        return np.clip(centre, half, np.array([WIDTH, HEIGHT]) - half)

    def cost(self, at: Floats) -> float:
        """How bad a placement of the nodes is; 0 if nothing collides and every node is at home."""
        centres = np.concatenate([at, (at[self._label_a] + at[self._label_b]) / 2])
        over = self._pair_half - np.abs(centres[:, None, :] - centres[None, :, :])
        overlap = np.minimum(over[..., 0], over[..., 1])
        collisions = overlap[self._above & (overlap > 0)].sum()
        swapped = np.maximum(0.0, -self._order * (at[:, None, :] - at[None, :, :])).sum() / 2
        away = np.hypot(*(at - self.home).T).sum()
        return float(collisions + self._lines(at, centres) + 0.3 * swapped + _HOMESICK * away)

    def _lines(self, at: Floats, centres: Floats) -> float:
        start = at[self._line_a]
        span = at[self._line_b] - start
        length = np.maximum(np.hypot(span[:, 0], span[:, 1]), 1.0)
        way = span / length[:, None]
        rel = centres[None, :, :] - start[:, None, :]
        along = rel[..., 0] * way[:, None, 0] + rel[..., 1] * way[:, None, 1]
        across = np.abs(rel[..., 0] * way[:, None, 1] - rel[..., 1] * way[:, None, 0])
        # half of what a box covers of a direction across the line
        needed = self._half[None, :, 0] * np.abs(way[:, None, 1]) + self._half[None, :, 1] * np.abs(
            way[:, None, 0]
        )
        struck = self._foreign & (along > 0) & (along < length[:, None])
        through = np.maximum(0.0, needed - across)[struck].sum()
        short = 0.0
        n = len(self._label_a)
        if n:
            aside = np.maximum(np.abs(way[:n]), 1e-9)
            card = (self._half[self._line_a[:n]] / aside).min(axis=1)
            label = (np.array([LABEL.width / 2, LABEL.height / 2]) / aside).min(axis=1)
            short = float(np.maximum(0.0, card + label + ARROW - length[:n] / 2).sum())
        return float(through) + short


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
