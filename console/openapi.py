"""The OpenAPI 3.1 description of the HTTP API, made of the types that serve it (``-m console.openapi``)."""

from __future__ import annotations

import re
import sys
from importlib.metadata import version
from typing import Any

import msgspec

from console.access import NEEDS
from console.operations import OPERATIONS, Operation
from console.roles import RIGHTS, Right, Role, least_role

_REF = "#/components/schemas/{name}"
_ABOUT = """\
Sign in at /signin, or make an API token and send it as `Authorization: Token ...` or `Bearer ...`.
A change by a session needs an `Origin` header that names the console; by a token it does not.
Live values: GET /api/v1/stream, server-sent events. Times are milliseconds since 1970, UTC."""


def document() -> dict[str, Any]:
    """The description, as JSON has it."""
    operations = list(OPERATIONS.values())
    parts = [part for each in operations for part in (each.problem, each.answer, each.body)]
    types = [part for part in parts if part is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    known = iter(schemas)
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in OPERATIONS.items():
        refused = {"description": "Refused, with the reason.", "content": _json(next(known))}
        described = _described(method, path, operation, NEEDS.get((method, path)))
        done: dict[str, Any] = {"description": "Done."}
        if operation.answer is not None:
            done["content"] = _json(next(known))
        if operation.body is not None:
            described["requestBody"] = {"required": True, "content": _json(next(known))}
        described["responses"] = {str(operation.status): done, "4XX": refused, "503": refused}
        paths.setdefault(path, {})[method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "greenbridge",
            "version": version("greenbridge"),
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "greenbridge_session"},
            },
        },
    }


def text() -> str:
    """The description as it is kept in ``docs/openapi.json``."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=1).decode() + "\n"


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _described(method: str, path: str, operation: Operation, right: Right | None) -> dict[str, Any]:
    """An operation without the schemas of its bodies."""
    described: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{method.lower()} {path.removeprefix('/api/v1/')}").strip("_"),
        "summary": operation.summary,
        "tags": [operation.tag],
        "description": "For everybody." if right is None else _who(right),
    }
    if right is None:
        described["security"] = []
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", path)
    ]
    parameters += [
        {
            "name": parameter.name,
            "in": "query",
            "required": parameter.required,
            "description": parameter.about,
            "schema": msgspec.json.schema(parameter.type),
        }
        for parameter in operation.parameters
    ]
    if parameters:
        described["parameters"] = parameters
    return described


def _who(right: Right) -> str:
    roles = [role.value for role in Role if right in RIGHTS[role]]
    if least_role(right) is Role.VIEWER:
        return f"Needs the right `{right.value}`, which every role has."
    return f"Needs the right `{right.value}`: {', '.join(roles)}."


if __name__ == "__main__":
    sys.stdout.write(text())
