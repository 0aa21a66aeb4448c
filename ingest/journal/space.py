"""What the disk has left for the journal, and the reserve that is given up when it has nothing left."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import structlog

from ingest.config import JournalSettings
from ingest.databases import sync_directory

log = structlog.get_logger(__name__)

RESERVE = "reserve"
"""Name of the reserve file in the journal's directory."""


class DiskSpace:
    """Free space under a directory, its floor, and a reserve file of real blocks.

    The journal stops at the floor by itself. When something else fills the disk, the reserve is what cursors
    and alarms are still written with.
    """

    def __init__(self, directory: Path, settings: JournalSettings) -> None:
        self._directory = directory
        self._floor = settings.min_free_bytes
        self._size = settings.reserve_bytes
        self._path = directory / RESERVE

    @property
    def held(self) -> bool:
        """True while the reserve is there."""
        try:
            return self._size > 0 and self._path.stat().st_size >= self._size
        except OSError:
            return False

    def free(self) -> int:
        """Space that this process may still write [B].

        Raises
        ------
        OSError
            The directory cannot be asked.

        """
        found = os.statvfs(self._directory)
        return found.f_bavail * found.f_frsize

    def short_by(self, needed: int) -> int:
        """How much is missing to write ``needed`` bytes and leave the floor free [B]; 0 if nothing is."""
        return max(0, needed + self._floor - self.free())

    def keep(self) -> None:
        """Lays the reserve up when there is room beyond the floor, and gives it up when there is none."""
        if self.held:
            if self.free() < self._size:
                self.give_up()
        elif self._size and self.short_by(2 * self._size) == 0:
            self._lay_up()

    def give_up(self) -> None:
        """Deletes the reserve; its blocks are free for whatever is most urgent."""
        if self._path.exists():
            with suppress(OSError):
                self._path.unlink()
                log.warning("journal_reserve_given_up", bytes=self._size)

    def _lay_up(self) -> None:
        try:
            with self._path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
                os.fsync(file.fileno())
            sync_directory(self._directory)
        except OSError as error:
            log.warning("journal_reserve_not_laid_up", reason=str(error))
            self.give_up()
