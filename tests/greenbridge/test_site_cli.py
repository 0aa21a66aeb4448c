import json
import socket
from importlib.resources import files
from pathlib import Path

import pytest
from typer.testing import CliRunner

from greenbridge.cli import EXIT_CANNOT_RUN, EXIT_USAGE, app, default_state

runner = CliRunner()


def test_check_accepts_the_built_in_site_and_says_what_it_amounts_to() -> None:
    result = runner.invoke(app, ["check", "corridor"])
    assert result.exit_code == 0, result.output
    assert "190 (17 bus-meter" in result.output


def test_check_as_json_is_one_document_with_and_without_problems(tmp_path: Path) -> None:
    document = json.loads(runner.invoke(app, ["check", "corridor", "--json"]).stdout)
    assert document["problems"] == []
    assert document["devices"] == 190
    broken = tmp_path / "greenbridge.toml"
    broken.write_text('nam = "x"\n')
    result = runner.invoke(app, ["check", str(broken), "--json"])
    assert result.exit_code == EXIT_USAGE
    problems = json.loads(result.stdout)["problems"]
    by_key = {problem["key"]: problem for problem in problems}
    assert by_key.keys() == {"nam", "name", "state_dir"}
    assert (by_key["nam"]["file"], by_key["nam"]["value"]) == ("greenbridge.toml", '"x"')
    assert by_key["nam"]["fix"] == 'did you mean "name"?'


def test_check_accepts_a_profile_as_a_probe_drafts_it_and_names_its_faults(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    sound = (files("adapters.modbus") / "profiles" / "umg.toml").read_text("utf-8")
    file.write_text(sound)
    result = runner.invoke(app, ["check", str(file)])
    assert result.exit_code == 0, result.output
    assert "Profile umg is sound: 7 points over modbus: TotW [MW]" in result.output
    document = json.loads(runner.invoke(app, ["check", str(file), "--json"]).stdout)
    assert (document["profile"], document["problems"]) == ("umg", [])
    file.write_text(sound.replace('unit = "MW"', 'unti = "MW"', 1))
    result = runner.invoke(app, ["check", str(file)])
    assert result.exit_code == EXIT_USAGE
    assert 'mine.toml: points.TotW.unti = "MW": unknown key (did you mean "unit"?)' in result.stderr
    result = runner.invoke(app, ["check", str(file), "--json"])
    assert {problem["key"] for problem in json.loads(result.stdout)["problems"]} == {
        "points.TotW.unit",
        "points.TotW.unti",
    }


@pytest.mark.parametrize("command", [["run"], ["check"]])
def test_nothing_starts_on_a_configuration_that_is_not_there(command: list[str]) -> None:
    result = runner.invoke(app, [*command, "corridr"])
    assert result.exit_code == EXIT_USAGE
    assert 'did you mean "corridor"?' in result.stderr
    assert "Nothing was started" in result.stderr


def test_simulate_refuses_a_bench_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "greenbridge.logs.configure", lambda *_: None
    )  # the runner's output ends with the test
    result = runner.invoke(app, ["simulate", "nothing.toml"])
    assert result.exit_code == EXIT_USAGE
    assert "nothing.toml" in result.stderr


@pytest.mark.parametrize(
    ("options", "named"),
    [(["--broker", "rabbit"], "--broker"), (["--headless", "--for", "20"], "--headless")],
)
def test_demo_refuses_options_that_make_no_sense(options: list[str], named: str) -> None:
    result = runner.invoke(app, ["demo", *options])
    assert result.exit_code == EXIT_USAGE
    assert named in result.stderr


def test_run_says_in_one_line_that_the_consoles_port_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greenbridge.logs.configure", lambda *_: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("GB_CONSOLE_PORT", str(taken.getsockname()[1]))
        monkeypatch.setenv("GREENBRIDGE_STATE", str(tmp_path / "state"))
        result = runner.invoke(app, ["run", "corridor"])
    assert result.exit_code == EXIT_CANNOT_RUN
    assert "Address already in use" in result.stderr
    assert "Traceback" not in result.output


def test_load_refuses_settings_that_it_does_not_know() -> None:
    result = runner.invoke(app, ["load", "modbus", "prot=1"])
    assert result.exit_code == EXIT_USAGE
    assert 'did you mean "port"?' in result.stderr


def test_the_version_is_that_of_the_package() -> None:
    assert runner.invoke(app, ["--version"]).stdout.strip() == "0.1.0"


def test_state_is_kept_where_the_base_directory_specification_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/some/where")
    assert default_state() == Path("/some/where/greenbridge")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_state() == Path.home() / ".local" / "state" / "greenbridge"
