"""``greenbridge probe mqtt`` and ``probe sparkplug``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    from adapters.broker import BrokerConnection
    from adapters.mqtt_session import Received
    from commissioning.drafts import Draft
    from commissioning.report import Section

Broker = Annotated[str, typer.Argument(metavar="BROKER[:PORT]", help="Name or address of the MQTT broker.")]
Seconds = Annotated[float, typer.Option(min=0.1, max=86_400, help="How long to listen [s].")]
Username = Annotated[str | None, typer.Option(help="Of the broker.")]
PasswordFile = Annotated[str | None, typer.Option(help="File whose first line is the broker's password.")]
Tls = Annotated[
    bool, typer.Option("--tls", help="Encrypt, verified by the system's authorities or --ca-file.")
]


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
    outputs = Outputs(write, None, (), force, as_json)
    _listen(access, lambda: [usable_filter(topic)], hear, ("topics", tree), draft, seconds, outputs)


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
    from adapters.sparkplug.config import HostSettings
    from adapters.sparkplug.topics import NAMESPACE
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
    outputs = Outputs(write, None, (), force, as_json)
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
    outputs: Outputs,
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
        stop(error, EXIT_USAGE)

    async def run() -> None:
        await listener.run()
        report.sections.setdefault(name, found)

    progress = Progress()
    code = conduct(run, report, progress, as_json=outputs.as_json)
    # the name of a probe's session is of no use to what is drafted
    kept = settings.model_copy(update={"client_id": "greenbridge"})
    report.draft = draft(kept)
    if outputs.write is not None:
        keep(draft_files(report, outputs.write), force=outputs.force, quiet=outputs.as_json)
    raise typer.Exit(code)
