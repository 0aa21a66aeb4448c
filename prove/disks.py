"""Disks that can lose power or fill up: an ext4 image on a loop device, and a small file system in memory."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from telemetry.errors import UnavailableError

_LARGE, _BLOCK = 1 << 24, 4096


class Image:
    """An ext4 file system in a file; ``with`` mounts it.

    What the file holds is what a disk would hold: a write that was not flushed is in the kernel's memory
    only, and is not part of a copy of the file.
    """

    def __init__(self, directory: Path, megabytes: int) -> None:
        self._file = directory / "disk.img"
        self.mount = directory / "mount"
        """Where it is mounted."""
        self.mount.mkdir()
        with self._file.open("wb") as file:
            file.truncate(megabytes << 20)
        _do("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,lazy_journal_init=1", str(self._file))

    def __enter__(self) -> Image:
        self._mount()
        return self

    def __exit__(self, *_: object) -> None:
        _do("umount", str(self.mount))

    def copy(self) -> Path:
        """What the disk holds at this moment, in a file of its own."""
        copy = self._file.with_suffix(".cut")
        _do("cp", "--sparse=always", "--reflink=auto", str(self._file), str(copy))
        return copy

    def restore(self, copy: Path) -> None:
        """Power is back: the file system is what the copy holds, after its own recovery."""
        _do("umount", str(self.mount))
        shutil.move(copy, self._file)
        self._mount()

    def _mount(self) -> None:
        _do("mount", "-o", "loop", str(self._file), str(self.mount))


@contextmanager
def memory(directory: Path, megabytes: int) -> Iterator[Path]:
    """A file system in memory, mounted in a new directory."""
    directory.mkdir()
    _do("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(directory))
    try:
        yield directory
    finally:
        _do("umount", "-l", str(directory))


def fill(directory: Path) -> Path:
    """Takes every free block of a file system, beside those who write to it; returns the file with them."""
    path, size, step = directory / "ballast", 0, _LARGE
    with path.open("wb") as file:
        while step >= _BLOCK:
            try:
                os.posix_fallocate(file.fileno(), size, step)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                step //= 2
            else:
                size += step
    return path


def _do(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise UnavailableError(f"{command[0]} is not there; on Debian: apt-get install e2fsprogs") from None
    except subprocess.CalledProcessError as error:
        reason = f"{' '.join(command)}: {error.stderr.strip()}"
        raise UnavailableError(f"{reason}; to mount file systems, run as root") from error
