"""Where nodes stand on the one-line diagram: geographic, loosened until every card and label is readable.

Pure and deterministic. Real coordinates crowd (four nodes within 300 km) and sprawl (one line of 1,400 km):
each axis is first blended with its rank order, which spreads crowds and keeps who is west or north of whom;
then boxes that overlap push each other apart while a weak spring pulls every node back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WIDTH = 1040.0
HEIGHT = 560.0


@dataclass(frozen=True, slots=True)
class Box:
    """Size of something drawn, with its margin [diagram units]."""

    width: float
    height: float


CARD = Box(112.0, 56.0)
"""A node."""
LABEL = Box(100.0, 48.0)
"""What is written on a branch."""
NEIGHBOUR = Box(84.0, 30.0)
"""The name of a neighbour outside the model."""
MARGIN = 6.0
"""Free space around the diagram."""

_RANK_SHARE_X = 0.55
_RANK_SHARE_Y = 0.5
_SPRING = 0.02
_BEYOND_DEG = 1.0
_STEPS = 600


@dataclass(slots=True)
class _Item:
    """A box whose centre is the mean of the nodes that carry it."""

    carriers: tuple[str, ...]
    box: Box


@dataclass(slots=True)
class _Plan:
    home: dict[str, tuple[float, float]]
    at: dict[str, list[float]] = field(default_factory=dict)

    def centre(self, item: _Item) -> tuple[float, float]:
        n = len(item.carriers)
        return sum(self.at[c][0] for c in item.carriers) / n, sum(self.at[c][1] for c in item.carriers) / n

    def push(self, item: _Item, dx: float, dy: float) -> None:
        for carrier in item.carriers:
            self.at[carrier][0] += dx
            self.at[carrier][1] += dy


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
    plan = _Plan(_homes({**coordinates, **_outward(coordinates, outside)}))
    plan.at = {node: [x, y] for node, (x, y) in plan.home.items()}
    items = [_Item((node,), NEIGHBOUR if node in outside else CARD) for node in plan.home]
    items += [_Item(pair, LABEL) for pair in branches]
    lines = [*branches, *((node, name) for name, node in outside.items())]
    for step in range(_STEPS):
        # the spring fades, so that the last steps only separate
        spring = _SPRING * (1.0 - step / _STEPS)
        for node, (x, y) in plan.home.items():
            plan.at[node][0] += spring * (x - plan.at[node][0])
            plan.at[node][1] += spring * (y - plan.at[node][1])
        _separate(plan, items)
        _clear_lines(plan, lines)
        for position in plan.at.values():
            position[0] = _within(position[0], CARD.width, WIDTH)
            position[1] = _within(position[1], CARD.height, HEIGHT)
    return {node: (round(x, 1), round(y, 1)) for node, (x, y) in plan.at.items()}


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


def _homes(coordinates: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    x = _spread({node: longitude for node, (_, longitude) in coordinates.items()}, _RANK_SHARE_X)
    y = _spread({node: -latitude for node, (latitude, _) in coordinates.items()}, _RANK_SHARE_Y)
    inner_width, inner_height = WIDTH - CARD.width - 2 * MARGIN, HEIGHT - CARD.height - 2 * MARGIN
    return {
        node: (
            MARGIN + CARD.width / 2 + inner_width * x[node],
            MARGIN + CARD.height / 2 + inner_height * y[node],
        )
        for node in coordinates
    }


def _spread(values: Mapping[str, float], rank_share: float) -> dict[str, float]:
    """Values mapped to 0..1, partly by size and partly by order; equal values stay equal."""
    ordered = sorted(set(values.values()))
    if len(ordered) < 2:
        return dict.fromkeys(values, 0.5)
    low, high = ordered[0], ordered[-1]
    rank = {value: i / (len(ordered) - 1) for i, value in enumerate(ordered)}
    return {
        node: (1 - rank_share) * (value - low) / (high - low) + rank_share * rank[value]
        for node, value in values.items()
    }


def _separate(plan: _Plan, items: Sequence[_Item]) -> None:
    for i, one in enumerate(items):
        for other in items[:i]:
            ax, ay = plan.centre(one)
            bx, by = plan.centre(other)
            over_x = (one.box.width + other.box.width) / 2 - abs(ax - bx)
            over_y = (one.box.height + other.box.height) / 2 - abs(ay - by)
            if over_x <= 0 or over_y <= 0:
                continue
            if over_x < over_y:
                shift = math.copysign(over_x / 4, ax - bx)
                plan.push(one, shift, 0.0)
                plan.push(other, -shift, 0.0)
            else:
                shift = math.copysign(over_y / 4, ay - by)
                plan.push(one, 0.0, shift)
                plan.push(other, 0.0, -shift)


def _clear_lines(plan: _Plan, branches: Sequence[tuple[str, str]]) -> None:
    """Pushes cards off the lines of branches that do not end there."""
    reach = CARD.height / 2 + 8.0
    for a, b in branches:
        (ax, ay), (bx, by) = plan.at[a], plan.at[b]
        dx, dy = bx - ax, by - ay
        length = math.hypot(dx, dy)
        if length == 0:
            continue
        for node, position in plan.at.items():
            if node in {a, b}:
                continue
            along = ((position[0] - ax) * dx + (position[1] - ay) * dy) / length
            across = ((position[0] - ax) * dy - (position[1] - ay) * dx) / length
            # a card is wider than high: what it needs across the line depends on the line's slope
            needed = reach + (CARD.width - CARD.height) / 2 * abs(dy) / length
            if 0 < along < length and abs(across) < needed:
                shift = math.copysign((needed - abs(across)) / 6, across)
                position[0] += shift * dy / length
                position[1] -= shift * dx / length
                for end in (a, b):
                    plan.at[end][0] -= shift / 2 * dy / length
                    plan.at[end][1] += shift / 2 * dx / length


def _within(centre: float, size: float, extent: float) -> float:
    least = MARGIN + size / 2
    return min(max(centre, least), extent - least)
