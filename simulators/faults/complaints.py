"""What is wrong with a fault that somebody asked for, in words for them."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from simulators.faults.model import parameters
from telemetry.settings import nearest


def complaints(error: ValidationError) -> list[str]:
    """One sentence for each thing that is wrong."""
    return [_complaint(dict(fault)) for fault in error.errors(include_url=False)]


def _complaint(fault: dict[str, Any]) -> str:
    kinds = parameters()
    place = [str(part) for part in fault["loc"]]
    kind, name = (place[0], place[-1]) if len(place) > 1 else ("", "".join(place))
    known = kinds[kind].parameters if kind in kinds else {}
    match fault["type"]:
        case "union_tag_not_found":
            return "kind is missing: what is to go wrong?"
        case "union_tag_invalid":
            return f'no such kind "{fault["ctx"]["tag"]}" ({nearest(str(fault["ctx"]["tag"]), kinds)})'
        case "missing":
            return f"{name} is missing: {known.get(name, kinds[kind].target if kind in kinds else name)}"
        case "extra_forbidden":
            return f'a {kind} has no "{name}" ({nearest(name, known)})'
        case _:
            return f"{name} = {fault['input']!r}: {known.get(name) or fault['msg']}"
