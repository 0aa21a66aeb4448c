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

from telemetry import remedies
from telemetry.errors import ConfigError, Problem


class Settings(BaseModel):
    """Base of every configuration model: frozen, strict, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


Model = TypeVar("Model", bound=Settings)
Location = tuple[int | str, ...]
"""Keys and indices that lead from the top of a document to a value."""

_VARIABLE = re.compile(r"^\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}$")
_MARK = "\ufeff"
"""Some editors begin a file with it."""
_ADDRESS = re.compile(r"^(https?://)(?:[^/@?#]*@)?([^/?#]*)/?(.*)$")
_SECRET_KEY = re.compile(r"(password|token|secret)(?!.*_file$)|key$", re.IGNORECASE)


def parse(text: str, file: str, model: type[Model], environment: Mapping[str, str] | None = None) -> Model:
    """Parses TOML text into a model.

    A string value that is exactly ``${NAME}`` or ``${NAME:-default}`` is replaced from ``environment``; a
    replacement that reads as a TOML number or boolean becomes one where the model does not ask for text.

    Raises
    ------
    ConfigError
        With one problem for each fault in the text.

    """
    try:
        data = tomllib.loads(text.removeprefix(_MARK))
    except tomllib.TOMLDecodeError as error:
        fix = remedies.of_text(str(error))
        raise ConfigError([Problem(file, "", "", f"not valid TOML: {error}", fix)]) from None
    substitution = _Substitution(file, environment or {})
    data = substitution.applied(data, ())
    try:
        try:
            parsed = model.model_validate_json(json.dumps(data, default=_iso))
        except ValidationError as error:
            if not _texts_restored(data, substitution.scalars, error):
                raise
            parsed = model.model_validate_json(json.dumps(data, default=_iso))
    except ValidationError as error:
        known = {problem.key for problem in substitution.problems}
        found = [_problem(fault, file, model, data) for fault in _real(error)]
        raise ConfigError(
            [*substitution.problems, *(problem for problem in found if problem.key not in known)]
        ) from None
    if substitution.problems:
        raise ConfigError(substitution.problems)
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


def shown(key: str, value: Any) -> str:
    """A value as people may see it: no secret, of an address no more than its host, no table in full."""
    if value is None:
        return "unset"
    if _secret(tuple(key.split("."))):
        return "***"
    if isinstance(value, dict):
        return "{...}"
    address = _ADDRESS.match(value) if isinstance(value, str) else None
    if address is not None:
        value = f"{address[1]}{address[2]}" + ("/..." if address[3] else "")
    return json.dumps(value, ensure_ascii=False)


def _iso(value: date | time) -> str:
    return value.isoformat()


class _Substitution:
    """Replaces references to environment variables and remembers where."""

    def __init__(self, file: str, environment: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self.scalars: dict[Location, str] = {}
        """Text of each replacement that became a number or boolean."""
        self._file = file
        self._environment = environment

    def applied(self, value: Any, location: Location) -> Any:
        """The value with every reference in it replaced."""
        if isinstance(value, dict):
            return {key: self.applied(inner, (*location, key)) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.applied(inner, (*location, i)) for i, inner in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        match = _VARIABLE.match(value)
        if match is None:
            reason = "a reference to an environment variable must be the whole value"
            return self._refused(
                location, value, reason, "write ${NAME} or ${NAME:-default} and nothing else"
            )
        name: str = match[1]
        default: str | None = match[2]
        text = self._environment.get(name, default)
        if text is None:
            return self._refused(location, value, f"environment variable {name} is not set", f"set {name}")
        scalar = _scalar(text)
        if scalar is not text:
            self.scalars[location] = text
        return scalar

    def _refused(self, location: Location, value: str, reason: str, fix: str) -> str:
        shown = '"***"' if _secret(location) else json.dumps(value)
        self.problems.append(Problem(self._file, key_path(location), shown, reason, fix))
        return ""


def _texts_restored(data: Any, scalars: Mapping[Location, str], error: ValidationError) -> bool:
    """Puts a replacement back as text where text is due: a password may consist of digits."""
    restored = False
    for fault in error.errors(include_url=False):
        location = _written(fault["loc"], data)
        if fault["type"] == "string_type" and location in scalars:
            holder = data
            for part in location[:-1]:
                holder = holder[part]
            holder[location[-1]] = scalars[location]
            restored = True
    return restored


def _written(location: Location, data: Any) -> Location:
    """A location as it stands in the file: without the tags that pydantic adds for unions."""
    written: list[int | str] = []
    for part in location[:-1]:
        inside = (isinstance(data, dict) and part in data) or (
            isinstance(data, list) and isinstance(part, int)
        )
        if inside:
            written.append(part)
            data = data[part]
    return (*written, *location[-1:])


def _secret(location: Location) -> bool:
    return any(isinstance(part, str) and _SECRET_KEY.search(part) for part in location)


def _scalar(text: str) -> Any:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = parsed.get("value")
    return value if len(parsed) == 1 and isinstance(value, bool | int | float) else text


def _real(error: ValidationError) -> list[dict[str, Any]]:
    """The faults, without the complaint that a list is too short because an entry of it is faulty."""
    faults: list[dict[str, Any]] = [dict(fault) for fault in error.errors(include_url=False)]
    inside = {fault["loc"][:n] for fault in faults for n in range(len(fault["loc"]))}
    return [fault for fault in faults if not (fault["type"] == "too_short" and fault["loc"] in inside)]


def _problem(fault: dict[str, Any], file: str, model: type[Settings], data: Any) -> Problem:
    location: Location = fault["loc"]
    name = str(location[-1]) if location else ""
    shown = "" if isinstance(fault["input"], dict | list) else json.dumps(fault["input"], default=str)
    if shown and _secret(location):
        shown = '"***"'
    reason, fix = str(fault["msg"]).removeprefix("Value error, "), ""
    match fault["type"]:
        case "extra_forbidden":
            reason, fix = "unknown key", nearest(name, _keys_at(model, location[:-1]))
        case "missing":
            reason, fix, shown = "missing", f"add {name}", ""
        case "enum" | "literal_error":
            expected = str(fault["ctx"].get("expected", ""))
            names = re.findall(r"'([^']*)'", expected)
            fix = nearest(str(fault["input"]), names) if names else f"valid: {expected}"
        case _:
            fix = remedies.of_value(fault, ".".join(part for part in location if isinstance(part, str)))
            fix = fix or remedies.of_range(_limits_at(model, location))
    return Problem(file, key_path(_written(location, data)), shown, reason, fix)


def key_path(location: Location) -> str:
    """Writes a location as a reader would: ``device[3].modbus.unit``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else (f".{part}" if path else part)
    return path


def _keys_at(model: type[BaseModel], location: Location) -> set[str]:
    """Valid keys at a location."""
    found = _models_at(model, location)
    return {info.alias or name for candidate in found for name, info in candidate.model_fields.items()}


def _limits_at(model: type[BaseModel], location: Location) -> list[Any]:
    """The constraints of the value at a location."""
    names = [part for part in location if isinstance(part, str)]
    limits: list[Any] = []
    for candidate in _models_at(model, tuple(names[:-1])):
        for name, info in candidate.model_fields.items():
            if names[-1:] and names[-1] in {name, info.alias}:
                limits += [*info.metadata, *_constraints_in(info.annotation)]
    return limits


def _constraints_in(annotation: Any) -> list[Any]:
    """Constraints of the members of a union, which pydantic leaves in the annotation."""
    found = [
        limit for info in getattr(annotation, "__metadata__", ()) for limit in getattr(info, "metadata", ())
    ]
    for part in getattr(annotation, "__args__", ()):
        found += _constraints_in(part)
    return found


def _models_at(model: type[BaseModel], location: Location) -> set[type[BaseModel]]:
    """What a location may be, following the models that annotations mention."""
    current: set[type[BaseModel]] = {model}
    for part in location:
        found: set[type[BaseModel]] = set()
        for candidate in current:
            for name, info in candidate.model_fields.items():
                if part in {name, info.alias}:
                    found |= _models_in(info.annotation)
        # an index or a dictionary key stays within the same models; so does the tag of a union
        current = found or current
    return current


def _models_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    found: set[type[BaseModel]] = set()
    for part in getattr(annotation, "__args__", ()):
        found |= _models_in(part)
    return found
