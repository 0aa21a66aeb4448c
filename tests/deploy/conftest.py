from __future__ import annotations

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
    """A directory of secrets as the service setup leaves it: one directory for each service."""
    folder = tmp_path_factory.mktemp("secrets")
    subprocess.run([ROOT / "deploy" / "make-secrets", folder], check=True, capture_output=True)
    return folder
