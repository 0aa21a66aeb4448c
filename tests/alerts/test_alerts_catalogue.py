"""Catalogues: the format of gettext, read, compiled and given to gettext."""

from __future__ import annotations

import io
from gettext import GNUTranslations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.notify.catalogue import CatalogueError, compiled, languages, parsed, translations

HEADER = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n'
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(st.dictionaries(texts, texts, max_size=20))
@settings(deadline=None)
def test_what_is_compiled_is_what_gettext_says(messages: dict[str, str]) -> None:
    messages = {"": "Content-Type: text/plain; charset=UTF-8\n", **messages}
    found = GNUTranslations(io.BytesIO(compiled(messages)))
    assert {key: found.gettext(key) for key in messages} == messages
    assert found.gettext("x" * 1000) == "x" * 1000


def test_parsing() -> None:
    text = (
        HEADER + '\n# by hand\n#: place\nmsgid "one"\n"\\n two"\nmsgstr "eins"\n\n#, fuzzy\nmsgid "a"\n'
        'msgstr "b"\n\nmsgid "c"\nmsgstr ""\n\nmsgid "%d alarm"\nmsgid_plural "%d alarms"\n'
        'msgstr[0] "%d Alarm"\nmsgstr[1] "%d Alarme"\n'
    )
    found = parsed(text)
    found.pop("")
    assert found == {"one\n two": "eins", "%d alarm\0%d alarms": "%d Alarm\0%d Alarme"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('msgid "a"\n', "line 1: an entry without msgid or msgstr"),
        ('\nmsgid "a"\nmsgstr b\n', "line 3: 'b' is no quoted text"),
        ('msgid "a"\nmsgstr "b" + "c"\n', "is no quoted text"),
        ('msgid "a"\nmsgstr 7\n', "is no quoted text"),
        ('msgid "a"\nmsgstr "b"\nmsgid "c"\n', "line 3: msgid stands twice"),
        ('msgctxt "a"\n', "line 1: 'msgctxt' is none of msgid, msgid_plural, msgstr"),
        ("hello", "line 1: 'hello' is none of"),
    ],
)
def test_faults(text: str, said: str) -> None:
    with pytest.raises(CatalogueError, match=said):
        parsed(text)


def test_every_language_can_be_loaded() -> None:
    assert languages() >= {"en", "ru"}
    for language in languages():
        assert translations(language).gettext("no such text") == "no such text"
    assert [translations("ru").ngettext("no such", "none such", n) for n in (1, 2)] == [
        "no such",
        "none such",
    ]
