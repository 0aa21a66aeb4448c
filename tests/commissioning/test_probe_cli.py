"""The command against simulated devices, over real sockets."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
import socket
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from typer.testing import CliRunner

from greenbridge.cli import app
from tests.commissioning.conftest import Probe, served


def test_registers_are_read_and_shown_in_several_ways(bench: dict[str, str], probe: Probe) -> None:
    shown = probe("modbus", bench["G"], "--read", "3109:2", "--read", "3025:2").stdout
    assert "vendor Schneider Electric (simulated)" in shown
    row = next(line.split() for line in shown.splitlines() if line.strip().startswith("3109"))
    assert row[1] in {"4247", "4248"}
    assert abs(float(row[5]) - 50) < 0.2


def test_an_exception_is_explained_and_makes_the_exit_code(bench: dict[str, str], probe: Probe) -> None:
    shown = probe("modbus", bench["G"], "--read", "0:4", code=1).stdout
    assert "holding 0-3: exception 2 (illegal data address)" in shown
    assert "count from 0" in shown
    shown = probe("modbus", bench["G"], "--read", "0:4", "--read", "20:4", code=1).stdout
    assert shown.count("exception 2 (illegal data address)") == 2
    assert shown.count("count from 0") == 1, "what to do is said once"
    shown = probe("modbus", bench["G"], "--read", "0:4", "--table", "coil", code=1).stdout
    assert "exception 1 (illegal function)" in shown


def test_units_are_found_with_what_they_say_of_themselves(bench: dict[str, str], probe: Probe) -> None:
    words = ("modbus", bench["G"], "--scan-units", "--units", "1:8", "--json")
    document = json.loads(probe(*words).stdout)
    units = {row["unit"]: row for row in document["units"]["units"]}
    assert list(units) == [1, 2, 3, 6]
    assert units[2]["identification"]["0"] == "Janitza electronics GmbH (simulated)"
    assert units[6]["answer"] == "exception 6"


def test_a_silent_unit_does_not_end_a_scan_of_units(bench: dict[str, str], probe: Probe) -> None:
    words = ("modbus", bench["R"], "--transport", "rtu_over_tcp", "--scan-units", "--units", "1:3")
    document = json.loads(probe(*words, "--timeout", "0.1", "--json").stdout)
    assert [row["unit"] for row in document["units"]["units"]] == [1]
    assert document["units"]["silent"] == 2


def test_no_unit_at_all_is_an_outcome_to_look_at(bench: dict[str, str], probe: Probe) -> None:
    shown = probe("modbus", bench["G"], "--scan-units", "--units", "100:105", code=1).stdout
    assert "0 of 6 answer" in shown


def test_registers_are_found(bench: dict[str, str], probe: Probe) -> None:
    words = ("modbus", bench["G"], "--scan-registers", "--within", "2900:400", "--json")
    document = json.loads(probe(*words).stdout)
    assert document["registers"]["ranges"] == [{"address": 2999, "count": 216}]
    assert document["traffic"]["unanswered"] == 0


def test_a_dry_run_asks_nothing(probe: Probe) -> None:
    shown = probe("modbus", "192.0.2.1", "--scan-registers", "--read", "0:300", "--dry-run").stdout
    assert "Nothing was asked" in shown
    assert "525 to 5000 requests" in shown
    assert "reads: 3 requests" in shown
    shown = probe("modbus", "192.0.2.1", "--scan-units", "--dry-run").stdout
    assert "247 requests" in shown


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as once:
        number: int = once.getsockname()[1]
    return number


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Connects, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_nobody_who_listens_is_told_apart_from_nobody_who_answers(
    closed_port: int, silent_port: int, probe: Probe
) -> None:
    told = probe("modbus", f"127.0.0.1:{closed_port}", "--read", "0", code=3).stderr
    assert "cannot be reached: Connection refused; nothing listens there" in told
    told = probe("modbus", f"127.0.0.1:{silent_port}", "--read", "0:500", "--timeout", "0.05", code=3).stderr
    assert "no sound reply 3 times in a row" in told
    assert "--scan-units" in told
    assert "--transport rtu_over_tcp" in told


def test_the_wrong_framing_is_suspected(bench: dict[str, str], probe: Probe) -> None:
    words = ("modbus", bench["G"], "--transport", "rtu_over_tcp", "--timeout", "0.1", "--read", "0:500")
    assert "--transport tcp" in probe(*words, code=3).stderr


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["modbus", "host:99999"], "port"),
        (["modbus", "host", "--read", "12-14"], "--read 12-14"),
        (["modbus", "host", "--function", "5"], "a probe only reads"),
        (["modbus", "host", "--transport", "udp"], "--transport udp"),
        (["modbus", "host", "--scan-units", "--units", "5:1"], "--units 5:1"),
        (["modbus", "host", "--profile", "pm5xx"], 'did you mean "pm5xxx"?'),
        (["modbus", "host", "--profile", "none.toml"], "No such file"),
        (["modbus", "host", "--sheet", "a.csv"], "add --profile"),
        (["modbus", "host", "--profile", "umg", "--sheet", "a.pdf"], ".csv or .html"),
        (["modbus", "host", "--expect", "5"], "--guess"),
        (["modbus", "host", "--guess", "5", "--expect", "nan"], "--expect nan"),
        (["modbus", "host", "--tune"], "--read ADDRESS:COUNT"),
        (["modbus", "host", "--scan-units", "--guess", "5"], "--scan-units"),
        (["modbus", "host", "--guess", "5", "--table", "coil"], "not a table of bits"),
        (["sunspec", "host", "--transport", "udp"], "--transport udp"),
    ],
)
def test_wrong_use_is_named_before_anything_is_asked(words: list[str], named: str, probe: Probe) -> None:
    assert named in probe(*words, code=2).stderr


def test_what_is_drafted_passes_the_check(bench: dict[str, str], probe: Probe, tmp_path: Path) -> None:
    """As a whole site, and as a profile that somebody puts into the example."""
    for n, words in enumerate(
        [
            ("--read", "3059:4"),
            ("--scan-registers", "--within", "3000:10"),
            ("--scan-units", "--units", "1:8"),
        ]
    ):
        site = tmp_path / f"site-{n}"
        probe("modbus", bench["G"], *words, "--write", str(site))
        checked = CliRunner().invoke(app, ["check", str(site), "--json"])
        assert checked.exit_code == 0, checked.output
        assert json.loads(checked.stdout)["devices"] == (4 if "--scan-units" in words else 1)
    profile = tmp_path / "site-0" / "profiles" / "another.toml"
    probe("modbus", bench["G"], "--read", "3059:4", "--write", str(profile))
    text = profile.read_text()
    assert '#   host = "127.0.0.1"' in text
    profile.write_text(text.replace('id = "drafted-device"\ntitle', 'id = "another"\ntitle'))
    assert CliRunner().invoke(app, ["check", str(tmp_path / "site-0")]).exit_code == 0


def test_nothing_is_overwritten_unless_told_to(bench: dict[str, str], probe: Probe, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("precious")
    told = probe("modbus", bench["G"], "--read", "3059:4", "--write", str(path), code=2).stderr
    assert "--force" in told
    assert path.read_text() == "precious"
    probe("modbus", bench["G"], "--read", "3059:4", "--write", str(path), "--force")
    assert "drafted-device" in path.read_text()


def test_a_profile_is_checked_point_by_point(bench: dict[str, str], probe: Probe, tmp_path: Path) -> None:
    table, page = tmp_path / "sheet.csv", tmp_path / "sheet.html"
    words = ("modbus", bench["G"], "--profile", "pm5xxx", "--sheet", str(table), "--sheet", str(page))
    document = json.loads(probe(*words, "--json").stdout)
    points = {row["point"]: row for row in document["sheet"]["points"]}
    assert {row["verdict"] for row in points.values()} == {"ok"}
    assert abs(points["Hz"]["value"] - 50) < 0.2
    assert len(points["TotWhExp"]["raw"].split()) == 4
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [row["point"] for row in rows] == list(points)
    assert "Schneider Electric (simulated)" in page.read_text()


def test_a_profile_with_the_wrong_word_order_is_seen_and_told(bench: dict[str, str], probe: Probe) -> None:
    shown = probe("modbus", bench["G"], "--unit", "2", "--profile", "umg", code=1).stdout
    assert 'word_order = "little" in the profile would make' in shown


def test_the_mended_profile_of_a_file_is_checked(bench: dict[str, str], probe: Probe, tmp_path: Path) -> None:
    text = (files("adapters.modbus") / "profiles" / "umg.toml").read_text()
    mended = tmp_path / "mended.toml"
    mended.write_text(text.replace('word_order = "big"', 'word_order = "little"'))
    assert mended.read_text() != text
    site = tmp_path / "site"
    probe("modbus", bench["G"], "--unit", "2", "--profile", str(mended), "--write", str(site))
    checked = CliRunner().invoke(app, ["check", str(site)])
    assert checked.exit_code == 0, checked.output
    mended.write_text(text.replace('type = "float32"', 'type = "float31"'))
    assert "float31" in probe("modbus", bench["G"], "--profile", str(mended), code=2).stderr


def test_a_value_is_guessed_and_drafted(bench: dict[str, str], probe: Probe, tmp_path: Path) -> None:
    """The words are swapped."""
    site = tmp_path / "site"
    words = ("modbus", bench["G"], "--unit", "2", "--guess", "19050", "--expect", "50", "--samples", "1")
    best = json.loads(probe(*words, "--json", "--write", str(site)).stdout)["guess"]["guesses"][0]
    assert (best["address"], best["type"], best["word_order"]) == (19050, "float32", "little")
    assert CliRunner().invoke(app, ["check", str(site)]).exit_code == 0
    profile = tomllib.loads((site / "profiles" / "drafted-device.toml").read_text())
    expected = {"address": 19050, "type": "float32", "word_order": "little"}
    assert profile["modbus"]["registers"] == {"Value19050": expected}


def test_reads_are_tuned_and_the_draft_takes_the_recommendation(
    bench: dict[str, str], probe: Probe, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    words = ("modbus", bench["G"], "--tune", "--read", "2999:100", "--write", str(site), "--json")
    recommended = json.loads(probe(*words).stdout)["tuning"]["recommended"]
    assert recommended["max_registers"] == 100
    profile = tomllib.loads((site / "profiles" / "drafted-device.toml").read_text())
    assert profile["modbus"]["max_registers"] == 100
    (gateway,) = tomllib.loads((site / "greenbridge.toml").read_text())["modbus"]["gateway"]
    assert gateway["request_cost"] == recommended["request_cost"]
    assert CliRunner().invoke(app, ["check", str(site)]).exit_code == 0


def test_a_table_that_the_device_does_not_know_ends_the_scan(bench: dict[str, str], probe: Probe) -> None:
    words = ("modbus", bench["G"], "--scan-registers", "--table", "discrete", "--within", "0:50")
    assert "does not know discrete registers" in probe(*words, code=3).stderr


def test_a_sunspec_device_shows_its_models_and_is_drafted(
    bench: dict[str, str], probe: Probe, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    words = ("sunspec", bench["G"], "--unit", "3", "--write", str(site))
    document = json.loads(probe(*words, "--json").stdout)
    models = {model["model"]: model for model in document["sunspec"]["models"]}
    assert list(models) == [1, 103, 120, 160]
    assert models[103]["address"] == 40070
    points = {row["point"]: row for row in models[103]["points"]}
    assert abs(points["Hz"]["value"] - 50) < 0.2
    assert points["PhVphA"]["unit"] == "V"
    named = {row["point"]: row["value"] for row in models[1]["points"]}
    assert named["Mn"] == "Greenbridge bench"
    checked = CliRunner().invoke(app, ["check", str(site), "--json"])
    assert checked.exit_code == 0, checked.output
    profile = site / "profiles" / "drafted-sunspec.toml"
    sheet = json.loads(
        probe("modbus", bench["G"], "--unit", "3", "--profile", str(profile), "--json").stdout
    )["sheet"]
    assert {row["verdict"] for row in sheet["points"]} == {"ok"}
    assert len(sheet["points"]) > 15


def test_a_sunspec_device_is_shown_to_people(bench: dict[str, str], probe: Probe) -> None:
    shown = probe("sunspec", bench["G"], "--unit", "3").stdout
    assert 'Marker "SunS" at 40000, 4 models' in shown
    assert "Model 103 Inverter" in shown
    assert "points not implemented" in shown
    told = probe("sunspec", bench["G"], "--unit", "1", code=3).stderr
    assert 'no marker "SunS" at 40000, 0, 50000' in told


def test_a_recording_answers_as_the_device_did(bench: dict[str, str], probe: Probe, tmp_path: Path) -> None:
    """Recorded over a socket and served over another: data, exceptions and identification are the same."""
    recording = tmp_path / "device.jsonl"
    asked = ("--scan-registers", "--within", "2990:300", "--json")
    told = json.loads(probe("modbus", bench["G"], *asked, "--record", str(recording)).stdout)
    with served(REPLAY, tmp_path) as again:
        replayed = json.loads(probe("modbus", again["G"], "--unit", "9", *asked).stdout)
        read = ("modbus", again["G"], "--unit", "9", "--json", "--read")
        held = json.loads(probe(*read, "2999:100").stdout)["read"]["reads"][0]["words"]
        absent = json.loads(probe(*read, "3213:4", code=1).stdout)["read"]["reads"][0]
        other = json.loads(probe(*read, "0:1", "--table", "input", code=1).stdout)["read"]["reads"][0]
        sheet = json.loads(probe("modbus", again["G"], "--unit", "9", "--profile", "pm5xxx", "--json").stdout)
    assert replayed["identification"] == told["identification"]
    assert told["identification"]["vendor"] == "Schneider Electric (simulated)"
    assert replayed["registers"]["ranges"] == told["registers"]["ranges"]
    assert absent["exception"] == 2
    assert other["exception"] == 1
    lines = [json.loads(line) for line in recording.read_text().splitlines()]
    (block,) = [line for line in lines if "words" in line]
    assert held == block["words"][:100]
    assert (block["address"], len(block["words"])) == (2999, 216)
    assert sheet["sheet"]["counts"]["ok"] == 7


def test_a_recorded_sunspec_device_is_discovered_again(
    bench: dict[str, str], probe: Probe, tmp_path: Path
) -> None:
    recording = tmp_path / "device.jsonl"
    words = ("sunspec", bench["G"], "--unit", "3", "--record", str(recording), "--json")
    told = json.loads(probe(*words).stdout)["sunspec"]
    with served(REPLAY, tmp_path) as again:
        replayed = json.loads(probe("sunspec", again["G"], "--unit", "9", "--json").stdout)["sunspec"]
    assert replayed["models"] == told["models"]
    assert replayed["ended"]


REPLAY = """
seed = 1
control_port = 0
[[gateway]]
id = "G"
port = 0
[[device]]
id = "again"
kind = "recording"
gateway = "G"
unit = 9
file = "device.jsonl"
"""


DOCUMENT = Path(__file__).parents[2] / "docs" / "commissioning.md"
SIMULATED = {"192.0.2.10": "G", "192.0.2.20": "G", "192.0.2.11:4001": "R"}
"""Hosts of the document, and the simulated gateway that stands for each."""


def speaks_modbus(words: list[str]) -> bool:
    return words[1] in {"modbus", "sunspec"} and words[2] in SIMULATED


def test_the_commands_of_the_documentation_do_what_it_says(
    bench: dict[str, str], probe: Probe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order, each with what those before it left; without the lines that this machine does not have."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```sh\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    lines = [shlex.split(line)[1:] for block in blocks for line in block.splitlines()]
    asked = [words for words in lines if words[:1] == ["check"] or speaks_modbus(words)]
    assert len(asked) >= 9
    for words in asked:
        if words[0] == "check":
            checked = CliRunner().invoke(app, words)
            assert checked.exit_code == 0, checked.output
            shutil.rmtree(words[1])
            continue
        words[2] = bench[SIMULATED[words[2]]]
        # unit 5 of the line is not there: a silence that the document does not promise
        probe(*words[1:], "--timeout", "0.2", code=3 if "5" in words else 0)
    assert {path.name for path in tmp_path.iterdir()} == {"sheet.html", "sheet.csv", "device.jsonl", "draft"}
