"""Commands for Grafana's dashboards of a site."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from telemetry.errors import ConfigError, GreenbridgeError

if TYPE_CHECKING:
    from grafana.model import Model
    from grafana.publishing import Publisher
    from greenbridge.settings import Configuration

# what a command needs is imported when it runs, as in greenbridge.cli

EXIT_DIFFERENT, EXIT_USAGE, EXIT_CANNOT_RUN = 1, 2, 3

dashboards = typer.Typer(
    no_args_is_help=True, help="Makes Grafana dashboards of a site and puts them into a Grafana."
)

Config = Annotated[str, typer.Argument(help='Path of a greenbridge.toml, or the built-in site "corridor".')]
Source = Annotated[
    str, typer.Option("--datasource", help="Uid of the InfluxDB data source; empty for the provisioned one.")
]
Url = Annotated[
    str,
    typer.Option(envvar="GREENBRIDGE_GRAFANA_URL", help="Of the Grafana, with the path it is served under."),
]
TokenFile = Annotated[
    Path,
    typer.Option(
        envvar="GREENBRIDGE_GRAFANA_TOKEN_FILE", help="File with the token of a service account (Editor)."
    ),
]


@dashboards.command("build")
def _build(
    config: Config,
    target: Annotated[Path, typer.Argument(help="Directory that the JSON files are written to.")],
    datasource: Source = "",
) -> None:
    """Writes the dashboards as JSON files, which Grafana provisions or imports."""
    with _told():
        documents = _documents(config, datasource)
        try:
            target.mkdir(parents=True, exist_ok=True)
            for name, document in documents.items():
                file = target / f"{name}.json"
                file.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")
                typer.echo(f"{file}: {len(document['panels'])} panels and rows")
        except OSError as error:
            raise GreenbridgeError(f"{target} cannot be written: {error.strerror}") from error


@dashboards.command("diff")
def _diff(config: Config, url: Url, token_file: TokenFile, datasource: Source = "") -> None:
    """Shows what a push would change. Exit code 1 when something differs."""
    with _told():
        publisher = _publisher(url, token_file)
        differences = {
            name: publisher.difference(document) for name, document in _documents(config, datasource).items()
        }
    for name, text in differences.items():
        typer.echo(text or f"{name}: no difference")
    raise typer.Exit(EXIT_DIFFERENT if any(differences.values()) else 0)


@dashboards.command("push")
def _push(
    config: Config,
    url: Url,
    token_file: TokenFile,
    folder: Annotated[
        str, typer.Option(help="Title of the folder; it is made if it is missing.")
    ] = "greenbridge",
    datasource: Source = "",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace also what somebody has edited in Grafana.")
    ] = False,
) -> None:
    """Puts the dashboards into a Grafana; what is edited there is not replaced unless told so."""
    with _told():
        publisher = _publisher(url, token_file)
        for name, document in _documents(config, datasource).items():
            typer.echo(f"{name}: {publisher.push(document, folder, overwrite=overwrite)}")


def model_of(configuration: Configuration) -> Model:
    """A site as its dashboards see it; they lead to where messages say that the console is."""
    from grafana.model import Model

    settings = configuration.settings
    links = settings.alerts.notify.links
    console = f"http://127.0.0.1:{settings.console.port}" if links is None else links.console_url
    return Model(
        settings.name,
        configuration.grid,
        configuration.devices,
        configuration.profiles,
        settings.alerts,
        console.rstrip("/"),
    )


def _documents(config: str, datasource: str) -> dict[str, dict[str, Any]]:
    from grafana.catalogue import documents
    from grafana.publishing import with_source
    from greenbridge.settings import load

    made = {name: json.loads(text) for name, text in documents(model_of(load(config))).items()}
    return {name: with_source(each, datasource) if datasource else each for name, each in made.items()}


def _publisher(url: str, token_file: Path) -> Publisher:
    from grafana.publishing import Publisher

    if not url.startswith(("http://", "https://")):
        raise typer.BadParameter(f"{url} does not begin with http:// or https://", param_hint="--url")
    try:
        token = token_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise GreenbridgeError(f"the token cannot be read from {token_file}: {error}") from error
    if not token:
        raise GreenbridgeError(f"{token_file} is empty: put the token of a service account into it")
    return Publisher(url, token)


@contextmanager
def _told() -> Iterator[None]:
    """Ends the command with a message and its exit code instead of an error of ours."""
    try:
        yield
    except ConfigError as error:
        typer.echo(f"greenbridge: {error}\nNothing was changed.", err=True)
        raise typer.Exit(EXIT_USAGE) from None
    except GreenbridgeError as error:
        typer.echo(f"greenbridge: {error}", err=True)
        raise typer.Exit(EXIT_CANNOT_RUN) from None
