"""R13 on the corridor: most of a broker's devices are refused, and one alarm tells of it."""

import numpy as np

from alerts.rules.finding import Finding
from alerts.rules.telemetry_health import TelemetryHealth
from greenbridge.settings import load
from telemetry.batch import ReadingBatch
from telemetry.registry import PointRegistry
from telemetry.site import Site

SECOND = 1_000_000_000
START = 1_790_000_000 * SECOND


def found_when_silent(site: Site, silent: set[str]) -> dict[str, Finding]:
    health = TelemetryHealth(site, load("corridor", {}).settings.alerts.health)
    health.start(START)
    for second in (1, 20):
        for device in site.devices:
            if second == 20 and device in silent:
                continue
            points = [point.index for point in site.points_of(device)]
            t = START + second * SECOND
            n = len(points)
            health.observe(
                ReadingBatch.of(
                    "test",
                    1,
                    second,
                    t,
                    point=points,
                    t_source=np.full(n, t),
                    value=np.ones(n),
                    quality=np.zeros(n),
                )
            )
    return {finding.subject.key: finding for finding in health.findings(START + 20 * SECOND)}


def test_most_devices_of_a_broker_silent_is_one_alarm_and_a_few_are_their_own() -> None:
    configuration = load("corridor", {})
    site = configuration.site(PointRegistry(configuration.keys()))
    over_mqtt = [device.id for device in configuration.devices if device.mqtt is not None]
    found = found_when_silent(site, set(over_mqtt[3:]))
    assert [key for key, finding in found.items() if finding.level] == ["R13/mqtt/main"]
    texts = found["R13/mqtt/main"].texts
    assert texts is not None
    assert texts.title == "Link mqtt/main is down: 34 of 37 devices silent for 19 s"
    assert all(found[f"R13/{device}"].indeterminate for device in over_mqtt[3:])
    few = found_when_silent(site, set(over_mqtt[:3]))
    assert {key for key, finding in few.items() if finding.level} == {
        f"R13/{device}" for device in over_mqtt[:3]
    }
