"""Where readings and events live in InfluxDB: measurements, tags and fields. Pure; see README.md beside it.

Line protocol: InfluxDB 2.7 documentation, "Line protocol", sections "Elements" and "Special characters".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from telemetry.points import PointKey
from telemetry.registry import PointRegistry
from telemetry.site import Site, SitePoint

UNCONFIGURED = "unconfigured"
"""Measurement of points that are no longer in the configuration but still in the journal."""
QUALITY = "_q"
"""Ending of the field that holds a point's quality code."""
VOID = "_void"
"""Ending of the field that tells, after a revision, that the value beside it was withdrawn."""
EVENT_KEY = "event_key"
EVENT_TIME = "event_t"


@dataclass(frozen=True, slots=True)
class Series:
    """A series in InfluxDB: measurement and tags."""

    measurement: str
    tags: Mapping[str, str]

    @property
    def prefix(self) -> str:
        """Start of every line of the series."""
        return escaped_measurement(self.measurement) + "".join(
            f",{escaped(name)}={escaped(value)}" for name, value in sorted(self.tags.items()) if value
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a point lives: a field of a series."""

    series: Series
    field: str


class Schema:
    """Maps point indices to places: by the site, and by the registry for what the site no longer holds."""

    def __init__(self, site: Site, registry: PointRegistry) -> None:
        self._site = site
        self._registry = registry
        self._places: dict[int, Place | None] = {}

    def place(self, index: int) -> Place | None:
        """Place of a point; None for an index that the registry never gave."""
        if index not in self._places:
            self._places[index] = self._find(index)
        return self._places[index]

    def _find(self, index: int) -> Place | None:
        point = self._site.points.get(index)
        if point is None:
            return self._unconfigured(self._registry.key(index)) if index < len(self._registry) else None
        return place_of(self._site, point)

    @staticmethod
    def _unconfigured(key: PointKey) -> Place:
        return Place(Series(UNCONFIGURED, {"device": key.device, "unit": key.unit}), key.name)


def place_of(site: Site, point: SitePoint) -> Place:
    """Place of a point of a site."""
    device = point.device
    tags = {
        "device": device.id,
        "area": site.area_of(device.node),
        "node": device.node,
        "branch": device.branch or "",
        "role": device.role.value,
    }
    return Place(Series(point.profile.id, tags), point.key.name)


def escaped(text: str) -> str:
    """A tag key, tag value or field key for line protocol.

    Line breaks and backslashes cannot be carried reliably there: they become a space and a slash.
    """
    text = text.replace("\\", "/").replace("\r", " ").replace("\n", " ")
    return text.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def escaped_measurement(text: str) -> str:
    """A measurement for line protocol."""
    return escaped(text).replace("\\=", "=")


def quoted(text: str) -> str:
    """A string field for line protocol."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def identifier(text: str) -> str:
    """An identifier for InfluxQL (InfluxDB 1.8 documentation, "InfluxQL reference", "Identifiers")."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def literal(text: str) -> str:
    """A string literal for InfluxQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
