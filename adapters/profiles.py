"""The device profiles that ship with the adapters."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

from adapters.modbus.sunspec.mapping import mapping_problems
from telemetry.errors import ConfigError, Problem
from telemetry.profiles import DeviceProfile, parse_profile

_PACKAGES = ("adapters.modbus", "adapters.mqtt", "adapters.sparkplug")


def checked_profile(text: str, file: str, environment: Mapping[str, str] | None = None) -> DeviceProfile:
    """Parses a profile and checks it against what the adapters know, such as the models of SunSpec.

    Raises
    ------
    ConfigError
        With one problem for each fault.

    """
    profile = parse_profile(text, file, environment)
    if problems := list(mapping_problems(profile, file)):
        raise ConfigError(problems)
    return profile


def bundled_profiles() -> dict[str, DeviceProfile]:
    """Every bundled profile by its id.

    Raises
    ------
    ConfigError
        A profile is faulty, or two have the same id.

    """
    profiles: dict[str, DeviceProfile] = {}
    for package in _PACKAGES:
        folder = files(package) / "profiles"
        for entry in sorted(folder.iterdir(), key=lambda e: e.name):
            if not entry.name.endswith(".toml"):
                continue
            profile = checked_profile(entry.read_text("utf-8"), f"{package}:{entry.name}")
            if profile.id in profiles:
                fault = Problem(entry.name, "id", profile.id, "another profile has this id", "rename one")
                raise ConfigError([fault])
            profiles[profile.id] = profile
    return profiles
