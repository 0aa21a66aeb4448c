"""``greenbridge probe``: looks at devices before they are configured.

Exit codes: 0 answered, 1 answered but something is not as it should be, 2 wrong use, 3 no answer.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from telemetry.errors import ConfigError, GreenbridgeError

if TYPE_CHECKING:
    from adapters.broker import BrokerConnection
    from adapters.modbus.codec import Query
    from adapters.mqtt_client import Received
    from commissioning.drafts import Draft
    from commissioning.modbus.recording import Recorder
    from commissioning.modbus.target import Reach
    from commissioning.modbus.walk import Reply
    from commissioning.modbus.wish import Manners, Wish
    from commissioning.report import Report, Section

# Commands import what they need when they run: `greenbridge --help` stays instant.

EXIT_DOUBTFUL = 1
EXIT_USAGE = 2
EXIT_NO_ANSWER = 3
_PROGRESS_EVERY = 20

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


@probe.command("modbus")
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
    outputs = _Outputs(write, record, tuple(sheet or ()), force, as_json)

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


@probe.command("sunspec")
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

    outputs = _Outputs(write, record, (), force, as_json)
    _probe_modbus(reach, wish, Manners(pause, patience), outputs, dry_run=dry_run)


Broker = Annotated[str, typer.Argument(metavar="BROKER[:PORT]", help="Name or address of the MQTT broker.")]
Seconds = Annotated[float, typer.Option(min=0.1, max=86_400, help="How long to listen [s].")]
Username = Annotated[str | None, typer.Option(help="Of the broker.")]
PasswordFile = Annotated[str | None, typer.Option(help="File whose first line is the broker's password.")]
Tls = Annotated[
    bool, typer.Option("--tls", help="Encrypt, verified by the system's authorities or --ca-file.")
]


@probe.command("mqtt")
def probe_mqtt(
    broker: Broker,
    topic: Annotated[str, typer.Argument(help="Topic to listen to; + and # are wildcards.")] = "#",
    seconds: Seconds = 10.0,
    username: Username = None,
    password_file: PasswordFile = None,
    tls: Tls = False,
    ca_file: CaFile = None,
    certificate_file: CertificateFile = None,
    key_file: KeyFile = None,
    key_password_file: KeyPasswordFile = None,
    write: Write = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Listens to a broker: the tree of its topics, with rates and samples; drafts a mapping of payloads."""
    from adapters.mqtt.config import BrokerSettings
    from commissioning.listening import usable_filter
    from commissioning.mqtt.drafting import drafted
    from commissioning.mqtt.topics import TopicTree

    tree = TopicTree()

    def hear(message: Received) -> Mapping[str, bytes]:
        tree.hear(message.topic, message.payload, message.received_ns, retained=message.retained)
        return {}

    def draft(connection: BrokerConnection) -> Draft | None:
        return drafted(tree.topics, BrokerSettings.model_validate(connection.model_dump(exclude_unset=True)))

    keys = (ca_file, certificate_file, key_file, key_password_file)
    access = _Access(broker, username, password_file, tls or any(keys), *keys)
    outputs = _Outputs(write, None, (), force, as_json)
    _listen(access, lambda: [usable_filter(topic)], hear, ("topics", tree), draft, seconds, outputs)


@probe.command("sparkplug")
def probe_sparkplug(
    broker: Broker,
    group: Annotated[
        list[str] | None, typer.Option(help="Only this group; may be given several times.")
    ] = None,
    ask_births: Annotated[
        bool,
        typer.Option(
            "--ask-births",
            help="Ask edge nodes that are heard for their births: they then publish all that they have, "
            "to everybody who listens.",
        ),
    ] = False,
    seconds: Seconds = 10.0,
    username: Username = None,
    password_file: PasswordFile = None,
    tls: Tls = False,
    ca_file: CaFile = None,
    certificate_file: CertificateFile = None,
    key_file: KeyFile = None,
    key_password_file: KeyPasswordFile = None,
    write: Write = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Listens to edge nodes: what their births say there is; drafts points. Publishes nothing unasked."""
    from adapters.sparkplug.codec import NAMESPACE
    from adapters.sparkplug.config import HostSettings
    from commissioning.listening import usable_filter, usable_level
    from commissioning.sparkplug.births import Births
    from commissioning.sparkplug.drafting import drafted

    births = Births(ask=ask_births)

    def hear(message: Received) -> Mapping[str, bytes]:
        if message.retained:
            return {}
        return births.hear(message.topic, message.payload, message.received_ns)

    def draft(connection: BrokerConnection) -> Draft | None:
        host = connection.model_dump(exclude_unset=True) | {"host_id": "greenbridge"}
        return drafted(births.directory, HostSettings.model_validate(host))

    def filters() -> list[str]:
        named = [usable_filter(f"{NAMESPACE}/{usable_level(name)}/#") for name in group or ()]
        return named or [f"{NAMESPACE}/#"]

    keys = (ca_file, certificate_file, key_file, key_password_file)
    access = _Access(broker, username, password_file, tls or any(keys), *keys)
    outputs = _Outputs(write, None, (), force, as_json)
    _listen(access, filters, hear, ("births", births), draft, seconds, outputs)


@dataclass(frozen=True, slots=True)
class _Access:
    """How a broker is reached."""

    broker: str
    username: str | None
    password_file: str | None
    encrypted: bool
    ca_file: str | None
    certificate_file: str | None
    key_file: str | None
    key_password_file: str | None

    def settings(self) -> BrokerConnection:
        from adapters.tls import TlsSettings
        from commissioning.listening import connection

        tls = None
        if self.encrypted:
            tls = TlsSettings(
                ca_file=self.ca_file,
                certificate_file=self.certificate_file,
                key_file=self.key_file,
                key_password_file=self.key_password_file,
            )
        return connection(self.broker, username=self.username, password_file=self.password_file, tls=tls)


def _listen(
    access: _Access,
    filters: Callable[[], Sequence[str]],
    hear: Callable[[Received], Mapping[str, bytes]],
    section: tuple[str, Section],
    draft: Callable[[BrokerConnection], Draft | None],
    seconds: float,
    outputs: _Outputs,
) -> None:
    from commissioning.files import FileError, refuse_existing
    from commissioning.listening import BrokerNameError, Listener
    from commissioning.report import Report
    from telemetry.clock import SystemClock

    name, found = section

    def noting(message: Received) -> Mapping[str, bytes]:
        report.sections.setdefault(name, found)
        return hear(message)

    try:
        settings = access.settings()
        report = Report(f"{settings.host}:{settings.port}")
        refuse_existing([outputs.write] if outputs.write is not None else [], force=outputs.force)
        listener = Listener(settings, filters(), noting, SystemClock(), seconds)
    except (BrokerNameError, FileError, ConfigError) as error:
        _stop(error, EXIT_USAGE)

    async def run() -> None:
        await listener.run()
        report.sections.setdefault(name, found)

    progress = _Progress()
    code = _conduct(run, report, progress, as_json=outputs.as_json)
    # the name of a probe's session is of no use to what is drafted
    kept = settings.model_copy(update={"client_id": "greenbridge"})
    report.draft = draft(kept)
    if outputs.write is not None:
        _keep(_drafted(report, outputs.write), force=outputs.force, quiet=outputs.as_json)
    raise typer.Exit(code)


class _Progress:
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
class _Outputs:
    """Where what is found goes."""

    write: Path | None
    record: Path | None
    sheets: tuple[Path, ...]
    force: bool
    as_json: bool


def _check_sheets(sheets: Sequence[Path], profile: str | None) -> None:
    from commissioning.modbus.target import UsageError

    if sheets and profile is None:
        raise UsageError("--sheet keeps the check sheet of a profile: add --profile")
    for path in sheets:
        if path.suffix not in {".csv", ".html"}:
            raise UsageError(f"--sheet {path}: end the name in .csv or .html")


def _probe_modbus(
    reach: Reach, wish: Callable[[], Wish], manners: Manners, outputs: _Outputs, *, dry_run: bool
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
        _stop(error, EXIT_USAGE)
    progress = _Progress()
    session.listen(progress.note)
    code = _conduct(session.run, session.report, progress, as_json=outputs.as_json)
    texts: dict[Path, str] = {}
    if outputs.write is not None:
        texts |= _drafted(session.report, outputs.write)
    if outputs.record is not None:
        texts |= _recorded(session.recorder, outputs.record)
    if session.sheet is not None:
        for path in outputs.sheets:
            texts[path] = session.sheet.csv() if path.suffix == ".csv" else session.page()
    _keep(texts, force=outputs.force, quiet=outputs.as_json)
    raise typer.Exit(code)


def _conduct(
    run: Callable[[], Coroutine[Any, Any, None]], report: Report, progress: _Progress, *, as_json: bool
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
        _stop(error, EXIT_USAGE)
    except GreenbridgeError as error:
        if not report.sections:
            _stop(error, EXIT_NO_ANSWER)
        typer.echo(f"greenbridge: {error}", err=True)
        code = EXIT_NO_ANSWER
    _show(report, as_json=as_json)
    if not report.sections and not as_json:
        typer.echo(
            "Nothing more was asked for: see --scan-units, --scan-registers, --read, --profile, --guess"
        )
    return code if report.sound else code or EXIT_DOUBTFUL


def _show(report: Report, *, as_json: bool) -> None:
    typer.echo(json.dumps(report.document(), indent=2) if as_json else report.text())


def _drafted(report: Report, path: Path) -> dict[Path, str]:
    from commissioning.files import draft_texts

    if report.draft is None:
        typer.echo(f"greenbridge: nothing was found to draft: {path} is not written", err=True)
        return {}
    return draft_texts(report.draft, path)


def _recorded(recorder: Recorder, path: Path) -> dict[Path, str]:
    if recorder.left_out:
        typer.echo(f"greenbridge: {recorder.left_out} single bits are not recorded", err=True)
    if not recorder.size:
        typer.echo(f"greenbridge: no register was read: {path} is not written", err=True)
        return {}
    return {path: recorder.text()}


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
