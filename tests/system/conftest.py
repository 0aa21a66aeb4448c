"""The trial of the demonstration, run beside the other system tests because it takes three minutes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TRIAL = "test_the_trial_of_the_demonstration_holds"


@pytest.fixture(scope="session", autouse=True)
def trial_process(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[subprocess.Popen[bytes] | None]:
    """``greenbridge demo --for 180 --headless --json``: begins with the first system test.

    Judged by the last of them; None when that is not part of the run.
    """
    if not any(item.name == TRIAL for item in request.session.items):
        yield None
        return
    state: Path = tmp_path_factory.mktemp("trial")
    command = [sys.executable, "-m", "greenbridge", "demo", "--state", str(state)]
    with subprocess.Popen(
        [*command, "--for", "180", "--headless", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(10)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.name == TRIAL)
