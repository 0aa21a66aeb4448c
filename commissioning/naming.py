"""Names for what is drafted: of points and devices, from what others call them; pure."""

from __future__ import annotations

import re
from collections.abc import Collection

from telemetry.units import CONVERSIONS

_LONGEST_POINT, _LONGEST_ID = 48, 64


def point_name(text: str, taken: Collection[str] = ()) -> str:
    """A name of a point that resembles a text and is not taken."""
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")
    return _free(name if name[:1].isalpha() else f"P_{name}".rstrip("_"), "_", _LONGEST_POINT, taken)


def device_id(text: str, taken: Collection[str] = ()) -> str:
    """An id of a device that resembles a text and is not taken."""
    name = re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-_") or "device"
    return _free(name[-_LONGEST_ID:].strip("-_"), "-", _LONGEST_ID, taken)


def unit_in(name: str) -> str | None:
    """The unit that a member's name ends in, such as kW of ``p_kw``; None when none is certain."""
    last = re.split(r"[._\-/ ]", name)[-1]
    if last == name:
        return None
    found = {unit for known in CONVERSIONS.values() for unit in known if unit.lower() == last.lower()}
    if last in found:
        return last
    # the megahertz of a radio and the millihertz of a grid look alike in small letters
    return found.pop() if len(found) == 1 and len(last) > 1 and last.lower() != "mhz" else None


def _free(name: str, joint: str, longest: int, taken: Collection[str]) -> str:
    chosen, number = name[:longest], 1
    while chosen in taken:
        number += 1
        chosen = f"{name[: longest - len(str(number)) - 1]}{joint}{number}"
    return chosen
