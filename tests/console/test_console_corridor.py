from __future__ import annotations

import pytest

from console.corridor import SiteView, site_view
from telemetry.site import Site


@pytest.fixture(scope="module")
def view(corridor: Site) -> SiteView:
    return site_view(corridor)


def path_of(view: SiteView, index: int | None) -> str:
    return next((point.path for point in view.points if point.index == index), "")


def test_every_branch_end_has_its_main_meter(view: SiteView) -> None:
    assert len(view.branches) == 18
    for branch in view.branches:
        for end in branch.ends:
            assert path_of(view, end.power) == f"{branch.id}_{end.node}_main/TotW"


def test_the_first_point_of_the_registry_is_shown_too(view: SiteView) -> None:
    # index 0 is a point like any other
    assert 0 in {point.index for point in view.points}
    assert all(node.voltage is not None and node.frequency is not None for node in view.nodes)


def test_ties_and_neighbours(view: SiteView) -> None:
    assert {branch.id for branch in view.branches if branch.tie} == {
        "SHY-TAS",
        "KUN-AKT",
        "AKT-ALT",
        "MGC-SAM",
    }
    assert [branch.id for branch in view.branches if branch.kind == "hvdc"] == ["AKT-ALT"]
    assert [(n.name, n.node, n.branch) for n in view.neighbours] == [("Georgia", "SAM", "MGC-SAM")]


def test_live_points_are_what_the_diagram_needs(view: SiteView) -> None:
    assert len(view.live) == len(set(view.live))
    assert {path_of(view, index).partition("/")[2] for index in view.live} == {"TotW", "W", "PPV", "Hz"}
    assert len(view.live) < len(view.points)
