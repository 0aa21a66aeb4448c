"""The scenarios at hand, checked against the site whose alarms they name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from greenbridge.scenarios.verdict import PRIORITIES
from greenbridge.settings import Configuration
from simulators.bench import Bench
from simulators.faults.model import Assets
from simulators.scenario import Scenario, load, load_shipped, shipped
from telemetry.errors import ConfigError, Problem
from telemetry.settings import nearest

WHOLE = "telemetry"
"""Asset of the alarm about all links."""


@dataclass(frozen=True, slots=True)
class Named:
    """A scenario and what it is called."""

    name: str
    scenario: Scenario


class Library:
    """Loads scenarios: the shipped ones by name, others by the path of their file."""

    def __init__(self, configuration: Configuration, bench: Bench) -> None:
        self._faults = Assets.of(bench)
        grid = configuration.grid
        self._alarmed = {
            WHOLE,
            *(area.id for area in grid.area),
            *(area.sync_area for area in grid.area),
            *(node.id for node in grid.node),
            *(line.id for line in grid.line),
            *(link.id for link in grid.hvdc),
            *(tie.id for tie in grid.tie),
            *(device.id for device in configuration.devices),
            *(device.link for device in configuration.devices),
        }

    @property
    def names(self) -> Sequence[str]:
        """Names of the shipped scenarios."""
        return shipped()

    def get(self, name: str) -> Named:
        """A scenario by name or path.

        Raises
        ------
        ConfigError
            There is none, or it is faulty: with every fault.

        """
        if name.endswith(".toml"):
            path = Path(name)
            try:
                text = path.read_text("utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError([Problem(name, "", "", f"cannot be read: {error}")]) from None
            found = Named(path.stem, load(text, path.name, self._faults))
        else:
            found = Named(name, load_shipped(name, self._faults))
        if problems := list(self._problems(found)):
            raise ConfigError(problems)
        return found

    def all(self) -> list[Named]:
        """Every shipped scenario."""
        return [self.get(name) for name in self.names]

    def _problems(self, found: Named) -> Iterator[Problem]:
        file = f"{found.name}.toml"
        for i, expected in enumerate(found.scenario.expect):
            if expected.asset not in self._alarmed:
                fix = nearest(expected.asset, self._alarmed)
                yield Problem(file, f"expect[{i}].asset", f'"{expected.asset}"', "no such asset", fix)
            if expected.priority is not None and expected.priority not in PRIORITIES:
                fix = nearest(expected.priority, PRIORITIES)
                yield Problem(
                    file, f"expect[{i}].priority", f'"{expected.priority}"', "no such priority", fix
                )
        for i, forbidden in enumerate(found.scenario.forbid):
            if not any(fnmatchcase(asset, forbidden.asset) for asset in self._alarmed):
                reason, fix = "fits no asset", nearest(forbidden.asset, self._alarmed)
                yield Problem(file, f"forbid[{i}].asset", f'"{forbidden.asset}"', reason, fix)
