"""The configuration of a site: one TOML file and the files that it names, checked together."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from adapters.modbus.config import ModbusSettings
from adapters.mqtt.config import MqttSettings
from adapters.profiles import bundled_profiles, checked_profile
from adapters.sparkplug.config import SparkplugSettings
from alerts.config import AlertsSettings
from alerts.custom_config import problems as custom_problems
from alerts.operation_config import contingency_problems
from console.config import ConsoleSettings
from console.guard import host_name
from greenbridge import derived, estimates
from greenbridge.connections import Connections, connection_problems
from greenbridge.derived import DerivedPoint
from greenbridge.references import PlacedDevice, device_problems, with_topics
from ingest.config import (
    DeadLetterSettings,
    EmbeddedSettings,
    InfluxSettings,
    JournalSettings,
    VictoriaSettings,
)
from telemetry.devices import Device
from telemetry.errors import ConfigError, Problem
from telemetry.grid import Grid
from telemetry.points import PointKey
from telemetry.profiles import DeviceProfile
from telemetry.registry import PointRegistry
from telemetry.settings import Settings, nearest, parse
from telemetry.site import Site, point_keys

BUILT_IN = ("corridor",)
"""Sites that ship with greenbridge and can be named instead of a file."""


class LogSettings(Settings):
    """Structured logs on standard output."""

    format: Literal["json", "text"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


class SiteSettings(Settings):
    """The main file of a site."""

    name: str
    """Shown at the top of every page."""
    state_dir: str
    """Directory of everything that is kept; relative to where greenbridge is started."""
    grid: str = "grid.toml"
    """File of the grid model, relative to this file."""
    devices: tuple[str, ...] = ("devices.toml",)
    """Files of devices, relative to this file."""
    profiles: tuple[str, ...] = ()
    """Directories of further device profiles, relative to this file; the bundled ones are always there."""
    simulators_url: Annotated[str, Field(pattern=r"^(https?://.+)?$")] = ""
    """Control interface of running simulators, whose exercises the console announces and whose time factor
    this process follows; empty for none."""
    modbus: ModbusSettings = ModbusSettings()
    mqtt: MqttSettings = MqttSettings()
    sparkplug: SparkplugSettings = SparkplugSettings()
    journal: JournalSettings = JournalSettings()
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    embedded: EmbeddedSettings = EmbeddedSettings()
    influx: InfluxSettings | None = None
    """A second store; the embedded one is always there."""
    victoria: VictoriaSettings | None = None
    """A further store, for numbers only: VictoriaMetrics keeps no text."""
    alerts: AlertsSettings = AlertsSettings()
    console: ConsoleSettings = ConsoleSettings()
    logs: LogSettings = LogSettings()
    derived: tuple[DerivedPoint, ...] = ()
    """Points that formulas make of others."""


class DeviceFile(Settings):
    """A file of devices."""

    device: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that was read, checked as a whole."""

    file: str
    settings: SiteSettings
    grid: Grid
    devices: Sequence[Device]
    profiles: Mapping[str, DeviceProfile]

    def keys(self) -> list[PointKey]:
        """Every point that the registry must hold."""
        return point_keys(self.devices, self.profiles)

    def site(self, registry: PointRegistry) -> Site:
        """The site with the indices that a registry gives its points.

        Raises
        ------
        RegistryError
            A point has no index yet.

        """
        return Site.of(self.settings.name, self.grid, self.devices, self.profiles, registry)


Model = TypeVar("Model", bound=Settings)


class _Reader:
    """Reads files relative to a main file and collects the problems of all of them."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self.environment = environment
        self.problems: list[Problem] = []

    def text(self, path: Path, named_in: str, key: str) -> str | None:
        try:
            return path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            fix = "save it as UTF-8"
            if isinstance(error, OSError):
                fix = nearest(path.name, sorted(file.name for file in path.parent.glob("*.toml")))
            self.problems.append(Problem(named_in, key, f'"{path}"', f"cannot be read: {reason}", fix))
            return None

    def model(self, name: str, named_in: str, key: str, model: type[Model]) -> Model | None:
        text = self.text(self.directory / name, named_in, key)
        if text is None:
            return None
        try:
            return parse(text, name, model, self.environment)
        except ConfigError as error:
            self.problems += error.problems
            return None


class _Place(Settings):
    """Where a site keeps its state, whatever else is in its main file."""

    state_dir: str


def state_dir_of(config: str, environment: Mapping[str, str] | None = None) -> str:
    """The state directory of a configuration that need not be sound, nor have its variables set here.

    Raises
    ------
    ConfigError
        Its main file cannot be read, or does not say it.

    """
    environment = os.environ if environment is None else environment
    path = _main_file(config)
    try:
        named = tomllib.loads(path.read_text("utf-8")).get("state_dir")
    except (OSError, ValueError):
        named = None
    if not isinstance(named, str):
        return load(config, environment).settings.state_dir
    return parse(f"state_dir = {json.dumps(named)}", path.name, _Place, environment).state_dir


def _main_file(config: str) -> Path:
    path = Path(config)
    return path / "greenbridge.toml" if path.is_dir() else path


def load(config: str, environment: Mapping[str, str] | None = None) -> Configuration:
    """Reads and checks a configuration: the path of its main file, or the name of a built-in site.

    Raises
    ------
    ConfigError
        With every problem of every file.

    """
    environment = os.environ if environment is None else environment
    if config in BUILT_IN:
        with as_file(files("greenbridge") / config) as directory:
            return _load(directory / "greenbridge.toml", environment)
    return _load(_main_file(config), environment)


def _load(path: Path, environment: Mapping[str, str]) -> Configuration:
    reader = _Reader(path.parent, environment)
    main = path.name
    settings = reader.model(main, main, "", SiteSettings)
    if settings is None:
        if not path.exists():
            fix = nearest(str(path), BUILT_IN)
            raise ConfigError(
                [Problem(str(path), "", "", "no such file", f"name a file or a built-in site: {fix}")]
            )
        _read_what_it_names(path, reader)
        raise ConfigError(reader.problems)
    grid = reader.model(settings.grid, main, "grid", Grid)
    profiles = _profiles(settings, main, reader)
    devices = with_topics(_devices(settings.devices, main, reader), settings.mqtt, grid)
    connections = Connections(settings.modbus, settings.mqtt, settings.sparkplug)
    reader.problems += connection_problems(main, connections, settings.alerts.watermark_s)
    reader.problems += device_problems(devices, connections, grid, profiles)
    reader.problems += _link_problems(main, settings)
    if grid is not None:
        reader.problems += grid.problems(settings.grid)
        reader.problems += settings.alerts.problems(main, grid, [placed.device for placed in devices])
        measured = [placed.device for placed in devices]
        nodes = [node.id for node in grid.node]
        reader.problems += derived.problems(main, settings.derived, measured, profiles, nodes)
        specs = {
            f"{device.id}/{name}": spec
            for device in measured
            if device.profile in profiles
            for name, spec in profiles[device.profile].points.items()
        }
        reader.problems += custom_problems(main, settings.alerts.rule, specs)
        reader.problems += contingency_problems(main, settings.alerts.contingency, grid, specs)
        reader.problems += estimates.problems(main, settings.alerts.state_estimate, grid, measured)
    if reader.problems or grid is None:
        raise ConfigError(reader.problems)
    more, made = derived.devices_of(settings.derived)
    estimated, estimate = estimates.devices_of(settings.alerts.state_estimate, grid)
    measured = [placed.device for placed in devices]
    return Configuration(
        str(path), settings, grid, [*measured, *more, *estimated], profiles | made | estimate
    )


def _link_problems(main: str, settings: SiteSettings) -> Iterator[Problem]:
    """Links in messages that lead where the console does not answer."""
    links, console = settings.alerts.notify.links, settings.console
    if links is None:
        return
    host = host_name(urlsplit(links.console_url).netloc.lower())
    if host not in console.hosts:
        yield Problem(
            main,
            "alerts.notify.links.console_url",
            f'"{links.console_url}"',
            f"the console does not answer to the name {host}",
            f'write allowed_hosts = ["{host}"] into [console]',
        )


def _devices(names: Sequence[str], main: str, reader: _Reader) -> list[PlacedDevice]:
    devices: list[PlacedDevice] = []
    for i, name in enumerate(names):
        file = reader.model(name, main, f"devices[{i}]", DeviceFile)
        if file is not None:
            devices += [PlacedDevice(name, f"device[{k}]", device) for k, device in enumerate(file.device)]
    return devices


class _Named(BaseModel):
    """The files that a main file names, whatever else is wrong in it."""

    model_config = ConfigDict(extra="ignore")
    grid: str = "grid.toml"
    devices: tuple[str, ...] = ("devices.toml",)


def _read_what_it_names(path: Path, reader: _Reader) -> None:
    """Adds the problems of the files that a faulty main file names."""
    try:
        named = _Named.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (OSError, ValueError):
        return  # what is wrong with it is told already
    if (path.parent / named.grid).exists():
        grid = reader.model(named.grid, path.name, "grid", Grid)
        if grid is not None:
            reader.problems += grid.problems(named.grid)
    _devices([name for name in named.devices if (path.parent / name).exists()], path.name, reader)


def _profiles(settings: SiteSettings, main: str, reader: _Reader) -> dict[str, DeviceProfile]:
    profiles = bundled_profiles()
    for i, name in enumerate(settings.profiles):
        directory = reader.directory / name
        found = sorted(directory.glob("*.toml"))
        if not found:
            fix = "name a directory that holds profiles (*.toml)"
            reader.problems.append(Problem(main, f"profiles[{i}]", f'"{name}"', "holds no profile", fix))
        for path in found:
            text = reader.text(path, main, f"profiles[{i}]")
            if text is None:
                continue
            try:
                profile = checked_profile(text, f"{name}/{path.name}", reader.environment)
            except ConfigError as error:
                reader.problems += error.problems
                continue
            profiles[profile.id] = profile
    return profiles
