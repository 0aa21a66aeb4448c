"""``greenbridge check`` of a file that is no site but the profile of a device, as ``probe`` drafts them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from telemetry.profiles import DeviceProfile, parse_profile

_OF_PROFILES = {"points", "title", "source"}


def profile_in(config: str) -> DeviceProfile | None:
    """The profile in a file; None when it holds none, or cannot be read as TOML.

    Raises
    ------
    ConfigError
        It is a faulty profile.

    """
    path = Path(config)
    if path.suffix != ".toml" or not path.is_file():
        return None
    try:
        text = path.read_text("utf-8")
        keys = tomllib.loads(text).keys()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None
    if "state_dir" in keys or not _OF_PROFILES & keys:
        return None
    return parse_profile(text, path.name)


def document(profile: DeviceProfile) -> dict[str, Any]:
    """For machines."""
    return {
        "profile": profile.id,
        "protocol": profile.protocol,
        "period_s": profile.period_s,
        "points": {name: spec.unit.value for name, spec in profile.points.items()},
        "problems": [],
    }


def text(profile: DeviceProfile) -> str:
    """For people."""
    points = ", ".join(f"{name} [{spec.unit.value}]" for name, spec in profile.points.items())
    return (
        f"Profile {profile.id} is sound: {len(profile.points)} points over {profile.protocol}: {points}\n"
        f'To use it: profiles = ["DIRECTORY"] in greenbridge.toml, and profile = "{profile.id}" of a device'
    )
