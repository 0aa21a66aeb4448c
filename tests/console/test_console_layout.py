from __future__ import annotations

import itertools

import pytest

from console import layout
from console.layout import Box, place
from tests.console.rig import LINES, NODES

COORDINATES = {node: (latitude, longitude) for node, (_, _, latitude, longitude) in NODES.items()}
BRANCHES = [(a, b) for a, _, b in (branch.partition("-") for branch in [*LINES, "AKT-ALT"])]


@pytest.fixture(scope="module")
def placed() -> dict[str, tuple[float, float]]:
    return place(COORDINATES, BRANCHES, {"beyond": "SAM"})


def test_nothing_covers_anything(placed: dict[str, tuple[float, float]]) -> None:
    # what the page draws is smaller than what the layout keeps free
    card, label = Box(122.0, 46.0), Box(84.0, 36.0)
    boxes = [(placed[node], card, node) for node in NODES]
    boxes += [
        (((placed[a][0] + placed[b][0]) / 2, (placed[a][1] + placed[b][1]) / 2), label, f"{a}-{b}")
        for a, b in BRANCHES
    ]
    covered = [
        (one, other)
        for ((ax, ay), a, one), ((bx, by), b, other) in itertools.combinations(boxes, 2)
        if abs(ax - bx) < (a.width + b.width) / 2 and abs(ay - by) < (a.height + b.height) / 2
    ]
    assert covered == []


def test_everything_is_inside(placed: dict[str, tuple[float, float]]) -> None:
    for x, y in placed.values():
        assert 0 < x < layout.WIDTH
        assert 0 < y < layout.HEIGHT


def test_the_geography_is_recognisable(placed: dict[str, tuple[float, float]]) -> None:
    turned = [
        (a, b)
        for a, b in itertools.combinations(COORDINATES, 2)
        for axis, direction, apart in ((1, 1, 2.0), (0, -1, 1.5))
        if abs(COORDINATES[a][axis] - COORDINATES[b][axis]) > apart
        and (COORDINATES[a][axis] - COORDINATES[b][axis])
        * direction
        * (placed[a][1 - axis] - placed[b][1 - axis])
        < -20
    ]
    assert turned == []


def test_the_same_grid_is_drawn_the_same_way(placed: dict[str, tuple[float, float]]) -> None:
    assert place(COORDINATES, BRANCHES, {"beyond": "SAM"}) == placed


@pytest.mark.parametrize(
    ("coordinates", "branches"),
    [
        ({}, []),
        ({"A": (50.0, 60.0)}, []),
        ({"A": (50.0, 60.0), "B": (50.0, 60.0)}, [("A", "B")]),
        ({"A": (50.0, 60.0), "B": (50.0, 60.0)}, [("A", "B"), ("A", "B")]),
    ],
)
def test_small_and_degenerate_grids(
    coordinates: dict[str, tuple[float, float]], branches: list[tuple[str, str]]
) -> None:
    assert set(place(coordinates, branches)) == set(coordinates)
