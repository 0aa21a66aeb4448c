"""Languages of messages: catalogues of gettext, committed as ``.po`` and compiled when they are loaded.

The folder ``catalogues`` holds one file for each language beside English, which stands in the code. Formats:
GNU gettext manual, sections "The Format of PO Files" and "The Format of GNU MO Files".
"""

from __future__ import annotations

import ast
import io
import struct
from collections.abc import Iterator, Mapping
from functools import cache
from gettext import GNUTranslations, NullTranslations
from pathlib import Path

ENGLISH = "en"
FOLDER = Path(__file__).parent / "catalogues"
_MAGIC, _HEADER = 0x950412DE, 28


class CatalogueError(ValueError):
    """A ``.po`` file that cannot be understood."""


def languages() -> frozenset[str]:
    """Languages that messages can be in."""
    return frozenset({ENGLISH, *(path.stem for path in FOLDER.glob("*.po"))})


@cache
def translations(language: str) -> NullTranslations:
    """The texts in a language; what a catalogue lacks, or marks as fuzzy, is English.

    Raises
    ------
    CatalogueError
        Its file cannot be understood.
    OSError
        There is none.

    """
    if language == ENGLISH:
        return NullTranslations()
    text = (FOLDER / f"{language}.po").read_text("utf-8")
    return GNUTranslations(io.BytesIO(compiled(parsed(text))))


def reviewed(language: str) -> bool:
    """Whether somebody has reviewed the texts of a language; otherwise its header says that nobody has."""
    return translations(language).info().get("x-reviewed") != "no"


def parsed(text: str) -> dict[str, str]:
    """Messages of a ``.po`` file by their English; plurals as ``one\\0many`` to forms joined in this way.

    Raises
    ------
    CatalogueError
        A line is none of its format.

    """
    found: dict[str, str] = {}
    for number, fields, fuzzy in _entries(text):
        if "msgid" not in fields or not any(name.startswith("msgstr") for name in fields):
            raise CatalogueError(f"line {number}: an entry without msgid or msgstr")
        key = fields["msgid"]
        if "msgid_plural" in fields:
            forms = [fields[name] for name in sorted(fields) if name.startswith("msgstr[")]
            key, value, whole = f"{key}\0{fields['msgid_plural']}", "\0".join(forms), all(forms)
        else:
            value = fields.get("msgstr", "")
            whole = bool(value)
        if whole and not fuzzy:
            found[key] = value
    return found


def compiled(messages: Mapping[str, str]) -> bytes:
    """Messages as the ``.mo`` file that :class:`gettext.GNUTranslations` reads."""
    pairs = sorted((key.encode(), value.encode()) for key, value in messages.items())
    table = 8 * len(pairs)
    offset = _HEADER + 2 * table
    heads: list[bytes] = []
    body = b""
    for column in (0, 1):
        for pair in pairs:
            heads.append(struct.pack("<II", len(pair[column]), offset + len(body)))
            body += pair[column] + b"\0"
    header = struct.pack("<7I", _MAGIC, 0, len(pairs), _HEADER, _HEADER + table, 0, _HEADER + 2 * table)
    return header + b"".join(heads) + body


def _entries(text: str) -> Iterator[tuple[int, dict[str, str], bool]]:
    """Entries with the line at which they begin, their fields, and whether they are fuzzy."""
    fields: dict[str, str] = {}
    name, fuzzy, begin = "", False, 1
    for number, raw in enumerate([*text.splitlines(), ""], start=1):
        line = raw.strip()
        if not line:
            if fields:
                yield begin, fields, fuzzy
            fields, name, fuzzy, begin = {}, "", False, number + 1
        elif line.startswith("#"):
            fuzzy = fuzzy or (line.startswith("#,") and "fuzzy" in line)
        elif line.startswith('"') and name:
            fields[name] += _quoted(line, number)
        else:
            name, _, rest = line.partition(" ")
            if not (name in {"msgid", "msgid_plural", "msgstr"} or name.startswith("msgstr[")):
                raise CatalogueError(f"line {number}: {name!r} is none of msgid, msgid_plural, msgstr")
            if name in fields:
                raise CatalogueError(f"line {number}: {name} stands twice; put an empty line between entries")
            fields[name] = _quoted(rest.strip(), number)


def _quoted(text: str, number: int) -> str:
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise CatalogueError(f"line {number}: {text[:60]!r} is no quoted text") from error
    if not isinstance(value, str) or not text.startswith('"'):
        raise CatalogueError(f"line {number}: {text[:60]!r} is no quoted text")
    return value
