"""What holds for every file of the repository."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

FORBIDDEN_TEXT = {
    "a path of one machine": re.compile(r"/(?:work|root|home/\w+|Users/\w+)/|/tmp/gb\b"),
    "the address of a package registry": re.compile(
        r"pypi\.org|pythonhosted\.org|registry\.npmjs|docker\.io|ghcr\.io|quay\.io|gcr\.io|(?<!emit-)index-url"
    ),
}

WALL_CLOCK = {
    "time": {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep"},
    "asyncio": {"sleep"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}
MAY_KNOW_THE_TIME = ("telemetry/clock.py", "tests/", "benchmarks/", "prove/")


def files() -> list[str]:
    """Files of the repository: tracked ones and those that are about to be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(name for name in set(listed) if (ROOT / name).is_file())


def clock_uses(source: str) -> Iterator[str]:
    """Places in a module that read or wait for the machine's time."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            if node.attr in WALL_CLOCK.get(owner, ()):
                yield f"line {node.lineno}: {owner}.{node.attr}"
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name in WALL_CLOCK.get(node.module or "", ()):
                    yield f"line {node.lineno}: from {node.module} import {alias.name}"


@pytest.mark.parametrize("what", FORBIDDEN_TEXT)
def test_no_file_holds(what: str) -> None:
    found = []
    for name in files():
        data = (ROOT / name).read_bytes()
        if b"\0" in data or name == Path(__file__).relative_to(ROOT).as_posix():
            continue
        match = FORBIDDEN_TEXT[what].search(data.decode())
        if match:
            found.append(f"{name}: {match[0]}")
    assert found == []


def test_only_the_clock_knows_the_time() -> None:
    found = [
        f"{name}, {use}"
        for name in files()
        if name.endswith(".py") and not name.startswith(MAY_KNOW_THE_TIME)
        for use in clock_uses((ROOT / name).read_text())
    ]
    assert found == []


def test_the_search_for_the_time_finds_it() -> None:
    source = "import time, datetime\nfrom asyncio import sleep\ntime.time()\ndatetime.datetime.now()\n"
    assert list(clock_uses(source)) == [
        "line 2: from asyncio import sleep",
        "line 3: time.time",
        "line 4: datetime.now",
    ]


def test_every_folder_with_python_in_it_is_type_checked() -> None:
    checked = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["files"])
    folders = {name.partition("/")[0] for name in files() if name.endswith(".py") and "/" in name}
    assert folders <= checked


def test_test_files_have_names_of_their_own() -> None:
    names = [Path(name).name for name in files() if re.search(r"^tests/.*/test_\w+\.py$", name)]
    assert sorted(names) == sorted(set(names))


def test_scripts_are_executable() -> None:
    for name in files():
        path = ROOT / name
        if path.read_bytes().startswith(b"#!"):
            assert path.stat().st_mode & 0o111, name
