"""Typed, frozen configuration from TOML text, with every fault reported at once.

Nothing here reads a file: callers pass the text and the file's name.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from datetime import date, time
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from telemetry.errors import ConfigError, Problem


class Settings(BaseModel):
    """Base of every configuration model: frozen, strict, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


Model = TypeVar("Model", bound=Settings)

_VARIABLE = re.compile(r"^\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}$")
_SECRET_KEY = re.compile(r"password|token|secret|key$", re.IGNORECASE)


def parse(text: str, file: str, model: type[Model], environment: Mapping[str, str] | None = None) -> Model:
    """Parses TOML text into a model.

    A string value that is exactly ``${NAME}`` or ``${NAME:-default}`` is replaced from ``environment``; a
    replacement that reads as a TOML number or boolean becomes one.

    Raises
    ------
    ConfigError
        With one problem for each fault in the text.

    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([Problem(file, "", "", f"not valid TOML: {error}")]) from None
    problems: list[Problem] = []
    data = _substituted(data, "", file, environment or {}, problems)
    try:
        parsed = model.model_validate_json(json.dumps(data, default=_iso))
    except ValidationError as error:
        problems += [_problem(dict(fault), file, model) for fault in error.errors(include_url=False)]
        raise ConfigError(problems) from None
    if problems:
        raise ConfigError(problems)
    return parsed


def nearest(name: str, valid: Iterable[str]) -> str:
    """A fix for an unknown name: the nearest valid one, or the list of valid ones when it is short."""
    names = sorted(set(valid))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    if not names:
        return "none is defined"
    shown = ", ".join(names[:8])
    return f"valid: {shown}" + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _iso(value: date | time) -> str:
    return value.isoformat()


def _substituted(
    value: Any, key: str, file: str, environment: Mapping[str, str], problems: list[Problem]
) -> Any:
    if isinstance(value, dict):
        return {
            k: _substituted(v, f"{key}.{k}" if key else k, file, environment, problems)
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [_substituted(v, f"{key}[{i}]", file, environment, problems) for i, v in enumerate(value)]
    match = _VARIABLE.match(value) if isinstance(value, str) else None
    if match is None:
        return value
    name: str = match[1]
    default: str | None = match[2]
    text = environment.get(name, default)
    if text is None:
        problems.append(Problem(file, key, value, f"environment variable {name} is not set", f"set {name}"))
        return ""
    return _scalar(text)


def _scalar(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = parsed.get("value")
    return value if len(parsed) == 1 and isinstance(value, bool | int | float) else text


def _problem(fault: dict[str, Any], file: str, model: type[Settings]) -> Problem:
    location: tuple[int | str, ...] = fault["loc"]
    name = str(location[-1]) if location else ""
    shown = "" if isinstance(fault["input"], dict | list) else json.dumps(fault["input"], default=str)
    if shown and _SECRET_KEY.search(name):
        shown = '"***"'
    reason, fix = str(fault["msg"]), ""
    match fault["type"]:
        case "extra_forbidden":
            reason, fix = "unknown key", nearest(name, _keys_at(model, location[:-1]))
        case "missing":
            reason, fix, shown = "missing", f"add {name}", ""
        case "enum" | "literal_error":
            expected = re.findall(r"'([^']*)'", str(fault["ctx"].get("expected", "")))
            fix = nearest(str(fault["input"]), expected)
        case _:
            pass
    return Problem(file, key_path(location), shown, reason, fix)


def key_path(location: Iterable[int | str]) -> str:
    """Writes a location as a reader would: ``device[3].modbus.unit``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else (f".{part}" if path else part)
    return path


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> set[str]:
    """Valid keys at a location, following the models that annotations mention."""
    current: set[type[BaseModel]] = {model}
    for part in location:
        found: set[type[BaseModel]] = set()
        for candidate in current:
            for name, info in candidate.model_fields.items():
                if part in {name, info.alias}:
                    found |= _models_in(info.annotation)
        # an index or a dictionary key stays within the same models; so does the tag of a union
        current = found or current
    return {info.alias or name for candidate in current for name, info in candidate.model_fields.items()}


def _models_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    found: set[type[BaseModel]] = set()
    for part in getattr(annotation, "__args__", ()):
        found |= _models_in(part)
    return found
