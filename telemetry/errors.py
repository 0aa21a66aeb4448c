"""The error tree. An error names the thing, the fault and the fix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class GreenbridgeError(Exception):
    """Root of every error that greenbridge raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in a configuration: where it is, what is wrong and what to do about it."""

    file: str
    """The file that holds the fault."""
    key: str
    """Path of the key in the file, for example ``device[3].modbus.unit``; empty for the file as a whole."""
    value: str
    """The offending value as it is written, empty when there is none."""
    reason: str
    """What is wrong."""
    fix: str = ""
    """What to write instead, for example the nearest valid name."""

    def __str__(self) -> str:
        where = f"{self.file}: {self.key}" if self.key else self.file
        shown = f" = {self.value}" if self.value else ""
        return f"{where}{shown}: {self.reason}" + (f" ({self.fix})" if self.fix else "")


class ConfigError(GreenbridgeError):
    """A configuration that cannot be used; carries every problem found, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        heading = f"{count} problem{'' if count == 1 else 's'} in the configuration"
        super().__init__("\n  ".join([heading, *map(str, self.problems)]))


class RegistryError(GreenbridgeError):
    """A point registry whose stored content contradicts itself or what is asked of it."""


class StorageError(GreenbridgeError):
    """A journal or store that cannot do what it was asked; the message names the file or server."""


class UnavailableError(GreenbridgeError):
    """A peer (device, broker, database) that cannot be reached or reports an error; a retry may help."""
