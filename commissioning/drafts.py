"""Drafts of configuration that ``greenbridge check`` accepts: a profile and who uses it; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from commissioning.toml_text import toml_text
from telemetry.devices import Device, Role
from telemetry.profiles import DeviceProfile, parse_profile
from telemetry.settings import Settings

NODE = "SITE"
"""Busbar that drafted devices stand at until somebody names the right one."""

_SITE_NOTE = """\
# Drafted by greenbridge probe. Replace what is marked CHANGE, then run: greenbridge check .
"""
_GRID = """\
# CHANGE: the grid that the devices stand in. The line parameters are illustrative; nothing uses them yet.
u_rated_kv = 500.0

[line_parameters]
r_ohm_per_km = 0.025
x_ohm_per_km = 0.306
b_us_per_km = 3.6
corona_kw_per_km = 2.4

[[area]]
id = "AREA"
name = "Area"
utc_offset_h = 0.0
sync_area = "AREA"

[[node]]
id = "SITE"
name = "Site"
area = "AREA"
latitude = 0.0
longitude = 0.0
"""


@dataclass(frozen=True, slots=True)
class Draft:
    """A profile, the devices that use it and the connection that leads to them."""

    profile: DeviceProfile
    protocol: str
    """Table of the main file that holds connections, for example ``modbus``."""
    kind: str
    """Name of a connection in that table, for example ``gateway``."""
    connection: Settings
    devices: tuple[Device, ...]
    notes: tuple[str, ...] = ()
    """What the reader should know, a line each."""
    further: tuple[DeviceProfile, ...] = ()
    """More profiles that the devices use; only a site holds them."""

    def profile_text(self) -> str:
        """The profile alone, with the tables that lead to it as comments."""
        own = f"profiles/{self.profile.id}.toml"
        head = [
            "Drafted by greenbridge probe: check names, units and ranges before you trust it.",
            *self.notes,
            *(
                [f"{len(self.further)} more kinds of device are left out: name a directory"]
                * bool(self.further)
            ),
            f"To use it, put it at {own} beside your greenbridge.toml and add there",
            '  profiles = ["profiles"]',
            *(f"  {line}" for line in toml_text(self._connections()).splitlines() if line),
            "and to devices.toml, with the right node and role",
            *(f"  {line}" for line in toml_text(self._devices()).splitlines() if line),
        ]
        return "".join(f"# {line}\n" for line in head) + "\n" + _profile_text(self.profile)

    def site_texts(self) -> dict[str, str]:
        """A whole site, by file name: what ``greenbridge check`` takes as it is."""
        main = {"name": f"Draft of {self.profile.title}", "state_dir": "state", "profiles": ["profiles"]}
        notes = "".join(f"# {note}\n" for note in self.notes)
        return {
            "greenbridge.toml": _SITE_NOTE + notes + toml_text(main | self._connections()),
            "grid.toml": _GRID,
            "devices.toml": "# CHANGE: id, node and role of each device\n" + toml_text(self._devices()),
            **{f"profiles/{p.id}.toml": _profile_text(p) for p in (self.profile, *self.further)},
        }

    def _connections(self) -> dict[str, Any]:
        return {self.protocol: {self.kind: [plain(self.connection)]}}

    def _devices(self) -> dict[str, Any]:
        return {"device": [plain(device) for device in self.devices]}


def _profile_text(profile: DeviceProfile) -> str:
    text = toml_text(plain(profile))
    parse_profile(text, f"{profile.id}.toml")  # what is drafted must be readable
    return text


def plain(settings: Settings) -> dict[str, Any]:
    """Settings as they are written: without what is the default anyway."""
    document = settings.model_dump(by_alias=True, exclude_defaults=True, exclude_none=True)
    return {key: _values(value) for key, value in document.items()}


def _values(value: Any) -> Any:
    """Enumerations as their values, keys as text."""
    if isinstance(value, Mapping):
        return {str(key): _values(own) for key, own in value.items()}
    if isinstance(value, tuple | list):
        return [_values(own) for own in value]
    return str(value) if isinstance(value, str) else value


def drafted_device(number: int, profile: str, **address: Settings) -> Device:
    """A device of a draft; its address is given under the name of its protocol."""
    return Device.model_validate(
        {"id": f"device-{number}", "profile": profile, "node": NODE, "role": Role.UNIT, **address}
    )
