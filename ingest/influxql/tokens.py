"""Words of a query; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from ingest.influxql.syntax import QueryError

MAX_LENGTH = 20_000
"""Longest query [characters]."""


class Kind(Enum):
    """What a word is."""

    WORD = "word"
    """A keyword or the name of a function; lower case."""
    NAME = "identifier"
    """A quoted identifier."""
    TEXT = "string"
    REGEX = "regular expression"
    NUMBER = "number"
    DURATION = "duration"
    """A number with a unit of time."""
    SIGN = "sign"
    END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """A word and where it stands."""

    kind: Kind
    text: str
    position: int

    def __str__(self) -> str:
        if self.kind is Kind.END:
            return "the end"
        shown = self.text if len(self.text) <= 40 else self.text[:39] + "…"
        return f"{self.kind.value} {shown!r} at character {self.position + 1}"


_PATTERNS = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<name>"(?:[^"\\\n]|\\["\\])*")
    |(?P<text>'(?:[^'\\\n]|\\['\\])*')
    |(?P<duration>\d{1,19}(?:ns|ms|u|s|m|h|d|w)(?![a-zA-Z_0-9]))
    |(?P<number>\d{1,19}(?:\.\d{1,19})?(?![a-zA-Z_0-9.]))
    |(?P<word>[a-zA-Z_][a-zA-Z_0-9]*)
    |(?P<sign>=~|!=|<=|>=|[-+*/=<>(),;])""",
    re.VERBOSE,
)
_REGEX = re.compile(r"/((?:[^/\\\n]|\\.)*)/")
_KINDS = {
    "name": Kind.NAME,
    "text": Kind.TEXT,
    "duration": Kind.DURATION,
    "number": Kind.NUMBER,
    "word": Kind.WORD,
    "sign": Kind.SIGN,
}


def tokens(text: str) -> Iterator[Token]:
    """The words of a query in order, then the end.

    Raises
    ------
    QueryError
        Something is no word of InfluxQL, or the query is too long.

    """
    if len(text) > MAX_LENGTH:
        raise QueryError(f"the query has {len(text)} characters; at most {MAX_LENGTH} are read")
    at, after_match = 0, False
    while at < len(text):
        if after_match and text[at] == "/":
            found = _REGEX.match(text, at)
            if found is None:
                raise QueryError(f"the regular expression at character {at + 1} does not end")
            yield Token(Kind.REGEX, found[1], at)
            at, after_match = found.end(), False
            continue
        found = _PATTERNS.match(text, at)
        if found is None:
            raise QueryError(f"{text[at]!r} at character {at + 1} is not understood here")
        group = found.lastgroup or ""
        if group != "space":
            word = found[0]
            if group in {"name", "text"}:
                word = re.sub(r"\\(.)", r"\1", word[1:-1])
            yield Token(_KINDS[group], word.lower() if group == "word" else word, at)
            after_match = word == "=~" and group == "sign"
        at = found.end()
    yield Token(Kind.END, "", at)
