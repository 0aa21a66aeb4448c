"""Which assertions of the specification the tests hold the host application to."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent
LIST = FOLDER / "sparkplug_host_assertions.txt"


def test_every_assertion_on_host_applications_is_cited_by_a_test() -> None:
    asserted = {line for line in LIST.read_text().splitlines() if line and not line.startswith("#")}
    assert len(asserted) > 70
    own = Path(__file__)
    tests = "".join(path.read_text() for path in sorted(FOLDER.glob("test_sparkplug_*.py")) if path != own)
    cited = set(re.findall(r"tck-id-[A-Za-z0-9-]*[A-Za-z0-9]", tests))
    assert sorted(asserted - cited) == []
