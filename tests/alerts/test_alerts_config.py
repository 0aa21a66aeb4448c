from __future__ import annotations

import pytest

from alerts.config import AlertsSettings
from telemetry.errors import ConfigError
from telemetry.settings import Settings, parse
from telemetry.site import Site


class File(Settings):
    alerts: AlertsSettings = AlertsSettings()


def load(text: str) -> AlertsSettings:
    return parse(text, "greenbridge.toml", File).alerts


DESCENDING = """
[alerts.R6]
limits = [
  { priority = "low", sigmas = 6, pct_p = 2, on_s = 60 },
  { priority = "high", sigmas = 3, pct_p = 2, on_s = 60 },
]
"""

R2_TWICE = """
[alerts.R2]
limits = [
  { priority = "low", above = 50, on_s = 1 },
  { priority = "high", above = 50, on_s = 1 },
]
"""

R12_CURRENT_FALLS = """
[alerts.R12]
limits = [
  { priority = "low", pct_p = 95, pct_i = 80, on_s = 1 },
  { priority = "high", pct_p = 100, pct_i = 70, on_s = 1 },
]
"""

EXAMPLE = """
[alerts]
watermark_s = 2.5
notify_on = ["raised", "escalated"]

[alerts.R1]
off_s = 90

[[alerts.R1.override]]
asset = "MGC-SAM"
limits = [{ priority = "high", mw = 40, pct_ntc = 8, on_s = 60 }]

[alerts.R6]
deadband_pct = 25

[[alerts.R6.override]]
asset = "SHY-TAS"
enabled = false

[alerts.R13]
on_s = 20

[[alerts.R13.override]]
asset = "mqtt/east"
link_priority = "urgent"

[[alerts.webhook]]
id = "control-room"
url = "https://example.org/hook"
"""


def test_example(site: Site) -> None:
    settings = load(EXAMPLE)
    assert settings.watermark_s == 2.5
    tie = settings.exchange.of("MGC-SAM")
    assert [limit.mw for limit in tie.limits] == [40]
    assert tie.off_s == 90, "what an override leaves out is as for all"
    assert not settings.two_end.of("SHY-TAS").enabled
    assert settings.two_end.of("MGC-SAM").deadband_pct == 25
    assert settings.health.of("mqtt/east").link_priority == "urgent"
    assert settings.health.of("mqtt/east").on_s == 20
    assert list(settings.problems("f", site.grid, site.devices.values())) == []


def _graded(limit: str) -> str:
    """Two grades, of which the worse one is less urgent."""
    pair = zip((50, 60), ("high", "low"), strict=True)
    return ", ".join(
        f'{{ priority = "{priority}", {limit.replace("{}", str(value))}, on_s = 1 }}'
        for value, priority in pair
    )


@pytest.mark.parametrize(
    ("text", "key", "part"),
    [
        ("[alerts]\nwatermark = 3", "alerts.watermark", 'did you mean "watermark_s"?'),
        ("[alerts.R99]\non_s = 3", "alerts.R99", "unknown key"),
        ("[alerts.R7]\non = 3", "alerts.R7.on", "unknown key"),
        ("[alerts.R10]\nlimits = []", "alerts.R10.limits", "at least 1"),
        ("[alerts.R10]\ndeadband_hz = 0.05", "alerts.R10", "deadband_hz is not below limit 1, 0.05"),
        ("[alerts.R2]\ndeadband_mw = 50", "alerts.R2", "could never return to normal"),
        ("[alerts.R15]\ndeadband_pct = 100", "alerts.R15.deadband_pct", "less than 100"),
        *(
            (f"[alerts.{rule}]\nlimits = [{_graded(limit)}]", f"alerts.{rule}.limits", "limit 2 is low and")
            for rule, limit in {
                "R1": "mw = {}, pct_ntc = {}",
                "R2": "above = {}",
                "R4": "sigmas = {}, pct = {}",
                "R6": "sigmas = {}, pct_p = {}",
                "R11": "loss_pct = {}, slope_pct_per_min = {}",
                "R12": "pct_p = {}, pct_i = {}",
            }.items()
        ),
        (
            R2_TWICE,
            "alerts.R2.limits",
            "limit 2 is not above limit 1: it could never make a difference",
        ),
        (
            R12_CURRENT_FALLS,
            "alerts.R12.limits",
            "limit 2 is not above limit 1",
        ),
        ("[alerts.R20]\nhigh_pct = 90", "alerts.R20", "every voltage would be outside"),
        ("[alerts]\nwatermark_s = 0.1", "alerts.watermark_s", "greater than or equal to 0.5"),
        ("[alerts.R6]\ndeadband_pct = 100", "alerts.R6.deadband_pct", "less than 100"),
        (
            '[alerts]\nnotify_on = ["cleared"]',
            "alerts.notify_on[0]",
            "valid: acknowledged, escalated, raised, returned",
        ),
        ('[[alerts.webhook]]\nid = "a"\nurl = "ftp://x"', "alerts.webhook[0].url", "match pattern"),
        (
            DESCENDING,
            "alerts.R6.limits",
            "limit 2 is not above limit 1",
        ),
    ],
)
def test_faults_of_the_file(text: str, key: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text)
    (problem,) = caught.value.problems
    assert problem.key == key
    assert part in str(problem)


@pytest.mark.parametrize(
    ("text", "key", "part"),
    [
        (
            '[[alerts.R6.override]]\nasset = "SHY-TAZ"',
            "alerts.R6.override[0].asset",
            'did you mean "SHY-TAS"?',
        ),
        ('[[alerts.R1.override]]\nasset = "SHY-TAS"', "alerts.R1.override[0].asset", "radial or HVDC tie"),
        ('[[alerts.R2.override]]\nasset = "SHY"', "alerts.R2.override[0].asset", "no such area"),
        ('[[alerts.R7.override]]\nasset = "TAZ"', "alerts.R7.override[0].asset", 'did you mean "TAS"?'),
        ('[[alerts.R8.override]]\nasset = "SHY-TAS"', "alerts.R8.override[0].asset", "no such HVDC link"),
        ('[[alerts.R10.override]]\nasset = "KZ"', "alerts.R10.override[0].asset", "synchronous area"),
        ('[[alerts.R16.override]]\nasset = "nobody"', "alerts.R16.override[0].asset", "no such device"),
        ('[[alerts.R24.override]]\nasset = "KX"', "alerts.R24.override[0].asset", "no such area or tie"),
        ('[[alerts.R13.override]]\nasset = "mqtt/est"', "alerts.R13.override[0].asset", '"mqtt/east"'),
        (
            '[[alerts.R6.override]]\nasset = "SHY-TAS"\n[[alerts.R6.override]]\nasset = "SHY-TAS"',
            "alerts.R6.override[1].asset",
            "overridden twice",
        ),
        (
            '[[alerts.webhook]]\nid = "a"\nurl = "http://x"\n[[alerts.webhook]]\nid = "a"\nurl = "http://y"',
            "alerts.webhook[1].id",
            "used twice",
        ),
        ('[[alerts.webhook]]\nid = "log"\nurl = "http://x"', "alerts.webhook[0].id", "reserved"),
    ],
)
def test_faults_that_only_the_site_shows(site: Site, text: str, key: str, part: str) -> None:
    (problem,) = load(text).problems("greenbridge.toml", site.grid, site.devices.values())
    assert problem.key == key
    assert part in str(problem)
