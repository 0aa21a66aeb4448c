"""The command against simulated devices, over real sockets."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from greenbridge.cli import app
from tests.commissioning.conftest import Probe


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
    assert "nothing listens there" in told
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
