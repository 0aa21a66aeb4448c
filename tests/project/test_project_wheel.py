"""The product as it is installed, away from the folder that it was built in."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]


def packaged(name: str) -> bool:
    patterns = SETUPTOOLS["packages"]["find"]["include"]
    return any(fnmatch(name.partition("/")[0], pattern) for pattern in patterns)


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def pip(*command: str | Path, folder: Path) -> None:
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *command, folder=folder)


def sources() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(name for name in set(listed) if (ROOT / name).is_file())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy, so that the working tree stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in sources():
        if packaged(name) or "/" not in name:
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", folder / "source", folder=folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def greenbridge(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed command, in an environment that sees the dependencies but not the source tree."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    site = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    # a folder named in a .pth file is searched for modules; its own .pth files, with the source tree, are not
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = ("install", "--no-deps", "--no-index", "--ignore-installed", "--no-compile", wheel)
    pip("--python", python, *install, folder=folder)
    return folder / "bin" / "greenbridge"


def test_the_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == {name for name in sources() if packaged(name) and "/" in name}


def test_the_wheel_is_not_for_a_registry() -> None:
    assert "Private :: Do Not Upload" in importlib.metadata.metadata("greenbridge").get_all("Classifier", [])


def test_the_installed_command_runs_elsewhere(greenbridge: Path, tmp_path: Path) -> None:
    shown = run(greenbridge, "--version", folder=tmp_path)
    assert importlib.metadata.version("greenbridge") in shown
    python = greenbridge.with_name("python")
    place = run(python, "-c", "import telemetry; print(telemetry.__file__)", folder=tmp_path)
    assert str(greenbridge.parents[1]) in place


def test_the_installed_command_checks_a_configuration_elsewhere(greenbridge: Path, tmp_path: Path) -> None:
    corridor = ROOT / "greenbridge" / "corridor"
    configuration = shutil.copytree(corridor, tmp_path / "site", ignore=shutil.ignore_patterns("*.py", "__*"))
    run(greenbridge, "check", configuration / "greenbridge.toml", folder=tmp_path)
