"""Exports of stored readings, from a running site or from a state directory that nobody uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple, Self

from greenbridge.backup import REGISTRY, STORE
from greenbridge.claim import claimed
from ingest.config import EmbeddedSettings
from ingest.journal.points import declare
from ingest.stores.embedded.copies import ExportedPoint, ExportFormat
from ingest.stores.embedded.query import EmbeddedQuery
from ingest.stores.embedded.store import EmbeddedStore
from telemetry.errors import GreenbridgeError, StorageError
from telemetry.registry import PointRegistry

_SECOND = 1_000_000_000
_ALWAYS = 1 << 62


class Span(NamedTuple):
    """A time range [ns, UTC]."""

    start: int
    end: int
    """Time to stop before."""

    @classmethod
    def of(cls, start: datetime | None, end: datetime | None) -> Self:
        """A range as a person gives it: times without a zone are UTC, without a time there is no limit.

        Raises
        ------
        GreenbridgeError
            The end is not after the start.

        """
        first = _ns(start) if start else -_ALWAYS
        last = _ns(end) if end else _ALWAYS
        if last <= first:
            raise GreenbridgeError("--to is not after --from")
        return cls(first, last)


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be exported."""

    file: Path
    form: ExportFormat
    start: int
    """First source time [ns, UTC]."""
    end: int
    """Source time to stop before [ns, UTC]."""
    points: tuple[str, ...]
    """Patterns of DEVICE/NAME; all without any."""

    @classmethod
    def of(cls, file: Path, start: datetime | None, end: datetime | None, points: Sequence[str]) -> Self:
        """A request as a person gives it: the file's ending is the format, times without a zone are UTC.

        Raises
        ------
        GreenbridgeError
            The file has another ending, or the end is not after the start.

        """
        try:
            form = ExportFormat(file.suffix.removeprefix(".").lower())
        except ValueError:
            raise GreenbridgeError(f"{file.name}: give a name that ends in .parquet or .csv") from None
        return cls(file, form, *Span.of(start, end), tuple(points))

    def document(self) -> dict[str, Any]:
        """For the control socket."""
        return {
            "file": str(self.file),
            "format": self.form.value,
            "start": self.start,
            "end": self.end,
            "points": list(self.points),
        }

    @classmethod
    def read(cls, document: dict[str, Any]) -> Self:
        """What :meth:`document` wrote.

        Raises
        ------
        GreenbridgeError
            It is something else.

        """
        try:
            return cls(
                Path(document["file"]),
                ExportFormat(document["format"]),
                int(document["start"]),
                int(document["end"]),
                tuple(str(point) for point in document["points"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise GreenbridgeError(f"the export cannot be understood: {error}") from None


async def export_from(query: EmbeddedQuery, registry: PointRegistry, request: Request) -> int:
    """Writes the file and returns the number of readings in it.

    Raises
    ------
    StorageError
        No point is like one of the patterns.
    UnavailableError
        The file cannot be written.

    """
    points = []
    for index in range(len(registry)):
        key = registry.key(index)
        path = f"{key.device}/{key.name}"
        if not request.points or any(fnmatchcase(path, pattern) for pattern in request.points):
            points.append(ExportedPoint(index, key.device, key.name, key.unit))
    if not points:
        raise StorageError(f"no point matches {', '.join(request.points)}; a point is DEVICE/NAME")
    return await query.export(request.file, request.form, points, request.start, request.end)


async def export_stopped(state: Path, request: Request) -> int:
    """As :func:`export_from`, of a state directory that no process uses.

    Raises
    ------
    ClaimedError
        A process uses it.
    StorageError
        There is no store, or no point is like one of the patterns.

    """
    if not (state / STORE).exists():
        raise StorageError(f"{state} holds no readings; set state_dir, or run greenbridge first")
    with claimed(state):
        registry = declare(state / REGISTRY)
        async with EmbeddedStore(state / STORE, EmbeddedSettings()) as store:
            return await export_from(store.query, registry, request)


def _ns(moment: datetime) -> int:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(aware.replace(microsecond=0).timestamp()) * _SECOND + aware.microsecond * 1000
