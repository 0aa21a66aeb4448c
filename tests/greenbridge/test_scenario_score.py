from typer.testing import CliRunner

from greenbridge.cli import EXIT_USAGE, app
from greenbridge.scenarios.score import Score

runner = CliRunner()


def test_a_score_counts_detections_and_false_alarms_over_seeds() -> None:
    result = runner.invoke(
        app, ["scenario", "score", "line-tap", "counter-reset", "--seeds", "2", "--ci", "--jobs", "1"]
    )
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("line-tap")
    assert "2 of 2 passed, 2 of 2 detected, 0 false alarms in 0.2 h" in lines[0]
    assert lines[1].startswith("counter-reset")
    assert "2 of 2 passed, 2 of 2 detected, 0 false alarms in 0.8 h" in lines[1]


def test_false_alarms_are_told_per_week_and_failures_by_seed() -> None:
    score = Score("x", 2, 1, 0, 0, 3, 2 * 86400.0, (1001,))
    assert score.false_alarms_per_week == 10.5
    assert "nothing expected, 3 false alarms in 48.0 h, failed with seed 1001" in score.text()
    assert score.document()["failed_seeds"] == [1001]


def test_a_scenario_that_is_not_there_is_refused() -> None:
    result = runner.invoke(app, ["scenario", "score", "line-tpa"])
    assert result.exit_code == EXIT_USAGE
    assert "line-tap" in result.stderr
