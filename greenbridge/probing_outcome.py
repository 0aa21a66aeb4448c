"""What every probe has in common: its outputs, its progress, how it ends and what it leaves behind."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from telemetry.errors import ConfigError, GreenbridgeError

if TYPE_CHECKING:
    from adapters.modbus.codec import Query
    from commissioning.modbus.walk import Reply
    from commissioning.report import Report

EXIT_DOUBTFUL = 1
EXIT_USAGE = 2
EXIT_NO_ANSWER = 3
_PROGRESS_EVERY = 20

CaFile = Annotated[str | None, typer.Option(help="TLS: authorities that vouch for the device (PEM).")]
CertificateFile = Annotated[str | None, typer.Option(help="TLS: own certificate (PEM).")]
KeyFile = Annotated[str | None, typer.Option(help="TLS: key of the own certificate (PEM).")]
KeyPasswordFile = Annotated[str | None, typer.Option(help="TLS: file whose first line unlocks the key.")]
Write = Annotated[
    Path | None,
    typer.Option(help="Draft a profile into FILE.toml, or a site for greenbridge check into a directory."),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that are there already.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


class Progress:
    """Shows on a terminal that the probe is still asking."""

    def __init__(self) -> None:
        self._asked = 0
        self._shown = sys.stderr.isatty()

    def note(self, query: Query, reply: Reply) -> None:
        """Counts a question."""
        del reply
        self._asked += 1
        if self._shown and self._asked % _PROGRESS_EVERY == 0:
            typer.echo(f"\r{self._asked} requests, now {query} ", nl=False, err=True)

    def end(self) -> None:
        """Clears the line."""
        if self._shown and self._asked >= _PROGRESS_EVERY:
            typer.echo("\r\x1b[K", nl=False, err=True)


@dataclass(frozen=True, slots=True)
class Outputs:
    """Where what is found goes."""

    write: Path | None
    record: Path | None
    sheets: tuple[Path, ...]
    force: bool
    as_json: bool


def conduct(
    run: Callable[[], Coroutine[Any, Any, None]], report: Report, progress: Progress, *, as_json: bool
) -> int:
    """Runs a probe and prints what it found, also when it is ended early; returns the exit code."""
    code = 0
    try:
        try:
            asyncio.run(run())
        finally:
            progress.end()
    except KeyboardInterrupt:
        typer.echo("greenbridge: ended early; this is what was found until then", err=True)
        code = EXIT_DOUBTFUL
    except ConfigError as error:
        stop(error, EXIT_USAGE)
    except GreenbridgeError as error:
        if not report.sections:
            stop(error, EXIT_NO_ANSWER)
        typer.echo(f"greenbridge: {error}", err=True)
        code = EXIT_NO_ANSWER
    show(report, as_json=as_json)
    if not report.sections and not as_json:
        typer.echo(
            "Nothing more was asked for: see --scan-units, --scan-registers, --read, --profile, --guess"
        )
    return code if report.sound else code or EXIT_DOUBTFUL


def show(report: Report, *, as_json: bool) -> None:
    """Prints what a probe found."""
    typer.echo(json.dumps(report.document(), indent=2) if as_json else report.text())


def draft_files(report: Report, path: Path) -> dict[Path, str]:
    """Texts of the draft by file; none, and a word of it, when there is nothing to draft."""
    from commissioning.files import draft_texts

    if report.draft is None:
        typer.echo(f"greenbridge: nothing was found to draft: {path} is not written", err=True)
        return {}
    return draft_texts(report.draft, path)


def keep(texts: Mapping[Path, str], *, force: bool, quiet: bool) -> None:
    """Writes what a probe leaves behind."""
    from commissioning.files import FileError, write_texts

    try:
        for path in write_texts(texts, force=force):
            if not quiet:
                typer.echo(f"written: {path}")
    except FileError as error:
        stop(error, EXIT_USAGE)


def stop(error: object, code: int) -> NoReturn:
    """Ends the command with an error and an exit code."""
    typer.echo(f"greenbridge: {error}", err=True)
    raise typer.Exit(code) from None
