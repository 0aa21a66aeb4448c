"""Derived points in a configuration: what they become, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from greenbridge.derived import formulas
from greenbridge.difference import difference
from greenbridge.settings import Configuration, load
from greenbridge.summary import summarise
from telemetry.devices import Role
from telemetry.errors import ConfigError
from telemetry.registry import PointRegistry

GOOD = """
[[derived]]
device = "north-south"
node = "{node}"
point = "TotW"
title = "Loss"
unit = "MW"
expression = "{{{a}/TotW}} + {{{b}/TotW}}"
"""


def configured(tmp_path: Path, text: str) -> Configuration:
    site = tmp_path / "site"
    shutil.copytree("examples/first-site", site)
    plain = load(str(site), {})
    a, b = (device.id for device in plain.devices)
    main = site / "greenbridge.toml"
    main.write_text(main.read_text("utf-8") + text.format(a=a, b=b, node=plain.devices[0].node))
    return load(str(site), {})


def test_a_derived_point_is_a_point_of_a_device_like_any_other(tmp_path: Path) -> None:
    configuration = configured(tmp_path, GOOD)
    registry = PointRegistry(configuration.keys())
    site = configuration.site(registry)
    point = site.find("north-south", "TotW")
    assert point is not None
    assert point.device.role is Role.DERIVED
    assert "north-south" not in {device.id for devices in site.links.values() for device in devices}
    (formula,) = formulas(configuration.settings.derived, site)
    assert formula.point == point.index
    assert set(formula.inputs.values()) < set(site.points)
    summary = summarise(configuration)
    assert (summary.devices, summary.links) == (3, 2)


@pytest.mark.parametrize(
    ("change", "key", "reason"),
    [
        (('unit = "MW"', 'unit = "kV"'), "derived[0].unit", "the formula gives MW"),
        (('"north-south"', '"{a}"'), "derived[0].device", "is a device of the site"),
        (('"{node}"', '"NOWHERE"'), "derived[0].node", "no such node"),
        (("+", "+ 5 kV +"), "derived[0].expression", "cannot be put together"),
        (("{{{a}/TotW}}", "{{{a}/TotWW}}"), "derived[0].expression", "there is no point"),
        (("{{{a}/TotW}} + {{{b}/TotW}}", "5 MW"), "derived[0].expression", "reads no point"),
        (("{{{b}/TotW}}", "{{north-south/TotW}}"), "derived[0].expression", "there is no point"),
    ],
)
def test_what_cannot_be_derived_is_refused_with_its_key(
    tmp_path: Path, change: tuple[str, str], key: str, reason: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        configured(tmp_path, GOOD.replace(*change))
    assert [problem.key for problem in refused.value.problems] == [key]
    assert reason in refused.value.problems[0].reason


def test_the_same_point_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="used twice"):
        configured(tmp_path, GOOD + GOOD)


def test_a_reload_reads_formulas_anew(tmp_path: Path) -> None:
    before = configured(tmp_path / "1", GOOD)
    after = configured(tmp_path / "2", GOOD.replace(" + ", " - "))
    found = difference(before, after)
    assert found.derived
    assert not found.site
    (change,) = found.changes
    assert (change.what, change.name) == ("derived", "north-south/TotW")
    assert difference(before, configured(tmp_path / "3", "")).derived
    assert not difference(before, before).derived
