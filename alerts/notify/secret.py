"""Secrets in files: read when channels are built, so that a missing one is found before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from alerts.notify.signing import request_key
from telemetry.errors import ConfigError, Problem


class Where(NamedTuple):
    """A place in the configuration."""

    file: str
    key: str

    def refused(self, value: object, reason: str, fix: str) -> ConfigError:
        """The error about what stands there."""
        return ConfigError([Problem(self.file, self.key, f'"{value}"', reason, fix)])


def key_in(path: Path | None, where: Where) -> bytes | None:
    """The key with which requests are signed; None without a file.

    Raises
    ------
    ConfigError
        It cannot be read, or holds none.

    """
    if path is None:
        return None
    try:
        return request_key(secret_in(path, where))
    except ValueError as error:
        raise where.refused(path, str(error), "write one into it") from error


def secret_in(path: Path, where: Where) -> str:
    """The text of a secret file, without blanks around it.

    Raises
    ------
    ConfigError
        It cannot be read, or is empty.

    """
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "is no text"
        raise where.refused(path, reason, "make it readable for the user that runs greenbridge") from error
    if not text:
        raise where.refused(path, "is empty", "write the secret into it")
    return text
