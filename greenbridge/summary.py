"""What a configuration amounts to, before anything is started."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Set
from dataclasses import dataclass
from typing import Any

from adapters.modbus.planner import planned
from alerts.config import AlertsSettings
from alerts.notify.catalogue import reviewed
from alerts.rules.catalogue import rules_of
from alerts.rules.custom import CUSTOM
from greenbridge.settings import Configuration
from telemetry.registry import PointRegistry
from telemetry.site import Site


@dataclass(frozen=True, slots=True)
class Summary:
    """Sizes of a configuration."""

    file: str
    name: str
    devices: int
    points: int
    devices_by_profile: dict[str, int]
    links: int
    modbus_requests_per_s: float
    mqtt_topics: int
    edge_nodes: int
    """Sparkplug edge nodes that devices belong to."""
    readings_per_s: float
    deadbands: int
    """Points with one: the stores may leave out some of their readings."""
    series: int
    """Series in InfluxDB: one for each device."""
    rules: dict[str, int]
    unserved: list[str]
    """Rules that the devices of their asset cannot serve, and why."""
    stores: list[str]
    webhooks: int
    recipients: int
    """People, or groups of them, that are told of alarms."""
    warnings: list[str]
    """What is allowed and hardly meant."""

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {"problems": [], **{name: getattr(self, name) for name in self.__slots__}}

    def text(self) -> str:
        """For people."""
        profiles = ", ".join(f"{count} {name}" for name, count in sorted(self.devices_by_profile.items()))
        rules = ", ".join(f"{name} on {count}" for name, count in self.rules.items())
        traffic = f"{self.modbus_requests_per_s:.0f} Modbus requests/s, {self.mqtt_topics} MQTT topics"
        if self.edge_nodes:
            traffic += f", {self.edge_nodes} Sparkplug edge nodes"
        return "\n".join(
            [
                f"{self.file} is valid: {self.name}",
                f"  devices   {self.devices} ({profiles})",
                f"  points    {self.points}, about {self.readings_per_s:.0f} readings/s"
                + (f", {self.deadbands} with a deadband" if self.deadbands else ""),
                f"  links     {self.links}: {traffic}",
                f"  stores    {', '.join(self.stores)} ({self.series} series where it is InfluxDB)",
                f"  rules     {rules}",
                *(f"  unserved  {reason}" for reason in self.unserved),
                f"  webhooks  {self.webhooks}",
                f"  told      {self.recipients} recipients",
                *(f"  warning   {warning}" for warning in self.warnings),
            ]
        )


def summarise(configuration: Configuration) -> Summary:
    """Adds up a configuration.

    Raises
    ------
    ConfigError
        A device cannot be read as its profile says.

    """
    settings, profiles = configuration.settings, configuration.profiles
    devices = [device for device in configuration.devices if device.enabled]
    site = configuration.site(PointRegistry(configuration.keys()))
    requests = 0.0
    readings = 0.0
    for device in devices:
        profile = profiles[device.profile]
        # what is reported by exception comes at most so often
        readings += sum(1 / profile.period_of(name) for name in profile.points)
        if device.modbus is not None:
            plan = planned(site.points_of(device.id))
            requests += sum(1 / read.period_s for read in plan.reads)
    alerts = settings.alerts
    links = {device.link for device in devices if device.link}
    rules, unserved = _rules(site, alerts, links)
    hosts = {f"sparkplug/{host.id}" for host in settings.sparkplug.host}
    further = {"influx": settings.influx, "victoria": settings.victoria}
    return Summary(
        file=configuration.file,
        name=settings.name,
        devices=len(devices),
        points=sum(len(profiles[device.profile].points) for device in devices),
        devices_by_profile=dict(Counter(device.profile for device in devices)),
        links=len(links | hosts),
        modbus_requests_per_s=round(requests, 1),
        mqtt_topics=sum(device.mqtt is not None for device in devices),
        edge_nodes=len(
            {(d.sparkplug.host, d.sparkplug.group, d.sparkplug.edge) for d in devices if d.sparkplug}
        ),
        readings_per_s=round(readings, 1),
        deadbands=sum(point.spec.deadband is not None for point in site.points.values()),
        series=len(devices),
        rules=rules,
        unserved=unserved,
        stores=[
            "embedded",
            *(name for name, store in further.items() if store is not None and store.enabled),
        ],
        webhooks=sum(webhook.enabled for webhook in alerts.webhook),
        recipients=len(alerts.notify.recipient),
        warnings=list(_warnings(configuration, links)),
    )


def _warnings(configuration: Configuration, links: Set[str]) -> Iterator[str]:
    settings = configuration.settings
    if not links:
        disabled = any(device.link for device in configuration.devices)
        why = "every device is disabled" if disabled else f"no device in {', '.join(settings.devices)}"
        yield f"nothing is read: {why}"
    named = {f"modbus/{gateway.id}": "Modbus gateway" for gateway in settings.modbus.gateway}
    named |= {f"mqtt/{broker.id}": "MQTT broker" for broker in settings.mqtt.broker}
    for link in sorted(named.keys() - links):
        yield f"{named[link]} {link.partition('/')[2]} is used by no device that is enabled"
    for language in sorted({recipient.language for recipient in settings.alerts.notify.recipient}):
        if not reviewed(language):
            yield f"messages in {language} are a draft that nobody has reviewed"


def _rules(site: Site, alerts: AlertsSettings, links: Collection[str]) -> tuple[dict[str, int], list[str]]:
    """How many assets each rule watches, those that lack a meter included, and what devices cannot serve."""
    rules, gaps = rules_of(site, alerts)
    blind = [gap.subject.rule for gap in gaps if gap.blind]
    unserved = [f"{gap.subject.key}: {gap.reason}" for gap in gaps if not gap.blind]
    counts = Counter([*(rule.subject.rule for rule in rules), *blind])
    counts["R13"] = len(links) if alerts.health.enabled else 0
    catalogue = sorted(alerts.rules(), key=lambda name: int(name[1:]))
    return {rule: counts[rule] for rule in [*catalogue, *([CUSTOM] if alerts.rule else [])]}, unserved
