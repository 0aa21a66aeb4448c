"""As much of JSON Schema (draft 7) as the Compose specification's schema uses; others are an error."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "null": (type(None),),
}
_SAYS_NOTHING = frozenset({"$id", "$schema", "default", "definitions", "deprecated", "description", "title"})
_KNOWN = _SAYS_NOTHING | {
    "$ref", "additionalProperties", "enum", "items", "maximum", "minimum", "oneOf", "pattern",
    "patternProperties", "properties", "required", "type", "uniqueItems",
}  # fmt: skip


def faults(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """What is wrong with a value, each with its place."""
    assert not schema.keys() - _KNOWN, f"a keyword that is not checked: {schema.keys() - _KNOWN}"
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        yield from faults(value, target, root, at)
        return
    if "type" in schema:
        kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        if not any(_is(value, kind) for kind in kinds):
            yield f"{at}: {value!r} is no {' or '.join(kinds)}"
            return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {schema['enum']}"
    if "oneOf" in schema:
        tried = [list(faults(value, one, root, at)) for one in schema["oneOf"]]
        if sum(not found for found in tried) != 1:
            yield f"{at}: fits not exactly one of several: {tried}"
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield f"{at}: {value!r} is not like {schema['pattern']}"
    if isinstance(value, int | float) and not _bounded(value, schema):
        yield f"{at}: {value} is out of bounds"
    if isinstance(value, list):
        yield from _of_array(value, schema, root, at)
    if isinstance(value, dict):
        yield from _of_object(value, schema, root, at)


def _bounded(value: float, schema: Mapping[str, Any]) -> bool:
    return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))


def _of_array(value: list[Any], schema: Mapping[str, Any], root: Mapping[str, Any], at: str) -> Iterator[str]:
    if schema.get("uniqueItems") and any(value.count(item) > 1 for item in value):
        yield f"{at}: an item stands twice"
    for i, item in enumerate(value):
        yield from faults(item, schema.get("items", {}), root, f"{at}[{i}]")


def _of_object(
    value: dict[str, Any], schema: Mapping[str, Any], root: Mapping[str, Any], at: str
) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at}: {name} is missing"
    further = schema.get("additionalProperties", True)
    for name, each in value.items():
        place = f"{at}.{name}"
        found = [schema["properties"][name]] if name in schema.get("properties", {}) else []
        found += [one for like, one in schema.get("patternProperties", {}).items() if re.search(like, name)]
        if not found and further is False:
            yield f"{place}: there is no such setting"
        elif not found and isinstance(further, dict):
            found = [further]
        for one in found:
            yield from faults(each, one, root, place)


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES[kind])
