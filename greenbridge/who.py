"""Who would be told now: rotations and routes of a site at a moment, for people and machines. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from alerts.alarms import Priority
from alerts.notify.config import MINUTE, NotifySettings, Route
from alerts.notify.rota import local_time, next_hand_over, on_call
from alerts.notify.routing import Routing
from alerts.notify.week import minute_of

_SECOND = 1_000_000_000


def who(settings: NotifySettings, now: int) -> dict[str, Any]:
    """Rotations with who is on call, and the routes that hold at a time, in their order.

    Parameters
    ----------
    settings
        The table.
    now
        [ns, UTC].

    """
    routing = Routing(settings)
    minute = minute_of(local_time(now, settings.time_zone))
    return {
        "at": now,
        "time_zone": settings.time_zone,
        "rotations": [_rotation(settings, name.id, now) for name in settings.rotation],
        "routes": [
            {
                "route": route.id,
                "takes": _takes(route),
                "steps": [
                    {"after_min": step.after / MINUTE, "people": routing.people(step.to, now)}
                    for step in routing.steps(route)
                ],
            }
            for route in settings.route
            if route.contains(minute)
        ],
        "quiet": [
            {"recipient": recipient.id, "priorities": waiting, "until": until}
            for recipient in settings.recipient
            for waiting in [
                [priority.value for priority in settings.quiet.priorities] if settings.quiet else []
            ]
            for until in [routing.quiet_until(recipient.id, Priority(waiting[0]), now) if waiting else now]
            if until > now
        ],
    }


def _rotation(settings: NotifySettings, name: str, now: int) -> dict[str, Any]:
    rotation = next(rotation for rotation in settings.rotation if rotation.id == name)
    zone = rotation.time_zone or settings.time_zone
    here, until = on_call(rotation, zone, now), next_hand_over(rotation, zone, now)
    there = None if until is None else on_call(rotation, zone, until)
    return {
        "rotation": name,
        "person": here.person if here else "",
        "reason": here.reason if here else "",
        "until": until,
        "then": there.person if there else "",
        "time_zone": zone,
    }


def _takes(route: Route) -> dict[str, list[str]]:
    """The conditions of a route, without those that it does not have."""
    given = {
        "priorities": [priority.value for priority in route.priorities],
        "areas": list(route.areas),
        "rules": list(route.rules),
        "assets": list(route.assets),
    }
    return {name: values for name, values in given.items() if values}


def shown(found: Mapping[str, Any]) -> str:
    """The same for people."""
    zone = found["time_zone"]
    universal = "" if zone == "UTC" else f", {_moment(found['at'], 'UTC')} UTC"
    lines = [f"At {_moment(found['at'], zone)} ({zone}){universal}"]
    if not found["routes"]:
        return "\n".join([*lines, "nobody is told: [alerts.notify] has no route"])
    for row in found["rotations"]:
        until = ""
        if row["until"] is not None:
            until = (
                f", until {_moment(row['until'], row['time_zone'])} ({row['time_zone']}), then {row['then']}"
            )
        why = "" if row["reason"] == "turn" else f" ({row['reason']})"
        lines.append(f"on call in {row['rotation']}: {row['person']}{why}{until}")
    lines.append("routes that hold now; the first that matches an alarm counts:")
    for row in found["routes"]:
        takes = ", ".join(f"{name} {'/'.join(values)}" for name, values in row["takes"].items())
        lines.append(f"  {row['route']}: {takes or 'everything else'}")
        for step in row["steps"]:
            when = "at once" if not step["after_min"] else f"not acknowledged after {step['after_min']:g} min"
            lines.append(f"    {when}: {', '.join(step['people']) or 'nobody'}")
    for row in found["quiet"]:
        until = _moment(row["until"], zone)
        lines.append(
            f"quiet: {', '.join(row['priorities'])} alarms wait for {row['recipient']} until {until} ({zone})"
        )
    return "\n".join(lines)


def _moment(at: int, zone: str) -> str:
    local = datetime.fromtimestamp(at // _SECOND, UTC) if zone == "UTC" else local_time(at, zone)
    return f"{local:%a %Y-%m-%d %H:%M}"
