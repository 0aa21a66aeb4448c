"""A site's own rules in its configuration: read, counted, and refused with file, key and fix."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from greenbridge.difference import difference
from greenbridge.settings import Configuration, load
from greenbridge.summary import summarise
from telemetry.errors import ConfigError

OWN = """
[[alerts.rule]]
id = "too-much"
title = "More than agreed"
kind = "threshold"
point = "{device}/TotW"
unit = "kW"
limits = [{{ priority = "low", above = 100 }}]
"""


def configured(site: Path, text: str = "") -> Configuration:
    shutil.copytree("examples/first-site", site)
    device = load(str(site), {}).devices[0].id
    main = site / "greenbridge.toml"
    main.write_text(main.read_text("utf-8") + text.format(device=device))
    return load(str(site), {})


def test_a_rule_of_a_site_is_counted_and_a_reload_names_it(tmp_path: Path) -> None:
    plain, more = configured(tmp_path / "plain"), configured(tmp_path / "more", OWN)
    assert "CUSTOM" not in summarise(plain).rules
    assert summarise(more).rules["CUSTOM"] == 1
    assert any("rule" in str(change) for change in difference(plain, more).changes)


def test_a_rule_that_cannot_work_is_refused_with_file_key_and_fix(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        configured(tmp_path / "bad", OWN.replace("/TotW", "/TotWW").replace("kW", "kV"))
    (problem,) = refused.value.problems
    assert (problem.file, problem.key) == ("greenbridge.toml", "alerts.rule[0].point")
    assert "/TotW" in problem.fix
