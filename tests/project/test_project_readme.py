"""Every command that the documentation shows is a real one."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from greenbridge.cli import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "deploy/README.md",
    *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))),
)
OUTSIDE: dict[str, set[str]] = {
    "git": {"clone"},
    "docker": {"compose"},
    "cd": set(),
    ".venv/bin/python": set(),
    "useradd": set(),
    "install": set(),
    "cp": set(),
    "systemctl": {"enable", "reload"},
}
"""Other programs that the documents may show, with their subcommands; an empty set allows any."""


def commands() -> list[tuple[str, str]]:
    """Document and line of every command in a fenced ``sh`` block."""
    found = []
    for name in DOCUMENTS:
        text = (ROOT / name).read_text() if (ROOT / name).exists() else ""
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            found += [(name, line.strip()) for line in lines if line.partition("#")[0].strip()]
    return found


class UnknownCommandError(Exception):
    """A document shows what would not be understood."""


def verify(line: str) -> None:
    """Raises :class:`UnknownCommandError` when a command line would not be understood."""
    words = shlex.split(line, comments=True)
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words.pop(0)
    program, *arguments = words
    if program in OUTSIDE:
        if OUTSIDE[program] and arguments[0] not in OUTSIDE[program]:
            raise UnknownCommandError(line)
    elif program in {"./run", "greenbridge"}:
        _verify_own(arguments)
    else:
        script = ROOT / program
        if not script.is_file() or not script.stat().st_mode & 0o111:
            raise UnknownCommandError(f"{line}: there is no script {program}")


def _verify_own(arguments: list[str]) -> None:
    command, *rest = arguments
    if command in {"test", "bench", "prove"}:
        paths = [word.partition("::")[0] for word in rest if "/" in word]
        if not all((ROOT / path).exists() for path in paths):
            raise UnknownCommandError(f"one of {paths} is not there")
        return
    group: Any = typer.main.get_command(app)
    while True:
        if command not in group.commands:
            raise UnknownCommandError(f"there is no command {command}")
        if not hasattr(group.commands[command], "commands"):
            break
        group, (command, *rest) = group.commands[command], rest
    try:
        # parses options and arguments as the real call does, and runs nothing
        group.commands[command].make_context(command, list(rest))
    except Exception as error:  # typer's own click has no public error type
        raise UnknownCommandError(str(error)) from error


@pytest.mark.parametrize(("document", "line"), commands())
def test_a_command_of_the_documents_is_understood(document: str, line: str) -> None:
    verify(line)


@pytest.mark.parametrize(
    "line",
    [
        "./run dmo",
        "./run demo --fro 180",
        "./run run",
        "./run probe modbas host",
        "./run probe modbus host --raed 1",
        "deploy/make-secret",
        "git push",
        "./run test tests/none",
    ],
)
def test_a_wrong_command_is_found(line: str) -> None:
    with pytest.raises(UnknownCommandError):
        verify(line)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_within_the_project_leads_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\(([^)#]+)", text):
        if "://" not in target:
            assert ((ROOT / document).parent / target).exists(), target


def test_the_readme_shows_the_two_commands_of_a_newcomer() -> None:
    shown = {line.partition("#")[0].strip() for name, line in commands() if name == "README.md"}
    assert {"./run demo", "./run test"} <= shown
