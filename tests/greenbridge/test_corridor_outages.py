"""R21 on the corridor, fed with what its meters read of the simulators' AC truth."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import pytest

from alerts.config import AlertsSettings
from alerts.operation_config import ContingencyRules, RunBack, contingency_problems
from alerts.rules.catalogue import rules_of
from alerts.rules.contingency import ContingencyRule
from alerts.rules.finding import Finding, Rule
from greenbridge.settings import load
from simulators.world import network, powerflow
from simulators.world.corridor import reference
from simulators.world.network import BASE_MVA, Switching
from simulators.world.powerflow import Solution
from telemetry.devices import Role
from telemetry.registry import PointRegistry
from telemetry.site import Site
from tests.alerts.rule_rig import judged

WORLD = reference()
CONFIGURATION = load("corridor", {})
SITE = CONFIGURATION.site(PointRegistry(CONFIGURATION.keys()))
CORRIDOR = CONFIGURATION.settings.alerts.contingency.model_copy(update={"enabled": True})


@cache
def measured(order_mw: float) -> Mapping[tuple[str, str, str], float]:
    """What a meter of a branch (or, without one, of a busbar) at a node reads of a quantity."""
    net = network.build(WORLD, Switching())
    names = [bus.id for bus in WORLD.buses]
    p = np.array([bus.p_mw for bus in WORLD.buses], float)
    received = WORLD.hvdc.received_mw(order_mw)
    p[names.index("AKT")] -= order_mw
    p[names.index("ALT")] += received
    found = powerflow.solve(net, p / BASE_MVA, np.array([bus.q_mvar for bus in WORLD.buses]) / BASE_MVA)
    assert isinstance(found, Solution)
    values: dict[tuple[str, str, str], float] = {}
    flows = powerflow.line_flows(net, found)
    for line, *ends in zip(WORLD.lines, *flows, strict=True):
        for node, mva in zip((line.chain[0], line.chain[-1]), ends, strict=True):
            values[line.id, node, "TotW"] = float(mva.real) * BASE_MVA
            values[line.id, node, "TotVAr"] = float(mva.imag) * BASE_MVA
    values["AKT-ALT", "AKT", "TotW"], values["AKT-ALT", "ALT", "TotW"] = order_mw, -received
    for bus, pu in zip(net.buses, found.voltage, strict=True):
        values["", bus, "PPV"] = float(pu) * 500.0
    return values


def rules(settings: ContingencyRules, site: Site = SITE) -> dict[str, Rule]:
    every, _ = rules_of(site, AlertsSettings.model_validate({"R21": settings}))
    return {rule.subject.asset: rule for rule in every if isinstance(rule, ContingencyRule)}


def place(index: int) -> tuple[str, str, str]:
    """What a point measures, as :func:`measured` names it."""
    point = SITE.points[index]
    branch = "" if point.key.name == "PPV" else point.device.branch or ""
    return branch, point.device.node, point.key.name


def outlook(
    outage: str, settings: ContingencyRules = CORRIDOR, order_mw: float = 800.0, missing: str = ""
) -> Finding:
    """What is found of an outage after its first turn."""
    rule, truth = rules(settings)[outage], measured(order_mw)
    values: dict[int, float | None] = {}
    for index in rule.inputs:
        lost = SITE.points[index].device.id == missing
        values[index] = None if lost else truth.get(place(index), 0.0)
    return judged(rule, lambda _: values, 25)[-1]


@pytest.mark.parametrize(
    ("outage", "said"),
    [
        ("BUK-KUN", ["ULK-EKI 6", "% of 500 MW", "degrees, more than 40", "SHY-TAS 61"]),
        ("ULK-EKI", ["BUK-KUN 6", "KUN-AKT 110"]),
        ("KUN-AKT", ["no state of the grid would carry the power"]),
        ("AKT-ALT", ["SHY-TAS 76", "% of 600 MW"]),
        ("MGC-SAM", ["ABS, ALT, MGC would have nothing that balances them"]),
    ],
)
def test_outages_that_the_corridor_cannot_bear(outage: str, said: list[str]) -> None:
    found = outlook(outage)
    assert found.level == (2 if outage in {"KUN-AKT", "MGC-SAM"} else 1)
    assert found.texts is not None
    assert all(words in found.texts.cause for words in said), found.texts.cause
    assert f"After the loss of {outage}" in found.texts.title


def test_every_other_outage_can_be_borne() -> None:
    weak = {"BUK-KUN", "ULK-EKI", "KUN-AKT", "AKT-ALT", "MGC-SAM"}
    secure = set(rules(CORRIDOR)) - weak
    assert len(secure) == 13
    assert {outage: outlook(outage).level for outage in sorted(secure)} == dict.fromkeys(secure, 0)
    alone = CORRIDOR.model_copy(update={"whole": ()})
    assert [outlook(outage, alone).level for outage in ("KUN-AKT", "AKT-ALT")] == [0, 0]


def test_a_run_back_that_is_armed_acts_first() -> None:
    armed = RunBack(outage="ULK-EKI", link="AKT-ALT", to_mw=700.0)
    ready = CORRIDOR.model_copy(update={"run_back": (armed,)})
    assert outlook("ULK-EKI", ready).level == 0
    plant = next(device for device in SITE.devices.values() if device.role is Role.PLANT)
    point = SITE.find(plant.id, "W")
    assert point is not None
    watched = armed.model_copy(update={"armed": point.path})  # reads 0: not armed
    found = outlook("ULK-EKI", CORRIDOR.model_copy(update={"run_back": (watched,)}))
    assert found.level == 1
    assert found.texts is not None
    assert "the run-back of AKT-ALT to 700 MW is not armed" in found.texts.cause
    assert "Arm the run-back" in found.texts.response


def test_less_over_the_link_is_secure() -> None:
    assert outlook("ULK-EKI", order_mw=650.0).held_level == 0
    trip = outlook("BUK-KUN", order_mw=400.0).texts
    assert trip is not None
    assert "ULK-EKI" not in trip.cause


def test_a_leg_that_is_missing_says_nothing() -> None:
    found = outlook("ULK-EKI", missing="NUR-SHU_SHU_main")
    assert found.indeterminate == "leg NUR-SHU at SHU is link lost"


def test_one_outage_is_solved_in_a_second() -> None:
    every = list(rules(CORRIDOR).values())
    slots = [rule.slot for rule in every if isinstance(rule, ContingencyRule)]
    assert len(set(slots)) == len(slots) == 18


def test_every_outage_gets_its_turn_though_it_is_judged_every_other_second() -> None:
    truth, every = measured(800.0), rules(CORRIDOR)
    values: dict[int, float | None] = {p: truth.get(place(p), 0.0) for p in every["ULK-EKI"].inputs}
    for rule in every.values():
        assert not judged(rule, lambda _: values, 44, step=2)[-1].gathering, rule.subject


def test_it_is_off_where_nobody_asked_for_it() -> None:
    assert not rules(CORRIDOR.model_copy(update={"enabled": False}))
    assert not rules(ContingencyRules(enabled=True))


def test_what_r21_names_must_exist() -> None:
    wrong = ContingencyRules(
        enabled=True,
        whole=("KUN-AKTT",),
        run_back=(
            RunBack(outage="BUK-KUN", link="AKT-ALT", to_mw=670.0, armed="nowhere/Conn"),
            RunBack(outage="AKT-ALT", link="AKT-ALTT", to_mw=670.0),
            RunBack(outage="AKT-ALT", link="AKT-ALT", to_mw=670.0),
        ),
    )
    paths = {point.path for point in SITE.points.values()}
    found = list(contingency_problems("main.toml", wrong, SITE.grid, paths))
    assert [(problem.key, problem.reason) for problem in found] == [
        ("alerts.R21.balanced_at", "is missing: without it no outage can be solved"),
        ("alerts.R21.whole[0]", "no such line or HVDC link"),
        ("alerts.R21.run_back[0].armed", "no such point"),
        ("alerts.R21.run_back[1].link", "no such HVDC link"),
        (
            "alerts.R21.run_back[2].outage",
            "is the link that is run back: it cannot be run back when it is lost",
        ),
    ]
    unknown = wrong.model_copy(update={"balanced_at": ("EKI", "EKY"), "whole": (), "run_back": ()})
    (problem,) = contingency_problems("main.toml", unknown, SITE.grid, paths)
    assert (problem.key, problem.reason) == ("alerts.R21.balanced_at[1]", "no such node")
