"""Remembers an edge node's birth-death sequence number through restarts of the process."""

from __future__ import annotations

import os
from pathlib import Path

from telemetry.errors import StorageError


class BirthMemory:
    """A file with the ``bdSeq`` of the last CONNECT; without a path it lasts as long as the process."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    def last(self) -> int | None:
        """The number of the last CONNECT; None if there was none.

        Raises
        ------
        StorageError
            The file cannot be read or holds something else.

        """
        if self._path is None or not self._path.exists():
            return None
        try:
            text = self._path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise StorageError(f"{self._path}: cannot be read ({error}); remove it to begin at 0") from None
        if not text.isdigit() or int(text) > 255:
            raise StorageError(f'{self._path}: "{text[:20]}" is no bdSeq (0 to 255); remove it to begin at 0')
        return int(text)

    def remember(self, bd_seq: int) -> None:
        """Keeps the number of a CONNECT that is about to be sent.

        Raises
        ------
        StorageError
            The file cannot be written.

        """
        if self._path is None:
            return
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            with fresh.open("w", encoding="ascii") as file:
                file.write(f"{bd_seq}\n")
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError as error:
            raise StorageError(f"{self._path}: cannot be written ({error}); choose another file") from None
