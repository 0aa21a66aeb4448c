from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return document


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of secrets as deploy/make-secrets leaves it."""
    folder = tmp_path_factory.mktemp("deploy")
    shutil.copy(ROOT / "deploy" / "make-secrets", folder)
    (folder / "secrets").mkdir()
    for example in (ROOT / "deploy" / "secrets").glob("*.example"):
        shutil.copy(example, folder / "secrets")
    subprocess.run([folder / "make-secrets"], check=True, capture_output=True)
    return folder / "secrets"
