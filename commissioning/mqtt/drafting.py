"""Drafts profiles and devices from the topics of a broker; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapters.mqtt.config import BrokerSettings
from commissioning.drafts import NODE, Draft
from commissioning.mqtt.topics import Topic
from commissioning.naming import device_id, point_name, unit_in
from telemetry.devices import Device, MqttAddress, Role
from telemetry.points import PointSpec, Unit
from telemetry.profiles import DeviceProfile, JsonField, JsonMap, JsonShape, TimeFormat
from telemetry.units import stored_unit

MOST_DEVICES = 500
"""Devices that a draft holds."""
_VALUES = frozenset({"value", "val", "v"})
_UNSAFE = frozenset("#+\x00 {}")

_Kind = tuple[JsonShape, tuple[str, ...], tuple[str, str] | None, str | None]
"""Shape, fields, time member with its format, value member: devices of one kind share a profile."""


def drafted(topics: Mapping[str, Topic], broker: BrokerSettings) -> Draft | None:
    """A profile for each kind of payload and a device for each topic; None when nothing can be mapped."""
    kinds: dict[_Kind, list[str]] = {}
    left_out = 0
    for name, (kind, _) in _devices(topics).items():
        kinds.setdefault(kind, []).append(name)
    profiles: list[DeviceProfile] = []
    devices: list[Device] = []
    taken: set[str] = set()
    for number, (kind, names) in enumerate(kinds.items(), start=1):
        profile = _profile(f"drafted-{number}", kind)
        profiles.append(profile)
        for topic in names:
            if len(devices) >= MOST_DEVICES:
                left_out += 1
                continue
            own = device_id(topic.replace("/{point}", ""), taken)
            taken.add(own)
            address = MqttAddress(broker=broker.id, topic=topic)
            devices.append(Device(id=own, profile=profile.id, node=NODE, role=Role.UNIT, mqtt=address))
    if not profiles:
        return None
    notes = ["Units are guessed from names; what has none is a plain number."]
    if left_out:
        notes.append(f"{left_out} more devices are not in it")
    return Draft(
        profiles[0], "mqtt", "broker", broker, tuple(devices), tuple(notes), further=tuple(profiles[1:])
    )


def _devices(topics: Mapping[str, Topic]) -> dict[str, tuple[_Kind, Sequence[str]]]:
    """Kind and topics of what may be one device, by its topic or template."""
    found: dict[str, tuple[_Kind, Sequence[str]]] = {}
    single: dict[tuple[str, tuple[str, str] | None, str | None], list[str]] = {}
    for name, topic in sorted(topics.items()):
        if _UNSAFE & set(name) or not name:
            continue
        fields = tuple(member for member in topic.numbers if topic.time is None or member != topic.time[0])
        parent, slash, last = name.rpartition("/")
        if topic.shape == "number" and slash and last:
            single.setdefault((parent, None, None), []).append(last)
        elif topic.shape == "object" and len(fields) == 1 and fields[0] in _VALUES and slash and last:
            single.setdefault((parent, topic.time, fields[0]), []).append(last)
        elif topic.shape in {"object", "samples"} and fields:
            found[name] = ((JsonShape(topic.shape), fields, topic.time, None), (name,))
    for (parent, time, value), names in single.items():
        template = f"{parent}/{{point}}"
        if template not in found:
            found[template] = ((JsonShape.SCALAR, tuple(names), time, value), names)
    return found


def _profile(name: str, kind: _Kind) -> DeviceProfile:
    shape, members, time, value = kind
    points: dict[str, PointSpec] = {}
    fields: dict[str, JsonField] = {}
    for member in members:
        own, given = point_name(member, points), unit_in(member)
        stored = None if given is None else stored_unit(given)
        unit = Unit.COUNT if stored is None else stored
        points[own] = PointSpec(title=member, unit=unit)
        fields[own] = JsonField(field=member, unit=given if stored is not None else None)
    payload = JsonMap(
        shape=shape,
        time_field=None if time is None else time[0],
        time_format=TimeFormat.MILLISECONDS if time is None else TimeFormat(time[1]),
        value_field=value,
        fields=fields,
    )
    return DeviceProfile.model_validate(
        {
            "id": name,
            "title": f"Drafted from payloads of {len(members)} numbers",
            "source": "drafted by greenbridge probe mqtt from what was heard",
            "points": points,
            "json": payload,
        }
    )
