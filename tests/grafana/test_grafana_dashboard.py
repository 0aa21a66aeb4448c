from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import product
from math import hypot, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from alerts.alarms import Priority
from alerts.config import AlertsSettings
from alerts.rules.line_state import MeterAccuracy
from alerts.two_port import LineModel, hvdc_loss_mw
from grafana.catalogue import SHEETS, documents
from grafana.influxql import Meter, agreed, identifier, literal, number, together
from grafana.limits import two_end_limit
from grafana.losses import hvdc_expression, line_expression
from grafana.model import Model
from grafana.panels import above, band
from grafana.targets import DATASOURCE, targets
from greenbridge.dashboards import model_of
from greenbridge.settings import Configuration, load
from telemetry.grid import ScheduleStep

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "grafana" / "generated"
PROVISIONING = ROOT / "grafana" / "provisioning"
DOCUMENTS = {sheet.name: json.loads((GENERATED / f"{sheet.name}.json").read_text()) for sheet in SHEETS}


def panels(name: str) -> dict[str, dict[str, Any]]:
    return {panel["title"]: panel for panel in DOCUMENTS[name]["panels"] if panel["type"] != "row"}


def thresholds(name: str, title: str) -> list[float | None]:
    steps = panels(name)[title]["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return [step["value"] for step in steps]


def computed(expression: str, **values: float) -> float:
    """What InfluxQL makes of an arithmetic expression."""
    return float(eval(expression.replace('"', ""), {"__builtins__": {}, "abs": abs, "sqrt": sqrt}, values))  # noqa: S307 - our own text


def test_the_committed_json_is_what_the_code_generates(model: Model) -> None:
    made = documents(model)
    assert {path.stem for path in GENERATED.glob("*")} == set(made)
    for name, text in made.items():
        assert (GENERATED / f"{name}.json").read_text() == text, "see CONTRIBUTING.md, Dashboards"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_panel_has_unit_description_and_queries_in_influxql(name: str) -> None:
    document = DOCUMENTS[name]
    ids = [panel["id"] for panel in document["panels"]]
    assert len(ids) == len(set(ids))
    assert len(panels(name)) == len([p for p in document["panels"] if p["type"] != "row"]), "a title twice"
    variables = {variable["name"] for variable in document["templating"]["list"]}
    used = set()
    for title, panel in panels(name).items():
        assert panel["description"], title
        assert panel["targets"], title
        assert panel["type"] == "table" or panel["fieldConfig"]["defaults"]["unit"], title
        references = [target["refId"] for target in panel["targets"]]
        assert len(references) == len(set(references))
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == DATASOURCE.uid
            assert target["rawQuery"] is True
            assert target["query"].startswith("SELECT ")
            assert target["query"].count("(") == target["query"].count(")")
            assert "$timeFilter" in target["query"]
            used |= set(re.findall(r"\$\{(\w+):regex\}", target["query"]))
    assert used <= variables
    assert variables <= used | {"area", "site"}  # a variable may only narrow down the next one


def test_a_site_has_the_dashboards_that_it_has_panels_for() -> None:
    made = documents(model_of(load(str(ROOT / "examples/first-site/greenbridge.toml"), {})))
    assert set(made) == {"corridor", "ties", "settlement", "alarms", "quality", "health"}
    assert all(json.loads(text)["panels"] for text in made.values())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_panel_covers_another(name: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DOCUMENTS[name]["panels"]:
        place = panel["gridPos"]
        assert place["w"] > 0
        assert place["h"] > 0
        assert place["x"] + place["w"] <= 24, panel["title"]
        for cell in product(
            range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        ):
            assert cell not in taken, (panel["title"], taken[cell])
            taken[cell] = panel["title"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_dashboards_lead_to_each_other_and_to_the_console(name: str, model: Model) -> None:
    document = DOCUMENTS[name]
    assert document["uid"] == f"greenbridge-{name}"
    others, console = document["links"]
    assert (others["type"], others["keepTime"], others["includeVars"]) == ("dashboards", True, True)
    assert others["tags"] == document["tags"]
    assert console["url"] == model.console
    text = json.dumps(document)
    uids = {other["uid"] for other in DOCUMENTS.values()}
    assert set(re.findall(r"/d/([\w-]+)", text)) <= uids
    for panel in panels(name).values():
        if '"alarm"' in panel["targets"][0]["query"] and panel["type"] == "table":
            links = [
                option["value"]
                for override in panel["fieldConfig"]["overrides"]
                if override["matcher"]["options"] == "alarm"
                for option in override["properties"]
            ]
            assert links or "count(" in panel["targets"][0]["query"], panel["title"]


def test_every_line_tie_and_link_is_there(configuration: Configuration) -> None:
    grid, titles = configuration.grid, panels("ties")
    for title in ("Two-end residual against the limit of R6", "Two-end residual", "Measured loss of lines"):
        assert [target["alias"] for target in titles[title]["targets"]] == [line.id for line in grid.line]
    for tie in grid.tie:
        aliases = [target["alias"] for target in titles[f"{tie.id} at {tie.delivery_node}"]["targets"]]
        assert aliases == ["main", "check", "schedule"]
    for contract in grid.contract:
        assert f"{contract.id}: transit balance" in titles
    assert f"{grid.hvdc[0].id}: loss less model" in titles
    assert len(titles["Loading of lines and links"]["targets"]) == len(grid.line) + len(grid.hvdc)
    for area in grid.area:
        assert f"{area.id}: net position less schedule" in panels("areas")


def test_limits_are_those_of_the_rules() -> None:
    assert thresholds("ties", "AKT-ALT: deviation from schedule") == [
        None, -250, -100, -50, 50, 100, 250
    ]  # NTC 1000 MW: 5, 10 and 25 %  # fmt: skip
    assert thresholds("areas", "Frequency") == [None, 49.6, 49.8, 49.95, 50.05, 50.2, 50.4]
    assert thresholds("areas", "Busbar voltage") == [None, 475, 525]


def test_another_limit_in_the_configuration_is_another_threshold(model: Model) -> None:
    """Each rule that a panel draws: its settings are changed, and the drawing follows."""
    changed = AlertsSettings.model_validate(
        {
            "R1": {"limits": [{"priority": "low", "mw": 61, "pct_ntc": 1, "on_s": 60}]},
            "R2": {"limits": [{"priority": "low", "above": 62, "on_s": 60}]},
            "R9": {"limits": [{"priority": "low", "above": 63, "on_s": 60}]},
            "R10": {"limits": [{"priority": "low", "above": 0.64, "on_s": 60}]},
            "R12": {"limits": [{"priority": "low", "pct_p": 65, "pct_i": 65, "on_s": 60}]},
            "R19": {"rated_pct": 166},
            "R20": {"low_pct": 80, "high_pct": 120},
        },
        strict=False,
    )
    made = documents(replace(model, alerts=changed))

    def drawn(name: str, title: str) -> list[float]:
        [panel] = [panel for panel in json.loads(made[name])["panels"] if panel["title"] == title]
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        return [step["value"] for step in steps if step["value"] is not None]

    assert drawn("ties", "AKT-ALT: deviation from schedule") == [-61, 61]
    assert drawn("areas", "KZ: net position less schedule") == [-62, 62]
    assert drawn("areas", "KZ: area control error") == [-63, 63]
    assert drawn("areas", "Frequency") == pytest.approx([49.36, 50.64])
    assert drawn("ties", "Loading of lines and links") == [65]
    assert drawn("plants", "Output as a part of the rating") == [166]
    assert drawn("areas", "Busbar voltage") == [400, 600]


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
    grades = [(0.5, Priority.MEDIUM), (2, Priority.URGENT)]
    steps = [(step.value, step.color) for step in band(50, grades)]
    assert steps == [(None, "red"), (48, "orange"), (49.5, "text"), (50.5, "orange"), (52, "red")]
    assert [(step.value, step.color) for step in above(grades[1])] == [(None, "text"), (2, "red")]
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
    for file in (PROVISIONING / "datasources/influxdb.yaml", ROOT / "deploy/grafana/greenbridge.yaml"):
        [source] = yaml.safe_load(file.read_text())["datasources"]
        assert (source["uid"], source["type"]) == (DATASOURCE.uid, DATASOURCE.type_val)
        assert source["jsonData"]["httpHeaderName1"] == "Authorization"
        assert source["secureJsonData"]["httpHeaderValue1"].startswith("Token $__file{")
        assert source["jsonData"]["version"] == "InfluxQL"
    # the console takes no POST that comes from elsewhere
    assert (source["url"], source["jsonData"]["httpMode"]) == ("$GREENBRIDGE_URL/api/v1/influx", "GET")
    [provider] = yaml.safe_load((PROVISIONING / "dashboards" / "greenbridge.yaml").read_text())["providers"]
    assert provider["allowUiUpdates"] is False
