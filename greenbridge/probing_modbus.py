"""``greenbridge probe modbus`` and ``probe sunspec``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from greenbridge.probing_outcome import (
    EXIT_USAGE,
    CaFile,
    CertificateFile,
    Force,
    Json,
    KeyFile,
    KeyPasswordFile,
    Outputs,
    Progress,
    Write,
    conduct,
    draft_files,
    keep,
    stop,
)
from telemetry.errors import ConfigError

if TYPE_CHECKING:
    from commissioning.modbus.recording import Recorder
    from commissioning.modbus.target import Reach
    from commissioning.modbus.wish import Manners, Wish

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
Record = Annotated[
    Path | None,
    typer.Option(help="Keep what the device answered, for greenbridge simulate to serve."),
]
Read = Annotated[
    list[str] | None, typer.Option(help="ADDRESS or ADDRESS:COUNT to read; may be given several times.")
]
Repeat = Annotated[
    int, typer.Option(min=1, max=100_000, help="How often to read that, for statistics of round trips.")
]
Table = Annotated[str | None, typer.Option(help="holding, input, coil or discrete.")]
Function = Annotated[int | None, typer.Option(help="The table by its function code, 1 to 4.")]
ScanUnits = Annotated[
    bool,
    typer.Option(
        "--scan-units", help="Find the units behind a gateway, asking for one --read address (or 0)."
    ),
]
Units = Annotated[str, typer.Option(help="FIRST:LAST of the units to look for.")]
ScanRegisters = Annotated[bool, typer.Option("--scan-registers", help="Find the registers that can be read.")]
Within = Annotated[str, typer.Option(help="ADDRESS:COUNT of where to look for registers.")]
MaxRequests = Annotated[int, typer.Option(min=1, help="Requests after which a scan of registers ends.")]
MaxRegisters = Annotated[int | None, typer.Option(min=1, max=2000, help="Addresses in the largest read.")]
Profile = Annotated[
    str | None, typer.Option(help="Read and judge every point of a bundled profile or of FILE.toml.")
]
SheetFiles = Annotated[
    list[Path] | None,
    typer.Option("--sheet", help="Keep the check sheet of --profile as FILE.csv or FILE.html."),
]
Guess = Annotated[int | None, typer.Option(min=0, max=65535, help="Guess how the value there is encoded.")]
Expect = Annotated[float | None, typer.Option(help="What the value to be guessed should be.")]
Tolerance = Annotated[float, typer.Option(min=0.0, max=1.0, help="How far from it, as a share of it.")]
Samples = Annotated[int, typer.Option(min=1, max=1000, help="How often the value to be guessed is read.")]
Tune = Annotated[
    bool,
    typer.Option("--tune", help="Measure the largest read and what a gap may cost; recommends settings."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say how many requests it takes, and ask nothing.")]


def probe_modbus(
    host: Host,
    unit: Unit = 1,
    read: Read = None,
    repeat: Repeat = 1,
    table: Table = None,
    function: Function = None,
    scan_units: ScanUnits = False,
    units: Units = "1:247",
    scan_registers: ScanRegisters = False,
    within: Within = "0:65536",
    max_requests: MaxRequests = 5000,
    max_registers: MaxRegisters = None,
    profile: Profile = None,
    sheet: SheetFiles = None,
    guess: Guess = None,
    expect: Expect = None,
    tolerance: Tolerance = 0.02,
    samples: Samples = 3,
    tune: Tune = False,
    dry_run: DryRun = False,
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
    """Finds units and registers of a Modbus device, reads and checks points, drafts a profile."""
    from commissioning.files import load_profile
    from commissioning.modbus.target import Reach, parse_span, parse_units, table_of
    from commissioning.modbus.wish import Manners, Wish

    keys = (ca_file, certificate_file, key_file, key_password_file)
    reach = Reach(host, transport, timeout, baudrate, parity, stop_bits, *keys)
    outputs = Outputs(write, record, tuple(sheet or ()), force, as_json)

    def wish() -> Wish:
        _check_sheets(outputs.sheets, profile)
        return Wish(
            unit=unit,
            table=table_of(table, function),
            reads=tuple(parse_span(text, "--read") for text in read or ()),
            repeat=repeat,
            scan_units=parse_units(units) if scan_units else None,
            scan_registers=parse_span(within, "--within") if scan_registers else None,
            max_registers=max_registers,
            max_requests=max_requests,
            profile=None if profile is None else load_profile(profile),
            guess=guess,
            expected=expect,
            tolerance=tolerance,
            samples=samples,
            tune=tune,
        )

    _probe_modbus(reach, wish, Manners(pause, patience), outputs, dry_run=dry_run)


def probe_sunspec(
    host: Host,
    unit: Unit = 1,
    base: Annotated[
        int | None, typer.Option(min=0, max=65533, help="Address of the marker, if not 40000, 0 or 50000.")
    ] = None,
    max_registers: MaxRegisters = None,
    dry_run: DryRun = False,
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
    """Walks the models of a SunSpec device, shows their points, drafts a profile of what it measures."""
    from adapters.modbus.sunspec.chain import BASES
    from commissioning.modbus.target import Reach
    from commissioning.modbus.wish import Manners, Wish

    keys = (ca_file, certificate_file, key_file, key_password_file)
    reach = Reach(host, transport, timeout, baudrate, parity, stop_bits, *keys)
    bases = BASES if base is None else (base,)

    def wish() -> Wish:
        return Wish(unit=unit, max_registers=max_registers, sunspec=bases)

    outputs = Outputs(write, record, (), force, as_json)
    _probe_modbus(reach, wish, Manners(pause, patience), outputs, dry_run=dry_run)


def _check_sheets(sheets: Sequence[Path], profile: str | None) -> None:
    from commissioning.modbus.target import UsageError

    if sheets and profile is None:
        raise UsageError("--sheet keeps the check sheet of a profile: add --profile")
    for path in sheets:
        if path.suffix not in {".csv", ".html"}:
            raise UsageError(f"--sheet {path}: end the name in .csv or .html")


def _probe_modbus(
    reach: Reach, wish: Callable[[], Wish], manners: Manners, outputs: Outputs, *, dry_run: bool
) -> None:
    from commissioning.files import FileError, refuse_existing
    from commissioning.modbus.preview import preview
    from commissioning.modbus.session import Session
    from commissioning.modbus.target import UsageError
    from telemetry.clock import SystemClock

    try:
        gateway, wanted = reach.settings(), wish()
        if dry_run:
            typer.echo(preview(wanted, gateway, manners))
            return
        named = (outputs.write, outputs.record, *outputs.sheets)
        refuse_existing([path for path in named if path is not None], force=outputs.force)
        session = Session(gateway, wanted, SystemClock(), manners)
    except (UsageError, FileError, ConfigError) as error:
        stop(error, EXIT_USAGE)
    progress = Progress()
    session.listen(progress.note)
    code = conduct(session.run, session.report, progress, as_json=outputs.as_json)
    texts: dict[Path, str] = {}
    if outputs.write is not None:
        texts |= draft_files(session.report, outputs.write)
    if outputs.record is not None:
        texts |= _recorded(session.recorder, outputs.record)
    if session.sheet is not None:
        for path in outputs.sheets:
            texts[path] = session.sheet.csv() if path.suffix == ".csv" else session.page()
    keep(texts, force=outputs.force, quiet=outputs.as_json)
    raise typer.Exit(code)


def _recorded(recorder: Recorder, path: Path) -> dict[Path, str]:
    if recorder.left_out:
        typer.echo(f"greenbridge: {recorder.left_out} single bits are not recorded", err=True)
    if not recorder.size:
        typer.echo(f"greenbridge: no register was read: {path} is not written", err=True)
        return {}
    return {path: recorder.text()}
