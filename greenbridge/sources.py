"""The sources of a site: one for each link that a device in use depends on, and for each Sparkplug host."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from adapters.modbus.source import ModbusSource
from adapters.mqtt.source import MqttSource
from adapters.sparkplug.source import SparkplugSource
from greenbridge.settings import Configuration
from ingest.ports import Intake
from telemetry.clock import Clock
from telemetry.site import Site, SitePoint

Source = ModbusSource | MqttSource | SparkplugSource


def points_behind(site: Site, link: str) -> list[SitePoint]:
    """Every point of every device that depends on a link."""
    return [point for device in site.links.get(link, []) for point in site.points_of(device.id)]


def sources_of(
    configuration: Configuration,
    site: Site,
    intake: Intake,
    *,
    clock: Clock,
    environment: Mapping[str, str],
    links: Collection[str] | None = None,
) -> list[Source]:
    """Builds the sources, of all links or of some; none of them does anything before it is run.

    Raises
    ------
    ConfigError
        A device cannot be planned, or keys or certificates cannot be used.

    """
    settings = configuration.settings
    points = {link: points_behind(site, link) for link in site.links if links is None or link in links}
    modbus = [
        ModbusSource(gateway, points[f"modbus/{gateway.id}"], intake, clock)
        for gateway in settings.modbus.gateway
        if f"modbus/{gateway.id}" in points
    ]
    mqtt = [
        MqttSource(broker, points[f"mqtt/{broker.id}"], intake, clock, environment=environment)
        for broker in settings.mqtt.broker
        if f"mqtt/{broker.id}" in points
    ]
    # a host without devices still shows what there is to be configured
    sparkplug = [
        SparkplugSource(
            host,
            points.get(f"sparkplug/{host.id}", []),
            intake,
            clock,
            environment=environment,
            directory_file=Path(settings.state_dir) / f"sparkplug-{host.id}.json",
        )
        for host in settings.sparkplug.host
        if links is None or f"sparkplug/{host.id}" in links
    ]
    return [*modbus, *mqtt, *sparkplug]
