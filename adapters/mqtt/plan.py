"""Which topic belongs to which device, and what to subscribe to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.mqtt.codec import PayloadDecoder
from telemetry.errors import ConfigError, Problem
from telemetry.site import SitePoint

TOPICS_PER_SUBSCRIBE = 100
"""Topics in one SUBSCRIBE packet; keeps it far below the packet limits of brokers."""


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A device, its topic and the decoder of its payloads."""

    device: str
    topic: str
    decoder: PayloadDecoder


def plan_topics(points: Sequence[SitePoint]) -> dict[str, TopicPlan]:
    """Plans by topic, for every device that the points belong to.

    Raises
    ------
    ConfigError
        A device is not on MQTT, or two devices share a topic.

    """
    by_device: dict[str, list[SitePoint]] = {}
    for point in points:
        by_device.setdefault(point.key.device, []).append(point)
    plans: dict[str, TopicPlan] = {}
    problems = []
    for name, members in by_device.items():
        device, payload = members[0].device, members[0].profile.json_payload
        where = f"device {name}"
        if device.mqtt is None or payload is None:
            fix = "give it mqtt = {...} and a profile with [json]"
            problems.append(Problem(where, "mqtt", "", "not an MQTT device", fix))
        elif device.mqtt.topic in plans:
            other = plans[device.mqtt.topic].device
            problems.append(
                Problem(
                    where,
                    "mqtt.topic",
                    device.mqtt.topic,
                    f"used by {other} too",
                    "one topic, one device",
                )
            )
        else:
            plans[device.mqtt.topic] = TopicPlan(name, device.mqtt.topic, PayloadDecoder(payload, members))
    if problems:
        raise ConfigError(problems)
    return plans


def subscriptions(topics: Sequence[str]) -> list[list[str]]:
    """The topics in portions of one SUBSCRIBE packet each."""
    return [list(topics[i : i + TOPICS_PER_SUBSCRIBE]) for i in range(0, len(topics), TOPICS_PER_SUBSCRIBE)]
