"""What a probe found, for people and for machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from commissioning.drafts import Draft
from commissioning.tables import printable


class Section(Protocol):
    """The outcome of one thing that was asked for."""

    @property
    def sound(self) -> bool:
        """False when the device did not answer as it should."""
        ...

    def document(self) -> Any:
        """For machines."""
        ...

    def text(self) -> str:
        """For people."""
        ...


@dataclass(slots=True)
class Report:
    """Everything that was found out about one target."""

    target: str
    identification: Mapping[str, str] = field(default_factory=dict)
    """What it says of itself, by the name of the object."""
    sections: dict[str, Section] = field(default_factory=dict)
    """By name, in the order in which they were asked."""
    traffic: Section | None = None
    """What the asking itself took."""
    draft: Draft | None = None
    """What may be written as a configuration."""

    @property
    def sound(self) -> bool:
        """True when everything was answered as it should be."""
        return all(section.sound for section in self.sections.values())

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "target": self.target,
            "sound": self.sound,
            "identification": dict(self.identification),
            **{name: section.document() for name, section in self.sections.items()},
            "traffic": None if self.traffic is None else self.traffic.document(),
        }

    def text(self) -> str:
        """For people."""
        told = ", ".join(f"{name} {printable(text)}" for name, text in self.identification.items())
        parts = [f"{self.target}" + (f": {told}" if told else "")]
        parts += [section.text() for section in self.sections.values()]
        if self.traffic is not None:
            parts.append(self.traffic.text())
        return "\n\n".join(parts)
