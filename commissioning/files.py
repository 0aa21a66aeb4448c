"""Writes what a probe found; never over what is there already unless told to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from adapters.profiles import bundled_profiles, checked_profile
from commissioning.drafts import Draft
from telemetry.errors import GreenbridgeError
from telemetry.profiles import DeviceProfile
from telemetry.settings import nearest


class FileError(GreenbridgeError):
    """A file cannot be written, or is there already."""


def refuse_existing(paths: Iterable[Path], *, force: bool) -> None:
    """Tells before a long probe that its outcome could not be written; of a directory, its main file counts.

    Raises
    ------
    FileError
        A file is there and ``force`` is not set.

    """
    for path in paths:
        file = path / "greenbridge.toml" if path.is_dir() else path
        if file.exists() and not force:
            raise FileError(f"{file} is there already; add --force to overwrite it, or name another")


def write_texts(texts: Mapping[Path, str], *, force: bool) -> list[Path]:
    """Writes files, and the directories that they stand in; nothing if one of them is there already.

    Raises
    ------
    FileError
        A file is there and ``force`` is not set, or cannot be written.

    """
    refuse_existing(texts, force=force)
    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        except OSError as error:
            raise FileError(f"{path} cannot be written: {error.strerror or error}") from None
    return list(texts)


def draft_texts(draft: Draft, path: Path) -> dict[Path, str]:
    """The files of a draft: a profile for a name that ends in ``.toml``, else a directory with a site."""
    if path.suffix == ".toml":
        return {path: draft.profile_text()}
    return {path / name: text for name, text in draft.site_texts().items()}


def load_profile(name: str) -> DeviceProfile:
    """A bundled profile by its id, or one from a file.

    Raises
    ------
    FileError
        There is no such profile or file.
    ConfigError
        The file holds no sound profile.

    """
    bundled = bundled_profiles()
    if name in bundled:
        return bundled[name]
    path = Path(name)
    if path.suffix != ".toml":
        fix = nearest(name, bundled)
        raise FileError(f"--profile {name}: no bundled profile; name one or a file.toml ({fix})")
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FileError(f"--profile {name}: cannot be read: {reason}") from None
    return checked_profile(text, path.name, os.environ)
