from __future__ import annotations

from pathlib import Path

from alerts.config import AlertsSettings
from alerts.rules.document import document

PAGE = Path(__file__).resolve().parents[2] / "docs" / "rules.md"


def test_the_page_is_what_the_settings_say() -> None:
    assert PAGE.read_text("utf-8") == document(), "python -m alerts.rules.document > docs/rules.md"


def test_every_rule_has_its_defaults_on_the_page() -> None:
    page = document()
    for rule in AlertsSettings().rules():
        assert f"## {rule}: " in page
    assert "| low | 0.05 | 30 |" in page
