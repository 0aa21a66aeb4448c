"""Dashboards on their way into a Grafana; see fake_grafana.py for what stands in for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from grafana.catalogue import SHEETS, documents
from grafana.model import Model
from grafana.publishing import MESSAGE, GrafanaError, Outcome, Publisher, source_of, with_source
from grafana.targets import DATASOURCE
from greenbridge.cli import app
from tests.grafana.fake_grafana import READER, TOKEN, FakeGrafana, served

GENERATED = Path(__file__).parents[2] / "grafana" / "generated"


@pytest.fixture
def grafana() -> Iterator[FakeGrafana]:
    with served() as fake:
        yield fake


@pytest.fixture(scope="module")
def document(model: Model) -> dict[str, Any]:
    return dict(json.loads(documents(model)["corridor"]))


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


def command(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["dashboards", *map(str, words)])


def test_a_first_push_makes_the_folder_and_a_second_changes_nothing(
    grafana: FakeGrafana, document: dict[str, Any]
) -> None:
    publisher = Publisher(grafana.url, TOKEN)
    assert publisher.push(document, "greenbridge") is Outcome.CREATED
    assert [folder["title"] for folder in grafana.folders] == ["greenbridge"]
    held = grafana.dashboards[document["uid"]]
    assert held["folder"] == grafana.folders[0]["uid"]
    assert held["panels"] == document["panels"]
    assert publisher.push(document, "greenbridge") is Outcome.UNCHANGED
    changed = {**document, "title": "another"}
    assert publisher.push(changed, "greenbridge") is Outcome.UPDATED
    assert [version["message"] for version in grafana.versions[document["uid"]]] == [MESSAGE] * 2
    assert len(grafana.folders) == 1


@pytest.mark.parametrize("wrapped", [True, False])
def test_what_somebody_edited_is_not_replaced_unless_told_so(
    grafana: FakeGrafana, document: dict[str, Any], wrapped: bool
) -> None:
    grafana.wrapped_versions = wrapped
    publisher = Publisher(grafana.url, TOKEN)
    publisher.push(document, "greenbridge")
    grafana.save({**document, "title": "my own"}, "aigerim", "")
    with pytest.raises(GrafanaError, match=r"aigerim has changed greenbridge-corridor .* --overwrite"):
        publisher.push(document, "greenbridge")
    assert grafana.dashboards[document["uid"]]["title"] == "my own"
    assert publisher.push(document, "greenbridge", overwrite=True) is Outcome.UPDATED
    assert grafana.dashboards[document["uid"]]["title"] == document["title"]


def test_what_grafana_loads_from_a_file_is_not_pushed(grafana: FakeGrafana, document: dict[str, Any]) -> None:
    grafana.save({**document, "title": "old"}, "provisioning", "")
    grafana.provisioned.add(document["uid"])
    with pytest.raises(GrafanaError, match=r"loads greenbridge-corridor from a file .* dashboards build"):
        Publisher(grafana.url, TOKEN).push(document, "greenbridge", overwrite=True)


def test_the_difference_is_that_of_what_people_see(grafana: FakeGrafana, document: dict[str, Any]) -> None:
    publisher = Publisher(grafana.url, TOKEN)
    assert publisher.difference(document).startswith("--- Grafana/greenbridge-corridor")
    publisher.push(document, "greenbridge")
    assert publisher.difference(document) == ""
    lines = publisher.difference({**document, "title": "another"}).splitlines()
    assert [line for line in lines if line[:2] in {"+ ", "- "}] == [
        f'- "title": {json.dumps(document["title"])},',
        '+ "title": "another",',
    ]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [("glsa_other", "does not know the token"), (READER, "give the token's service account the role Editor")],
)
def test_a_refused_token_is_named(
    grafana: FakeGrafana, document: dict[str, Any], wrong: str, told: str
) -> None:
    with pytest.raises(GrafanaError, match=told):
        Publisher(grafana.url, wrong).push(document, "greenbridge")
    assert not grafana.dashboards


def test_another_data_source_must_be_there(grafana: FakeGrafana, document: dict[str, Any]) -> None:
    other = with_source(document, "site-influx")
    assert source_of(document) == DATASOURCE.uid
    assert source_of(other) == "site-influx"
    assert str(DATASOURCE.uid) not in json.dumps(other)
    with pytest.raises(GrafanaError, match=r"no data source with uid site-influx.*--datasource"):
        Publisher(grafana.url, TOKEN).push(other, "greenbridge")
    grafana.sources.add("site-influx")
    assert Publisher(grafana.url, TOKEN).push(other, "greenbridge") is Outcome.CREATED


def test_the_commands(grafana: FakeGrafana, document: dict[str, Any], token: Path, tmp_path: Path) -> None:
    built = command("build", "corridor", tmp_path / "out")
    assert built.exit_code == 0, built.output
    names = [sheet.name for sheet in SHEETS]
    for name in names:
        assert (tmp_path / "out" / f"{name}.json").read_text() == (GENERATED / f"{name}.json").read_text()
    there = ("corridor", "--url", grafana.url, "--token-file", token)
    different = command("diff", *there)
    assert different.exit_code == 1
    assert "+++ built/greenbridge-corridor" in different.output
    for what, told in (("push", "created"), ("diff", "no difference"), ("push", "unchanged")):
        assert command(what, *there).output.splitlines() == [f"{name}: {told}" for name in names]


def test_wrong_use_is_told(grafana: FakeGrafana, token: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.write_text("\n")
    refused = "http://127.0.0.1:1"
    for url, file, code, told in (
        (grafana.url, tmp_path / "none", 3, "the token cannot be read from"),
        (grafana.url, empty, 3, "is empty: put the token of a service account into it"),
        ("grafana.example", token, 2, "does not begin with http"),
        (refused, token, 3, f"no Grafana answers at {refused}: check --url"),
    ):
        done = command("push", "corridor", "--url", url, "--token-file", file)
        assert done.exit_code == code, done.output
        assert told in " ".join(done.output.split())
    (tmp_path / "file").write_text("")
    done = command("build", "corridor", tmp_path / "file" / "below")
    assert done.exit_code == 3
    assert "cannot be written" in done.output
