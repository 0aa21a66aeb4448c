"""What to write instead: the fix for a fault that a parser or a validator found; pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

_FORMS = {
    r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$": "use letters, digits, - and _, a letter or digit first, 64 at most",
    r"^[A-Za-z][A-Za-z0-9_]{0,47}$": "use letters, digits and _, a letter first, 48 at most",
    r"^[^#+\x00 ]+$": "a topic without blanks and without the wildcards # and +",
}
"""In words, by pattern."""
_TOML = {
    "Cannot overwrite a value": "each key once; of several such tables each begins with two brackets",
    "Cannot declare": "write each table once",
    "Illegal character '\\n'": "close the quote in this line",
    "Invalid value": "texts stand in quotes, true and false in small letters",
    "Invalid statement": "write key = value or [table]",
    "Expected '=' after a key": "write key = value or [table]",
}


def of_text(message: str) -> str:
    """The fix for a text that is not TOML, from the parser's message; empty if none is known."""
    return next((fix for start, fix in _TOML.items() if message.startswith(start)), "")


def of_value(fault: Mapping[str, Any], key: str) -> str:
    """The fix for a value that a model refuses, from pydantic's description; empty if it says all itself.

    Parameters
    ----------
    fault
        One entry of ``ValidationError.errors()``.
    key
        Path of the key, without the positions in lists.

    """
    value, fix = fault["input"], ""
    match fault["type"]:
        case "int_type" | "int_parsing" | "int_from_float":
            fix = _unquoted(value, "write a whole number")
        case "float_type" | "float_parsing":
            fix = _unquoted(value, "write a number")
        case "bool_type" | "bool_parsing":
            fix = "write true or false, without quotes"
        case "string_type" if isinstance(value, int | float):
            fix = f'write "{json.dumps(value)}", in quotes'
        case "tuple_type" | "list_type" if isinstance(value, dict):
            fix = f"begin each table with two brackets: [[{key}]]"
        case "tuple_type" | "list_type":
            fix = f"write a list: [{json.dumps(value, default=str)}]"
        case "model_type" | "model_attributes_type" | "dict_type" if not isinstance(value, dict | list):
            fix = "write a table: { key = value }"
        case "string_pattern_mismatch":
            pattern = str(fault["ctx"]["pattern"])
            web = "begin with http:// or https://" if pattern.startswith("^https?://") else ""
            fix = _FORMS.get(pattern, web)
        case _:
            pass
    return fix


def of_range(constraints: Iterable[object]) -> str:
    """The whole range of a number, from the constraints of its field; empty unless it ends on both sides.

    A validator names only the end that a value is beyond.
    """
    ends: dict[str, object] = {}
    for constraint in constraints:
        for name in ("ge", "gt", "le", "lt"):
            if (end := getattr(constraint, name, None)) is not None:
                ends.setdefault(name, end)
    low = f"{ends['ge']}" if "ge" in ends else f"more than {ends['gt']}" if "gt" in ends else ""
    high = f"{ends['le']}" if "le" in ends else f"less than {ends['lt']}" if "lt" in ends else ""
    return f"valid: {low} to {high}" if low and high else ""


def _unquoted(value: object, otherwise: str) -> str:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return otherwise
        return f"write {value}, without quotes"
    return otherwise
