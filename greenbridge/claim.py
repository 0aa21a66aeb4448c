"""One process for each state directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from telemetry.errors import GreenbridgeError

LOCK = "run.lock"
"""File of the lock in the state directory; it holds the number of the process."""


class ClaimedError(GreenbridgeError):
    """Another process holds the state directory."""


@contextlib.contextmanager
def claimed(state: Path) -> Iterator[None]:
    """Holds the state directory for one process; the lock goes with the process, however that ends.

    Raises
    ------
    ClaimedError
        Another process holds it.
    GreenbridgeError
        The directory cannot be used.

    """
    try:
        state.mkdir(parents=True, exist_ok=True)
        file = (state / LOCK).open("a+")
    except OSError as error:
        raise GreenbridgeError(f"state directory {state} cannot be used: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ClaimedError(
                f"process {file.read().strip() or '?'} runs on the state directory {state} already; "
                "stop it or set another state_dir"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
