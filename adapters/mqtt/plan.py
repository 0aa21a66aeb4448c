"""Which topic belongs to which device and point, and what to subscribe to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from adapters.mqtt.codec import Decoded, PayloadDecoder, RejectedPayloadError, Rejection
from adapters.mqtt.readings import Readings
from telemetry.devices import Device
from telemetry.errors import ConfigError, Problem
from telemetry.profiles import JsonShape
from telemetry.settings import nearest
from telemetry.site import SitePoint

TOPICS_PER_SUBSCRIBE = 100
"""Topics in one SUBSCRIBE packet; keeps it far below the packet limits of brokers."""
PLACEHOLDERS = ("area", "site", "device", "point")
"""Names that a topic template may hold in braces."""

_POINT = "{point}"
_NAMES = re.compile(r"\{([^{}]*)\}")


def resolved(template: str, device: Device, area: str) -> str:
    """A topic template with everything but ``{point}`` put in: the node is the site."""
    names = {"{area}": area, "{site}": device.node, "{device}": device.id}
    for placeholder, name in names.items():
        template = template.replace(placeholder, name)
    return template


def template_faults(template: str, shape: JsonShape | None = None) -> Iterator[tuple[str, str]]:
    """What is wrong with a topic or template, as (reason, fix); the shape is that of the device's payload."""
    names = _NAMES.findall(template)
    for name in names:
        if name not in PLACEHOLDERS:
            yield f"{{{name}}} stands for nothing", nearest(name, PLACEHOLDERS)
    if set("{}") & set(_NAMES.sub("", template)):
        yield "a brace without its partner", "write names as {device}"
    if shape is None:
        return
    count = template.split("/").count(_POINT)
    if shape is JsonShape.SCALAR and count != 1:
        yield "the profile has one topic for each point", "write {point} as one level of the topic"
    if shape is not JsonShape.SCALAR and "point" in names:
        yield "the profile has all points in one payload", "remove {point}"


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A device, its topic and the decoder of its payloads."""

    device: str
    topic: str
    """Exact, or with ``{point}`` as one of its levels."""
    decoder: PayloadDecoder

    @property
    def filter(self) -> str:
        """What is subscribed to: a level for the point takes every name, so that unknown ones are seen."""
        return self.topic.replace(_POINT, "+")


@dataclass(frozen=True, slots=True)
class Route:
    """Where the messages of one topic go."""

    plan: TopicPlan
    name: str | None
    """What stands for the point in the topic."""

    def read(self, payload: bytes, received_ns: int, into: Readings, *, retained: bool = False) -> bool:
        """As :meth:`adapters.mqtt.codec.PayloadDecoder.read`."""
        return self.plan.decoder.read(payload, received_ns, into, retained=retained)

    def decode(self, payload: bytes, received_ns: int, *, retained: bool = False) -> Decoded:
        """As :meth:`adapters.mqtt.codec.PayloadDecoder.decode`."""
        return self.plan.decoder.decode(payload, received_ns, retained=retained, name=self.name)


class Topics:
    """The topics of one broker's devices."""

    def __init__(self, plans: Sequence[TopicPlan]) -> None:
        self.plans = list(plans)
        self._wild = {plan.filter: plan for plan in plans if plan.topic != plan.filter}
        self._exact = {plan.topic: Route(plan, None) for plan in plans if plan.topic == plan.filter}
        for plan in self._wild.values():
            for name in plan.decoder.names:
                self._exact[plan.topic.replace(_POINT, name)] = Route(plan, name)

    @property
    def filters(self) -> dict[str, TopicPlan]:
        """What to subscribe to, with the device that is behind it."""
        return {plan.filter: plan for plan in self.plans}

    @property
    def names(self) -> frozenset[str]:
        """Every topic that readings come from."""
        return frozenset(self._exact)

    def route(self, topic: str) -> Route:
        """Where the messages of a topic go; the name of a point may be unknown.

        Raises
        ------
        RejectedPayloadError
            No device publishes there.

        """
        found = self._exact.get(topic) or self._wild_route(topic)
        if found is None:
            raise RejectedPayloadError(Rejection.UNKNOWN_TOPIC, "no device publishes there")
        return found

    def knows(self, topic: str) -> bool:
        """Whether a device publishes there."""
        return topic in self._exact or self._wild_route(topic) is not None

    def _wild_route(self, topic: str) -> Route | None:
        if self._wild:
            levels = topic.split("/")
            for at, level in enumerate(levels):
                plan = self._wild.get("/".join([*levels[:at], "+", *levels[at + 1 :]]))
                if plan is not None:
                    return Route(plan, level)
        return None


def plan_topics(points: Sequence[SitePoint]) -> Topics:
    """Plans for every device that the points belong to.

    Raises
    ------
    ConfigError
        A device is not on MQTT, its topic does not fit its payload, or two devices share a topic.

    """
    by_device: dict[str, list[SitePoint]] = {}
    for point in points:
        by_device.setdefault(point.key.device, []).append(point)
    plans: dict[str, TopicPlan] = {}
    problems = []
    for name, members in by_device.items():
        device, payload = members[0].device, members[0].profile.json_payload
        where = f"device {name}"
        topic = None if device.mqtt is None else device.mqtt.topic
        if topic is None or payload is None:
            fix = "give it mqtt = { broker, topic } and a profile with [json]"
            problems.append(Problem(where, "mqtt", "", "not an MQTT device with a topic", fix))
            continue
        plan = TopicPlan(name, topic, PayloadDecoder(payload, members))
        other = plans.setdefault(plan.filter, plan)
        for reason, fix in template_faults(topic, payload.shape):
            problems.append(Problem(where, "mqtt.topic", f'"{topic}"', reason, fix))
        if other is not plan:
            reason = f"used by {other.device} too"
            problems.append(Problem(where, "mqtt.topic", topic, reason, "one topic, one device"))
    topics = Topics(list(plans.values()))
    for filter_, plan in topics.filters.items():
        if plan.topic == filter_ and topics.route(filter_).plan is not plan:
            other = topics.route(filter_).plan
            reason = f"used by a point of {other.device} too"
            problems.append(Problem(f"device {plan.device}", "mqtt.topic", f'"{filter_}"', reason))
    if problems:
        raise ConfigError(problems)
    return topics


def left_over(topic: str, share: str | None) -> list[str]:
    """Every subscription that may be behind a topic that no device is on, to be ended."""
    levels = topic.split("/")
    filters = [topic, *("/".join([*levels[:at], "+", *levels[at + 1 :]]) for at in range(len(levels)))]
    return [*filters, *(shared(filter_, share) for filter_ in filters)] if share else filters


def shared(filter_: str, share: str | None) -> str:
    """A subscription as a member of a group makes it (MQTT 5.0, 4.8.2); unchanged without a group."""
    return f"$share/{share}/{filter_}" if share else filter_


def subscriptions(topics: Sequence[str]) -> list[list[str]]:
    """The topics in portions of one SUBSCRIBE packet each."""
    return [list(topics[i : i + TOPICS_PER_SUBSCRIBE]) for i in range(0, len(topics), TOPICS_PER_SUBSCRIBE)]
