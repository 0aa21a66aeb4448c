"""What the demonstration writes where: a report on standard output is nothing but the report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_TRIAL = """
import structlog
from greenbridge import cli
from greenbridge.demo import trial


class Report:
    held = True

    def document(self):
        return {"held": True}


async def logging_trial(options, clock, for_s):
    structlog.get_logger("greenbridge.demo.children").warning("child_ended", child="broker")
    return Report()


trial.trial = logging_trial
cli.main()
"""


def test_what_the_supervisor_logs_stays_out_of_the_report(tmp_path: Path) -> None:
    arguments = ["demo", "--headless", "--for", "180", "--json", "--state", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-c", _TRIAL, *arguments], capture_output=True, text=True, check=True
    )
    assert json.loads(ended.stdout) == {"held": True}
    assert "child_ended" in ended.stderr
    assert "child=broker" in ended.stderr
