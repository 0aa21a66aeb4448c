"""Each mistake in ``[alerts.notify]`` is named with file, key and fix; the sample shows every key."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from alerts.config import AlertsSettings
from alerts.notify import config
from alerts.notify.config import NotifySettings
from telemetry.errors import ConfigError
from telemetry.settings import Settings, parse
from telemetry.site import Site

SAMPLE = (Path(config.__file__).parent / "sample.toml").read_text("utf-8")

SMALL = """
[[alerts.notify.recipient]]
id = "ann"
address = [{ id = "hook", url = "http://127.0.0.1/ann" }]
[[alerts.notify.recipient]]
id = "bob"
address = [{ id = "hook", url = "http://127.0.0.1/bob" }]
[[alerts.notify.rotation]]
id = "duty"
turn = [{ people = ["ann", "bob"], first = 2026-11-02T08:00:00 }]
[[alerts.notify.route]]
id = "all"
to = ["duty"]
"""


class File(Settings):
    alerts: AlertsSettings = AlertsSettings()


def load(text: str) -> AlertsSettings:
    return parse(text, "greenbridge.toml", File).alerts


def told(text: str, site: Site) -> list[str]:
    try:
        return [str(p) for p in load(text).problems("greenbridge.toml", site.grid, site.devices.values())]
    except ConfigError as error:
        return [str(problem) for problem in error.problems]


def test_the_sample_is_sound_and_shows_every_key(site: Site) -> None:
    assert told(SAMPLE, site) == []
    shown = _keys(tomllib.loads(SAMPLE)["alerts"]["notify"])
    known = _names(NotifySettings, set())
    assert shown == known


def _keys(value: object) -> set[str]:
    if isinstance(value, list):
        return set().union(*(_keys(part) for part in value)) if value else set()
    if isinstance(value, dict):
        return set(value).union(*(_keys(part) for part in value.values()))
    return set()


def _names(model: type[BaseModel], seen: set[type[BaseModel]]) -> set[str]:
    if model in seen:
        return set()
    names: set[str] = set(model.model_fields)
    for field in model.model_fields.values():
        pending = [field.annotation]
        while pending:
            part = pending.pop()
            if isinstance(part, type) and issubclass(part, BaseModel):
                names |= _names(part, seen | {model})
            pending += getattr(part, "__args__", ())
    return names


def test_nothing_configured_is_sound(site: Site) -> None:
    assert told("", site) == []
    assert told(SMALL, site) == []


TURN = 'turn = [{ people = ["ann", "bob"], first = 2026-11-02T08:00:00 }]'
GAP = (
    'greenbridge.toml: alerts.notify.rotation[0].turn = "duty": a gap: nobody is on call from Sat 00:00 to '
    "Mon 00:00 (add a turn for that time, or let one last longer)"
)
OVERRIDE = '{ person = "ann", start = 2026-12-01T00:00:00Z, end = 2026-12-03T00:00:00Z }'


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            TURN,
            TURN.replace("first", 'days = ["mon", "tue", "wed", "thu", "fri"], first'),
            GAP,
        ),
        (
            TURN,
            'turn = [{ people = ["ann"], first = 2026-11-02T08:00:00, begins = "08:00", ends = "07:30" }]',
            "nobody is on call from Mon 07:30 to Mon 08:00",
        ),
        (
            TURN,
            TURN[:-1] + ', { people = ["bob"], first = 2026-11-02T08:00:00 }]',
            "rotation[0].turn[1]: nobody would ever serve it: the turns before it cover the whole week",
        ),
        ('["ann", "bob"]', '["ann", "bop"]', '[1] = "bop": no such recipient (did you mean "bob"?)'),
        (TURN, f"{TURN}\noverride = [{OVERRIDE}, {OVERRIDE}]", "overlaps override[0]: two people would be"),
        (TURN, f"{TURN}\noverride = [{OVERRIDE.replace('ann', 'zoe')}]", 'override[0].person = "zoe"'),
        (TURN, f"{TURN}\noverride = [{OVERRIDE.replace('-03T', '-01T')}]", "end is not after start"),
        (TURN, f'{TURN}\ntime_zone = "Asia/Almata"', 'no such time zone; did you mean "Asia/Almaty"?'),
        ('to = ["duty"]', 'to = ["dutty"]', '.to[0] = "dutty": no such recipient or rotation (did you mean'),
        (
            'to = ["duty"]',
            'to = ["duty"]\nescalate = [{ after_min = 20, to = ["ann"] }, { after_min = 10, to = ["bob"] }]',
            "each after_min of escalate must be above the one before",
        ),
        (
            'to = ["duty"]',
            'to = ["duty"]\nescalate = [{ after_min = 20, to = ["zoe"] }]',
            'route[0].escalate[0].to[0] = "zoe": no such recipient or rotation',
        ),
        (
            'to = ["duty"]',
            'to = []\nescalate = [{ after_min = 20, to = ["ann"] }]',
            "escalate follows somebody's silence",
        ),
        ('to = ["duty"]', 'to = ["duty"]\nareas = ["ZZ"]', 'route[0].areas[0] = "ZZ": no such area'),
        ('to = ["duty"]', 'to = ["duty"]\nassets = ["SHY-TAZ"]', 'did you mean "SHY-TAS"?'),
        (
            'to = ["duty"]',
            'to = ["duty"]\npriorities = ["high", "urgent"]',
            "a gap: medium alarms in area ",
        ),
        ('to = ["duty"]', 'to = ["duty"]\nareas = ["KZ"]', "match no route, and "),
        (
            'to = ["duty"]',
            'to = ["duty"]\nbegins = "08:00"\nends = "20:00"',
            " from Mon 20:00 to Tue 08:00 match no route",
        ),
        ('to = ["duty"]', 'to = ["duty"]\nrules = ["R6"]', "at any time match no route"),
        ('id = "bob"', 'id = "ann"', 'recipient[1].id = "ann": used twice'),
        ('id = "duty"', 'id = "ann"', 'rotation[0].id = "ann": used twice'),
        ('id = "bob"', 'id = "log"', 'recipient[1].id = "log": used twice'),
        ('id = "bob"', 'id = "bob"\nlanguage = "xx"', 'recipient[1].language = "xx": there is no catalogue'),
        ('"hook", url = "http://127.0.0.1/bob"', '"hook"', "give either apprise_file or url"),
        (
            '"hook", url = "http://127.0.0.1/bob"',
            '"m", apprise_file = "/m", secret_file = "/s"',
            "secret_file signs what goes to url",
        ),
        (
            'id = "all"',
            'id = "all"\n[alerts.notify.quiet]\npriorities = ["urgent"]\n[[alerts.notify.route]]\nid = "b"',
            "urgent alarms do not wait",
        ),
    ],
)  # fmt: skip
def test_mistakes(old: str, new: str, said: str, site: Site) -> None:
    assert SMALL.count(old) == 1
    found = told(SMALL.replace(old, new), site)
    assert any(said in problem for problem in found), found


def test_telling_nobody_can_be_said_on_purpose(site: Site) -> None:
    assert told(SMALL.replace('to = ["duty"]', "to = []"), site) == []


def test_ids_of_feeds_are_unique(site: Site) -> None:
    feeds = """
    [[alerts.webhook]]
    id = "a"
    url = "http://127.0.0.1/"
    [[alerts.alertmanager]]
    id = "a"
    url = "http://127.0.0.1:9093"
    """
    assert any('alertmanager[0].id = "a": used twice' in problem for problem in told(feeds, site))


@pytest.mark.parametrize("occasion", ["unanswered", "handed_over", "test"])
def test_feeds_cannot_be_told_what_is_for_people(occasion: str, site: Site) -> None:
    (problem,) = told(f'[alerts]\nnotify_on = ["{occasion}"]', site)
    assert "valid: acknowledged, escalated, raised, returned" in problem
