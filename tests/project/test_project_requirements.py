"""Ranges in pyproject.toml and pins in requirements/ agree, and neither names an address."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements"
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)", re.MULTILINE)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def asked(name: str) -> list[Requirement]:
    """Requirements of an input file."""
    lines = (line.partition("#")[0].strip() for line in (REQUIREMENTS / name).read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def pinned(name: str) -> dict[str, set[str]]:
    """Versions of each package of a compiled file; one may be pinned apart for some versions of Python."""
    found: dict[str, set[str]] = {}
    for package, version in PIN.findall((REQUIREMENTS / name).read_text()):
        found.setdefault(canonicalize_name(package), set()).add(version)
    return found


@pytest.mark.parametrize("path", sorted(REQUIREMENTS.iterdir()), ids=lambda path: path.name)
def test_no_address(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\w+://|--(extra-)?index|--find-links|--trusted-host|@ ", text)


@pytest.mark.parametrize("name", ["runtime.txt", "dev.txt"])
def test_every_pin_is_exact_and_has_a_hash(name: str) -> None:
    text = (REQUIREMENTS / name).read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"(?m)^\s*#.*\n", "", text).strip())
    assert len(entries) == len(PIN.findall(text)) > 0
    for entry in entries:
        assert PIN.match(entry), entry
        assert "--hash=sha256:" in entry, entry


def test_the_project_asks_for_what_runtime_in_asks_for() -> None:
    project = {str(Requirement(line)) for line in PROJECT["project"]["dependencies"]}
    build = {str(Requirement(line)) for line in PROJECT["build-system"]["requires"]}
    assert {str(requirement) for requirement in asked("runtime.in")} == project | build


@pytest.mark.parametrize("name", ["runtime", "dev"])
def test_the_pins_are_in_the_ranges(name: str) -> None:
    pins = pinned(f"{name}.txt")
    for requirement in asked("runtime.in") + (asked("dev.in") if name == "dev" else []):
        versions = pins[canonicalize_name(requirement.name)]
        assert all(map(requirement.specifier.contains, versions)), f"{requirement} is pinned to {versions}"


def test_the_checks_run_on_what_the_product_runs_on() -> None:
    runtime, dev = pinned("runtime.txt"), pinned("dev.txt")
    assert {package: dev.get(package) for package in runtime} == runtime


def test_every_dependency_has_its_reason() -> None:
    reasons = (ROOT / "docs/decisions/0002-dependencies.md").read_text()
    for requirement in asked("runtime.in") + asked("dev.in"):
        assert f"`{requirement.name}`" in reasons, requirement.name
