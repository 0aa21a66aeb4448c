"""A small file system of its own for a test: what fills up here harms nobody else."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[Path]:
    """A tmpfs of a size in a new directory; skips where nothing may be mounted, which CI does not accept."""
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = f"no file system can be mounted here: {done.stderr.strip()}"
        if os.environ.get("GREENBRIDGE_CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(directory: Path, leave: int = 0) -> Path:
    """Fills a file system up to ``leave`` free bytes [B]; returns the file that does it."""
    path = directory / "ballast"
    found = os.statvfs(directory)
    with path.open("wb") as file:
        left = found.f_bavail * found.f_frsize - leave
        os.posix_fallocate(file.fileno(), 0, left)
    return path
