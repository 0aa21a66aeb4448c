"""``greenbridge probe``: looks at devices before they are configured.

Exit codes: 0 answered, 1 answered but something is not as it should be, 2 wrong use, 3 no answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from telemetry.errors import ConfigError, GreenbridgeError

if TYPE_CHECKING:
    from commissioning.report import Report

# Commands import what they need when they run: `greenbridge --help` stays instant.

EXIT_DOUBTFUL = 1
EXIT_USAGE = 2
EXIT_NO_ANSWER = 3

probe = typer.Typer(
    no_args_is_help=True,
    help="Looks at devices before they are configured: reads only, one request at a time, with pauses.",
)

Host = Annotated[
    str, typer.Argument(metavar="HOST[:PORT]", help="Where the device is; the device file of a serial line.")
]
Unit = Annotated[int, typer.Option(min=0, max=255, help="Unit identifier behind the gateway.")]
Transport = Annotated[str, typer.Option(help="tcp, tls, rtu_over_tcp or serial.")]
Timeout = Annotated[float, typer.Option(help="Longest wait for a reply [s].")]
Pause = Annotated[float, typer.Option(min=0.0, max=60, help="Between a reply and the next request [s].")]
Patience = Annotated[
    int, typer.Option(min=1, max=1000, help="Requests in a row without answer after which the probe ends.")
]
Baudrate = Annotated[int, typer.Option(help="Of a serial line.")]
Parity = Annotated[str, typer.Option(help="Of a serial line: even, odd or none.")]
StopBits = Annotated[int, typer.Option(help="Of a serial line: 1 or 2.")]
CaFile = Annotated[str | None, typer.Option(help="TLS: authorities that vouch for the device (PEM).")]
CertificateFile = Annotated[str | None, typer.Option(help="TLS: own certificate (PEM).")]
KeyFile = Annotated[str | None, typer.Option(help="TLS: key of the own certificate (PEM).")]
KeyPasswordFile = Annotated[str | None, typer.Option(help="TLS: file whose first line unlocks the key.")]
Write = Annotated[
    Path | None,
    typer.Option(help="Draft a profile into FILE.toml, or a site for greenbridge check into a directory."),
]
Record = Annotated[
    Path | None,
    typer.Option(help="Keep what the device answered, for greenbridge simulate to serve."),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that are there already.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


@probe.command("modbus")
def probe_modbus(
    host: Host,
    unit: Unit = 1,
    read: Annotated[
        list[str] | None, typer.Option(help="ADDRESS or ADDRESS:COUNT to read; may be given several times.")
    ] = None,
    table: Annotated[str | None, typer.Option(help="holding, input, coil or discrete.")] = None,
    function: Annotated[int | None, typer.Option(help="The table by its function code, 1 to 4.")] = None,
    scan_units: Annotated[
        bool, typer.Option("--scan-units", help="Find the units behind a gateway.")
    ] = False,
    units: Annotated[str, typer.Option(help="FIRST:LAST of the units to look for.")] = "1:247",
    scan_registers: Annotated[
        bool, typer.Option("--scan-registers", help="Find the registers that can be read.")
    ] = False,
    within: Annotated[str, typer.Option(help="ADDRESS:COUNT of where to look for registers.")] = "0:65536",
    max_requests: Annotated[int, typer.Option(min=1, help="Requests after which a scan ends.")] = 5000,
    max_registers: Annotated[
        int | None, typer.Option(min=1, max=2000, help="Addresses in the largest read.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how many requests a scan takes, and ask nothing.")
    ] = False,
    transport: Transport = "tcp",
    timeout: Timeout = 1.0,
    pause: Pause = 0.02,
    patience: Patience = 3,
    baudrate: Baudrate = 19200,
    parity: Parity = "even",
    stop_bits: StopBits = 1,
    ca_file: CaFile = None,
    certificate_file: CertificateFile = None,
    key_file: KeyFile = None,
    key_password_file: KeyPasswordFile = None,
    write: Write = None,
    record: Record = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Reads a Modbus device, finds its units and registers, drafts its profile."""
    from commissioning.files import FileError, refuse_existing
    from commissioning.modbus.preview import preview
    from commissioning.modbus.session import Session
    from commissioning.modbus.target import Reach, UsageError, parse_span, parse_units, table_of
    from commissioning.modbus.wish import Manners, Wish
    from telemetry.clock import SystemClock

    try:
        gateway = Reach(
            host,
            transport,
            timeout,
            baudrate,
            parity,
            stop_bits,
            ca_file,
            certificate_file,
            key_file,
            key_password_file,
        ).settings()
        wish = Wish(
            unit=unit,
            table=table_of(table, function),
            reads=tuple(parse_span(text, "--read") for text in read or ()),
            scan_units=parse_units(units) if scan_units else None,
            scan_registers=parse_span(within, "--within") if scan_registers else None,
            max_registers=max_registers,
            max_requests=max_requests,
        )
        manners = Manners(pause, patience)
        if dry_run:
            typer.echo(preview(wish, gateway, manners))
            return
        refuse_existing([path for path in (write, record) if path is not None], force=force)
        session = Session(gateway, wish, SystemClock(), manners)
    except (UsageError, FileError, ConfigError) as error:
        _stop(error, EXIT_USAGE)
    _conduct(session.run, session.report, as_json=as_json)
    report = session.report
    texts: dict[Path, str] = {}
    if write is not None:
        texts |= _drafted(report, write)
    if record is not None:
        texts[record] = session.recorder.text()
    _keep(texts, force=force, quiet=as_json)
    raise typer.Exit(0 if report.sound else EXIT_DOUBTFUL)


def _conduct(run: Callable[[], Awaitable[Report]], report: Report, *, as_json: bool) -> None:
    """Runs a probe and prints what it found, also when it is ended early."""

    async def main() -> None:
        await run()

    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        _show(report, as_json=as_json)
        typer.echo("greenbridge: ended early", err=True)
        raise typer.Exit(EXIT_DOUBTFUL) from None
    except ConfigError as error:
        _stop(error, EXIT_USAGE)
    except GreenbridgeError as error:
        if report.sections:
            _show(report, as_json=as_json)
        _stop(error, EXIT_NO_ANSWER)
    _show(report, as_json=as_json)


def _show(report: Report, *, as_json: bool) -> None:
    typer.echo(json.dumps(report.document(), indent=2) if as_json else report.text())


def _drafted(report: Report, path: Path) -> dict[Path, str]:
    from commissioning.files import draft_texts

    if report.draft is None:
        _stop("nothing was found that a draft could be made of; nothing is written", EXIT_DOUBTFUL)
    return draft_texts(report.draft, path)


def _keep(texts: Mapping[Path, str], *, force: bool, quiet: bool) -> None:
    from commissioning.files import FileError, write_texts

    try:
        for path in write_texts(texts, force=force):
            if not quiet:
                typer.echo(f"written: {path}")
    except FileError as error:
        _stop(error, EXIT_USAGE)


def _stop(error: object, code: int) -> NoReturn:
    typer.echo(f"greenbridge: {error}", err=True)
    raise typer.Exit(code) from None
