"""The live tree of a broker's topics: how often each speaks, and what; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from commissioning.tables import aligned, printable

MAX_TOPICS = 5000
"""Topics that are kept apart; messages of more are only counted."""
MAX_MEMBERS = 200
"""Members of one payload that are shown and drafted."""
SHOWN = 48
"""Characters of a payload that is no JSON."""

_TIMES = re.compile(r"(ts|t|time|timestamp|datetime|date)(_?(s|ms|us|ns))?", re.IGNORECASE)
_PER_NS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_NEAR_NS = 10 * 365 * 86_400 * 1_000_000_000


@dataclass(slots=True)
class Topic:
    """What one topic said."""

    messages: int = 0
    retained: int = 0
    first_ns: int = 0
    last_ns: int = 0
    payload: Any = None
    """The latest, as JSON if it is."""
    shape: str = ""
    """``object``, ``samples``, ``number``, ``other`` JSON, or ``no JSON``."""
    numbers: dict[str, float] = field(default_factory=dict)
    """Latest number of each member, by its path."""
    texts: dict[str, str] = field(default_factory=dict)
    """Likewise of the members that are text."""
    time: tuple[str, str] | None = None
    """Member that holds the time, and its format."""

    @property
    def rate(self) -> float:
        """Messages a second, retained ones apart [1/s]; 0 when it cannot be told."""
        span = self.last_ns - self.first_ns
        fresh = self.messages - self.retained
        return (fresh - 1) * 1e9 / span if fresh > 1 and span > 0 else 0.0


class TopicTree:
    """Everything that was heard on a broker."""

    def __init__(self) -> None:
        self.topics: dict[str, Topic] = {}
        self.messages = 0
        self.left_out = 0
        """Messages of topics beyond the limit."""

    @property
    def sound(self) -> bool:
        """Something was heard, and all of it is kept."""
        return bool(self.topics) and not self.left_out

    def hear(self, name: str, payload: bytes, received_ns: int, *, retained: bool = False) -> None:
        """Notes a message, received at a wall time [ns, UTC]."""
        self.messages += 1
        topic = self.topics.get(name)
        if topic is None:
            if len(self.topics) >= MAX_TOPICS:
                self.left_out += 1
                return
            topic = self.topics[name] = Topic()
        topic.messages += 1
        if retained:
            topic.retained += 1
        else:
            topic.first_ns = topic.first_ns or received_ns
            topic.last_ns = received_ns
        _look(topic, payload, received_ns)

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "messages": self.messages,
            "left_out": self.left_out,
            "topics": [
                {
                    "topic": name,
                    "messages": topic.messages,
                    "retained": topic.retained,
                    "per_s": round(topic.rate, 3),
                    "shape": topic.shape,
                    "sample": topic.payload,
                    "time": None
                    if topic.time is None
                    else {"member": topic.time[0], "format": topic.time[1]},
                }
                for name, topic in sorted(self.topics.items())
            ],
        }

    def text(self) -> str:
        """For people: the tree, a topic a line, its members below."""
        if not self.topics:
            return "nothing was heard: is the topic right, does anybody publish, and may this user read it?"
        rows = list(self._rows())
        more = f"\n  {self.left_out} messages of further topics" if self.left_out else ""
        heading = ("topic", "msgs", "per s", "sample")
        return (
            f"topics: {len(self.topics)}, {self.messages} messages\n" + aligned(heading, rows, {1, 2}) + more
        )

    def _rows(self) -> Iterator[tuple[str, str, str, str]]:
        open_levels: list[str] = []
        for name, topic in sorted(self.topics.items(), key=lambda entry: entry[0].split("/")):
            levels = name.split("/")
            same = 0
            while same < min(len(open_levels), len(levels) - 1) and open_levels[same] == levels[same]:
                same += 1
            for depth in range(same, len(levels) - 1):
                yield "  " * depth + levels[depth] + "/", "", "", ""
            open_levels = levels[:-1]
            rate = f"{topic.rate:.2f}" if topic.rate else "-"
            indent = "  " * (len(levels) - 1)
            yield indent + levels[-1], str(topic.messages), rate, _sample(topic)
            if topic.shape in {"object", "samples"}:
                for member, value in [*topic.numbers.items(), *topic.texts.items()][:MAX_MEMBERS]:
                    mark = " (time)" if topic.time and topic.time[0] == member else ""
                    yield f"{indent}  .{member}{mark}", "", "", printable(str(value))[:SHOWN]


def _sample(topic: Topic) -> str:
    kept = " retained" if topic.retained else ""
    if topic.shape in {"object", "samples"}:
        return f"{topic.shape} of {len(topic.numbers)} numbers{kept}"
    return f"{printable(str(topic.payload))[:SHOWN]}{kept}"


def _look(topic: Topic, payload: bytes, received_ns: int) -> None:
    try:
        parsed = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        topic.shape, topic.payload = "no JSON", payload[:SHOWN].decode("utf-8", "replace")
        return
    topic.payload = parsed
    holder: Any = parsed
    if isinstance(parsed, dict):
        topic.shape = "object"
    elif isinstance(parsed, list) and parsed and isinstance(parsed[-1], dict):
        topic.shape, holder = "samples", parsed[-1]
    elif isinstance(parsed, int | float) and not isinstance(parsed, bool):
        topic.shape = "number"
        return
    else:
        topic.shape = "other"
        return
    for path, value in _members(holder):
        if isinstance(value, str):
            topic.texts[path] = value
        elif len(topic.numbers) < MAX_MEMBERS or path in topic.numbers:
            topic.numbers[path] = value
        form = _time_format(path, value, received_ns)
        if form and (topic.time is None or topic.time[0] == path):
            topic.time = path, form


def _members(holder: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    for name, value in holder.items():
        if not name or "." in name:
            continue  # a profile could not name it
        if isinstance(value, dict) and depth < 4:
            yield from _members(value, f"{prefix}{name}.", depth + 1)
        elif isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
            yield prefix + name, value


def _time_format(path: str, value: Any, received_ns: int) -> str:
    """How a member tells the time; empty when it does not look like one."""
    if not _TIMES.fullmatch(path.rsplit(".", maxsplit=1)[-1]):
        return ""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return ""
        return "iso8601" if moment.tzinfo is not None else ""
    near = [form for form, ns in _PER_NS.items() if abs(value * ns - received_ns) < _NEAR_NS]
    return near[0] if near else ""
