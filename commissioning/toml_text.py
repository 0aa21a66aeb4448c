"""Writes TOML (specification 1.0.0) for people to read before a program does; pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_LINE = 110


def toml_text(document: Mapping[str, Any]) -> str:
    """A document as text: a table of tables under a heading each, a table of plain values on one line.

    Members that are None are left out.

    Raises
    ------
    TypeError
        A value is of no type that TOML has.

    """
    return "\n".join(_table(document, ())).strip() + "\n"


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines: list[str] = []
    later: list[str] = []
    for key, value in table.items():
        if value is None:
            continue
        inner = (*path, key)
        if _is_table(value) and not (path and _fits(key, value)):
            head = _table(value, inner)
            only_tables_inside = bool(head) and head[0] == ""
            later += head if only_tables_inside else ["", f"[{_path(inner)}]", *head]
        elif _is_array_of_tables(value):
            for row in value:
                later += ["", f"[[{_path(inner)}]]", *_table(row, inner)]
        else:
            lines.append(f"{_key(key)} = {_value(value)}")
    return lines + later


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_array_of_tables(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and bool(value) and _is_table(value[0])


def _fits(key: str, table: Mapping[str, Any]) -> bool:
    """Whether a table is shown on one line."""
    plain = not any(_is_table(value) or _is_array_of_tables(value) for value in table.values())
    return plain and len(f"{_key(key)} = {_value(table)}") <= _LONGEST_LINE


def _path(path: tuple[str, ...]) -> str:
    return ".".join(map(_key, path))


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _text(value: str) -> str:
    # a basic string of TOML is one of JSON, but for the control character that JSON leaves as it is
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _text(str(value))
        case int():
            return str(int(value))
        case float():
            return repr(value) if math.isfinite(value) else str(value)
        case Mapping():
            members = [f"{_key(key)} = {_value(own)}" for key, own in value.items() if own is not None]
            return f"{{ {', '.join(members)} }}" if members else "{}"
        case Sequence():
            return f"[{', '.join(map(_value, value))}]"
        case _:
            raise TypeError(f"{type(value).__name__} is no type of TOML")
