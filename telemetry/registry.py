"""The point registry: (device, name, unit) to an index that is given once and never reused.

This is the pure table; :mod:`ingest` keeps it on disk and commits a new entry before its first use.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from telemetry.errors import RegistryError
from telemetry.points import PointKey


class PointRegistry:
    """Append-only table of point keys; the position of a key is its index."""

    def __init__(self, keys: Iterable[PointKey] = ()) -> None:
        self._keys: list[PointKey] = []
        self._index: dict[PointKey, int] = {}
        for key in keys:
            if key in self._index:
                raise RegistryError(
                    f"point registry: {'/'.join(key)} is listed twice; restore it from a backup"
                )
            self._append(key)

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: object) -> bool:
        return key in self._index

    def key(self, index: int) -> PointKey:
        """Key of an index.

        Raises
        ------
        RegistryError
            The index was never given.

        """
        if not 0 <= index < len(self._keys):
            raise RegistryError(f"point registry: index {index} was never given (it holds {len(self._keys)})")
        return self._keys[index]

    def index(self, key: PointKey) -> int:
        """Index of a key.

        Raises
        ------
        RegistryError
            The key was never declared.

        """
        try:
            return self._index[key]
        except KeyError:
            raise RegistryError(f"point registry: {'/'.join(key)} was never declared") from None

    def missing(self, keys: Iterable[PointKey]) -> list[PointKey]:
        """The keys that have no index yet, each once, in the order given."""
        return [key for key in dict.fromkeys(keys) if key not in self._index]

    def extend(self, keys: Sequence[PointKey]) -> None:
        """Appends keys that were just made durable: all of them or, on an error, none.

        Raises
        ------
        RegistryError
            A key has an index already or is given twice.

        """
        given: set[PointKey] = set()
        for key in keys:
            if key in self._index or key in given:
                raise RegistryError(f"point registry: {'/'.join(key)} is declared already")
            given.add(key)
        for key in keys:
            self._append(key)

    def _append(self, key: PointKey) -> None:
        self._index[key] = len(self._keys)
        self._keys.append(key)
