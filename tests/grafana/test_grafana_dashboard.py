from __future__ import annotations

import json
from math import hypot, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from alerts.rules.line_state import MeterAccuracy
from alerts.two_port import LineModel, hvdc_loss_mw
from grafana.corridor import Corridor
from grafana.influxql import Meter, agreed, identifier, literal, number, together
from grafana.limits import two_end_limit
from grafana.losses import hvdc_expression, line_expression
from grafana.panels import above, band
from grafana.targets import DATASOURCE, targets
from greenbridge.settings import Configuration
from telemetry.grid import ScheduleStep

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "grafana" / "generated" / "corridor.json"
PROVISIONING = ROOT / "grafana" / "provisioning"


def panels() -> list[dict[str, Any]]:
    document = json.loads(GENERATED.read_text())
    return [panel for panel in document["panels"] if panel["type"] != "row"]


def computed(expression: str, **values: float) -> float:
    """What InfluxQL makes of an arithmetic expression."""
    return float(eval(expression.replace('"', ""), {"__builtins__": {}, "abs": abs, "sqrt": sqrt}, values))  # noqa: S307 - our own text


def test_the_committed_json_is_what_the_code_generates(corridor: Corridor) -> None:
    assert GENERATED.read_text() == corridor.document(), "see CONTRIBUTING.md, Dashboards"


def test_every_panel_has_unit_description_and_queries_in_influxql() -> None:
    ids = [panel["id"] for panel in json.loads(GENERATED.read_text())["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels():
        assert panel["description"], panel["title"]
        assert panel["targets"], panel["title"]
        assert panel["type"] == "table" or panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references))
        for target in panel["targets"]:
            assert target["rawQuery"] is True
            assert target["query"].startswith("SELECT ")
            assert target["query"].count("(") == target["query"].count(")")
            assert "$timeFilter" in target["query"]


def test_every_line_tie_and_link_is_there(configuration: Configuration) -> None:
    grid, titles = configuration.grid, {panel["title"]: panel for panel in panels()}
    for title in ("Two-end residual against the limit of R6", "Two-end residual", "Measured loss of lines"):
        assert [target["alias"] for target in titles[title]["targets"]] == [line.id for line in grid.line]
    for tie in grid.tie:
        aliases = [target["alias"] for target in titles[f"{tie.id} at {tie.delivery_node}"]["targets"]]
        assert aliases == ["main", "check", "schedule"]
    assert f"{grid.hvdc[0].id}: loss less model" in titles


def test_limits_are_those_of_the_rules(configuration: Configuration) -> None:
    titles = {panel["title"]: panel for panel in panels()}
    steps = titles["AKT-ALT: deviation from schedule"]["fieldConfig"]["defaults"]["thresholds"]["steps"]
    values = [step["value"] for step in steps]
    assert values == [None, -250, -100, -50, 50, 100, 250]  # NTC 1000 MW: 5, 10 and 25 %


def test_the_limit_of_a_line_is_that_of_the_rule(configuration: Configuration) -> None:
    grid, settings = configuration.grid, configuration.settings.alerts.two_end
    meters = MeterAccuracy(0.2, 0.3), MeterAccuracy(0.5, 0.1)
    for line in grid.line:
        corona = grid.parameters_of(line).corona_sigma_kw_per_km * line.km * line.circuits / 1000
        for grade in settings.limits:
            expression = two_end_limit(grid, line, grade, *meters)
            for p in (-line.limit_mw, -40.0, 0.0, line.limit_mw):
                sigma = hypot(*(hypot(meter.pct / 100 * p, meter.floor_mw) for meter in meters), corona)
                expected = max(grade.sigmas * sigma, grade.pct_p / 100 * abs(p))
                assert computed(expression, p=p) == pytest.approx(expected, rel=1e-4)


def test_thresholds_grow_more_serious_outwards() -> None:
    steps = [(step.value, step.color) for step in band(50, 0.5, 2)]
    assert steps == [(None, "red"), (48, "orange"), (49.5, "text"), (50.5, "orange"), (52, "red")]
    assert [(step.value, step.color) for step in above(1)] == [(None, "text"), (1, "red")]
    assert [step.color for step in above()] == ["text"]


def test_the_expected_loss_of_a_line_is_that_of_its_two_port(configuration: Configuration) -> None:
    grid, rng = configuration.grid, np.random.default_rng(7)
    for line in grid.line:
        expression, model = line_expression(grid, line), LineModel(grid, line)
        controlled = any(s.joint is not None and s.joint.control_k_mvar_per_pu2 > 0 for s in line.sections)
        checked = 0
        while checked < 100:
            v = float(rng.uniform(485, 515))
            p, q = (rng.uniform((-1, -0.5), (1, 0.5)) * line.limit_mw).tolist()
            far = model.far_end(v, p, q)
            if 485 <= far.v_kv <= 515:
                error = computed(expression, v=v, p=p, q=q) - far.loss_mw
                assert abs(error) < (0.6 if controlled else 0.002), line.id
                checked += 1


def test_the_expected_loss_of_the_link_is_that_of_its_model(configuration: Configuration) -> None:
    link = configuration.grid.hvdc[0]
    for p in (100.0, 437.0, 800.0, 1000.0):
        assert computed(hvdc_expression(link), p=p) == pytest.approx(hvdc_loss_mw(link, p), abs=0.001)


def test_a_schedule_is_one_query_for_each_step() -> None:
    steps = [
        ScheduleStep.model_validate({"start": f"2026-01-01T0{hour}:00:00Z", "mw": mw}, strict=False)
        for hour, mw in ((2, -7.5), (0, 10.0))
    ]
    first, second = agreed(Meter("pm5xxx", "m"), "TotW", steps, deviation=True)
    assert 'mean("TotW") - (10.0)' in first
    assert "time < '2026-01-01T02:00:00Z'" in first
    assert "time >=" not in first
    assert 'mean("TotW") - (-7.5)' in second
    assert "time >= '2026-01-01T02:00:00Z'" in second


def test_names_and_texts_are_quoted() -> None:
    assert identifier('a"b') == r'"a\"b"'
    assert literal("it's") == r"'it\'s'"
    assert [number(x) for x in (1e-7, -2.5, 100)] == ["0.0000001", "-2.5", "100.0"]
    assert '"n" = 2' in together(["SELECT 1", "SELECT 2"], "x")


def test_references_go_on_after_z() -> None:
    made = targets(*[("", "SELECT")] * 28)
    assert [target.build().to_json()["refId"] for target in made][24:] == ["Y", "Z", "A1", "B1"]  # type: ignore[attr-defined]


def test_provisioning_names_what_the_dashboard_asks() -> None:
    [source] = yaml.safe_load((PROVISIONING / "datasources" / "influxdb.yaml").read_text())["datasources"]
    assert (source["uid"], source["type"]) == (DATASOURCE.uid, DATASOURCE.type_val)
    assert source["jsonData"]["httpHeaderName1"] == "Authorization"
    assert source["secureJsonData"]["httpHeaderValue1"].startswith("Token $__file{")
    assert "version" not in source["jsonData"] or source["jsonData"]["version"] == "InfluxQL"
    [provider] = yaml.safe_load((PROVISIONING / "dashboards" / "greenbridge.yaml").read_text())["providers"]
    assert provider["allowUiUpdates"] is False
