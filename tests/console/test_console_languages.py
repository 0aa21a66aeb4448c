from __future__ import annotations

import re
from pathlib import Path

STATIC = Path(__file__).parents[2] / "console" / "static"
ENTRY = re.compile(r'^  "((?:[^"\\]|\\.)*)": "((?:[^"\\]|\\.)*)",$', re.MULTILINE)


def test_translations_are_of_texts_that_the_page_has_and_keep_their_places() -> None:
    sources = [*STATIC.glob("*.js"), *STATIC.glob("*.html"), *(STATIC / "pages").glob("*.js")]
    text = "\n".join(path.read_text() for path in sources)
    catalogue = (STATIC / "languages" / "ru.js").read_text()
    entries = ENTRY.findall(catalogue)
    assert len(entries) == catalogue.count('": "') > 100
    assert len({key for key, _ in entries}) == len(entries)
    for key, translated in entries:
        # a text stands in the code, in the page's frame, or is a word of the server (priorities, permissions)
        assert f'"{key}"' in text or f">{key}<" in text, key
        assert sorted(re.findall(r"\{\w+\}", key)) == sorted(re.findall(r"\{\w+\}", translated)), key


def test_every_text_of_the_frame_can_be_translated() -> None:
    frame = (STATIC / "index.html").read_text()
    for element in re.findall(r"<(?:h2|h3|summary|button)\b[^>]*>[^<]+<", frame):
        assert "data-t" in element, element
