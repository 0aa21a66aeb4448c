"""The demonstration without people: the README's headless command."""

from __future__ import annotations

import json
import subprocess

import pytest

GUARD_S = 240


@pytest.mark.system("mosquitto")
def test_the_trial_of_the_demonstration_holds(trial_process: subprocess.Popen[bytes]) -> None:
    output, errors = trial_process.communicate(timeout=GUARD_S)
    report = json.loads(output or b"{}")
    failed = [check for check in report.get("checks", []) if not check["held"]]
    assert not failed, f"{failed}\n{errors.decode()}"
    assert trial_process.returncode == 0, errors.decode()
    assert report["devices"] == {"configured": 190, "seen": 190}
    assert [alarm["key"] for alarm in report["alarms"]] == ["R6/SHY-TAS"]
    assert report["latency_ms"]["read_to_durable"]["p99"] is not None
    assert report["rows_in_store"] > 150_000
