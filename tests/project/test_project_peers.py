"""Every fault of other software that a document lists is held by a test that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LISTS = {
    "docs/peers.md": ("tests", 10),
    "adapters/modbus/README.md": ("tests/adapters", 20),
    "adapters/mqtt/README.md": ("tests/adapters", 8),
    "adapters/sparkplug/README.md": ("tests/adapters", 8),
}
"""Documents with such a table: where its tests are, and how many reports it lists at least."""


@pytest.mark.parametrize("document", LISTS)
def test_each_report_of_other_software_has_its_test(document: str) -> None:
    directory, least = LISTS[document]
    table = (ROOT / document).read_text("utf-8").partition("## What others' users report")[2]
    rows = [line for line in table.splitlines() if re.match(r"\| (?!Report|---)", line)]
    assert len(rows) >= least
    for row in rows:
        named = re.fullmatch(r"\| .+ \| `([\w/]+\.py)`: `(test_\w+)` \|", row)
        assert named, f"{document}: no test in {row}"
        file, test = named.groups()
        source = (ROOT / directory / file).read_text("utf-8")
        assert re.search(rf"^(async )?def {test}\(", source, re.MULTILINE), f"{file} has no {test}"
