"""Alarms for people at a terminal. Pure: documents in, text out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

_WORDS = {
    "unacknowledged": "UNACK",
    "acknowledged": "acked",
    "returned_unacknowledged": "over, unack",
    "latched_unacknowledged": "latched, unack",
    "latched_acknowledged": "latched",
    "shelved": "shelved",
    "suppressed": "suppressed",
    "out_of_service": "out of service",
    "normal": "normal",
}

_TEXTS = ("cause", "consequence", "response")


def listing(answer: Mapping[str, Any]) -> str:
    """Alarms with the children that they explain, what is held back, and what cannot be judged."""
    alarms, held = answer["alarms"], answer["held"]
    places = answer["first_out"]
    known = {alarm["id"] for alarm in alarms}
    lines = []
    for alarm in alarms:
        lines.append(f"{_line(alarm)}{_placed(alarm, places)}")
        children = [child for child in held if child["parent"] == alarm["id"]]
        lines += [f"  - {_line(child)}{_placed(child, places)}" for child in children]
    if not alarms:
        lines.append("no alarms")
    others = [alarm for alarm in held if alarm["parent"] not in known]
    if others:
        lines += ["", "held back:", *(f"{_line(alarm)}{_why(alarm)}" for alarm in others)]
    silent = [order for order in answer["orders"] if order["condition"] not in {a["key"] for a in held}]
    if silent:
        lines += ["", "held back, without an alarm now:"]
        for order in silent:
            until = f" until {moment(order['until'])}" if order["until"] else ""
            what = _WORDS[order["kind"]]
            lines.append(f"{order['condition']:<24} {what}{until} by {order['who']}: {order['reason']}")
    if answer["indeterminate"]:
        lines += ["", "cannot be judged now:"]
        for rule in answer["indeterminate"]:
            lines.append(f"{rule['rule']} {rule['asset']}: {rule['reason']}, since {moment(rule['since'])}")
    return "\n".join(lines)


def history(answer: Mapping[str, Any]) -> str:
    """Occurrences, one a line."""
    return "\n".join(map(_line, answer["alarms"])) or "no alarms"


def one(answer: Mapping[str, Any]) -> str:
    """Everything about an alarm."""
    alarm = answer["alarm"]
    lines = [_line(alarm), *(f"{name.capitalize()}: {alarm[name]}" for name in _TEXTS if alarm[name])]
    if alarm["value"] is not None and alarm["limit"] is not None:
        lines.append(
            f"Value: {alarm['value']:.4g} {alarm['unit']}, limit {alarm['limit']:.4g}, {alarm['quality']}"
        )
    lines += [f"  {name}: {value}" for name, value in alarm["evidence"].items()]
    if alarm["parent"]:
        lines.append(f"Explained by: {alarm['parent']}")
    if alarm["held_reason"]:
        lines.append(f"{_WORDS[alarm['state']].capitalize()}{_why(alarm)}")
    lines += [f"Explains: {_line(child)}" for child in answer["children"]]
    if answer["cascade"]:
        lines.append("Cascade:")
    for place in answer["cascade"]:
        lines.append(f"  {place['order']}. {_since(place):<12} {place['id']:<24} {place['title']}")
    lines.append("")
    for step in answer["steps"]:
        by = f" by {step['by']}" if step["by"] else ""
        said = f": {step['comment']}" if step["comment"] else ""
        lines.append(
            f"{moment(step['at'])}  {step['event']:<12} {_WORDS[step['before']]} -> {_WORDS[step['after']]}"
            f"  ({step['reason'].replace('_', ' ')}){by}{said}"
        )
    if answer["told"]:
        lines += ["", "told:"]
    for told in answer["told"]:
        outcome = told["result"].replace("_", " ") or "waits"
        failed = f" (failed attempts: {told['attempts']})" if told["attempts"] else ""
        said = f": {told['detail']}" if told["detail"] and told["result"] != "delivered" else ""
        when = moment(told["ended_at"] or told["at"])
        occasion = told["occasion"].replace("_", " ")
        lines.append(f"{when}  {told['channel']:<20} {occasion:<12} {outcome}{failed}{said}")
    return "\n".join(lines)


def indicators(found: Mapping[str, Any]) -> str:
    """The indicators beside what is aimed at (EEMUA 191, ISA-18.2)."""
    return "\n".join(f"{name:<34} {value:<18} {aim}".rstrip() for name, value, aim in _indicators(found))


def _indicators(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    yield "position", found["position"], ""
    yield "alarms in the last 10 min", str(found["last_10_min"]), "aim: 1, at most 2"
    yield "alarms in the last hour", str(found["last_hour"]), ""
    yield "alarms in the last day", str(found["last_day"]), "aim: 150, at most 300"
    yield "most in 10 min", str(found["peak_10_min"]), "a flood begins above 10"
    yield "in flood", f"{found['flood_pct']:g} %" + (", now" if found["in_flood"] else ""), "aim: below 1 %"
    yield "standing / unacknowledged", f"{found['standing']} / {found['unacknowledged']}", ""
    yield "stale (more than a day)", str(found["stale"]), "aim: below 5"
    yield "held back", str(found["held"]), ""
    yield "chattering", str(found["chattering"]), "aim: 0"
    yield "fleeting", str(found["fleeting"]), ""
    if found["acknowledge_median_s"] is not None:
        p90 = found["acknowledge_p90_s"]
        shown = f"{found['acknowledge_median_s']:g} s" + ("" if p90 is None else f" / {p90:g} s")
        yield "to acknowledge, median / 90 %", shown, ""
    if found["priority_pct"]:
        shares = ", ".join(f"{name} {share:g} %" for name, share in found["priority_pct"].items())
        yield "priorities", shares, "aim: 80, 15, 5, below 1"
        yield "ten worst conditions", f"{found['top_share_pct']:g} %", "aim: 1-5 %"
    for talker in found["top"]:
        yield f"  {talker['key']}", f"{talker['count']} ({talker['share_pct']:g} %)", ""


def done(answers: Sequence[Mapping[str, Any]]) -> str:
    """What became of the alarms that something was done to."""
    return "\n".join(
        "done; the condition has no alarm now" if answer["alarm"] is None else _line(answer["alarm"])
        for answer in answers
    )


def moment(t_ns: int) -> str:
    """A time for people, in UTC."""
    return f"{datetime.fromtimestamp(t_ns / 1e9, UTC):%Y-%m-%d %H:%M:%SZ}"


def _line(alarm: Mapping[str, Any]) -> str:
    return (
        f"{alarm['priority']:<7} {_WORDS[alarm['state']]:<14} {alarm['id']:<24} "
        f"{moment(alarm['raised_at'])}  {alarm['title']}"
    )


def _placed(alarm: Mapping[str, Any], places: Mapping[str, Mapping[str, Any]]) -> str:
    place = places.get(alarm["id"])
    return "" if place is None else f"  [{_since(place)}]"


def _since(place: Mapping[str, Any]) -> str:
    """When an alarm of a cascade began, after the first one."""
    return "first" if place["order"] == 1 else f"+{place['after_first_ms']} ms"


def _why(alarm: Mapping[str, Any]) -> str:
    by = f" by {alarm['held_by']}" if alarm["held_by"] else ""
    until = f" until {moment(alarm['held_until'])}" if alarm["held_until"] else ""
    return f"{by}{until}: {alarm['held_reason']}"
