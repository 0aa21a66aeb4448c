"""The description of the API is what serves it, and nothing that is sent breaks what serves it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from console import openapi
from console.access import NEEDS
from console.entrance import COOKIE
from console.operations import NOT_JSON, OPERATIONS
from console.roles import Role
from console.sessions import Sessions
from telemetry.clock import SystemClock
from telemetry.site import Site
from tests.console.rig import FAST, Rig, console_of, make_alarm

DOCUMENT = openapi.document()
KEPT = Path(__file__).parents[2] / "docs" / "openapi.json"
Schema = dict[str, Any]

_plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
ANY_JSON = st.recursive(
    _plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = [
    "SHY-TAS_SHY_main",
    "SHY-TAS_SHY_main/TotW",
    "SHY-TAS",
    "R6-SHY-TAS-1",
    "KZ",
    "anna",
    "",
    "/",
    "\x00",
]


def test_the_kept_description_is_that_of_the_program() -> None:
    assert KEPT.read_text("utf-8") == openapi.text(), "run: python -m console.openapi > docs/openapi.json"


def test_every_address_of_the_api_is_described() -> None:
    served = {(method, path) for method, path in NEEDS if path.startswith("/api/")} - NOT_JSON
    assert served <= set(OPERATIONS)
    assert {address for address in OPERATIONS if address not in NEEDS} == {
        ("POST", "/api/v1/session"),
        ("POST", "/api/v1/setup"),
        ("GET", "/api/v1/acknowledgements/{token}"),
        ("POST", "/api/v1/acknowledgements/{token}"),
    }


def test_the_description_holds_together() -> None:
    found = re.findall(r'"#/components/schemas/([^"]+)"', openapi.text())
    assert set(found) <= set(DOCUMENT["components"]["schemas"])
    identifiers = [each["operationId"] for path in DOCUMENT["paths"].values() for each in path.values()]
    assert len(identifiers) == len(set(identifiers)) == len(OPERATIONS)
    for path, methods in DOCUMENT["paths"].items():
        for operation in methods.values():
            named = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))


def values(schema: Schema) -> st.SearchStrategy[Any]:
    """What a schema allows, of the keywords that the description uses."""
    if "$ref" in schema:
        return values(DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return st.one_of([values(each) for each in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("type") == "object":
        fields = {name: values(each) for name, each in schema.get("properties", {}).items()}
        required = set(schema.get("required", ()))
        return st.fixed_dictionaries(
            {name: each for name, each in fields.items() if name in required},
            optional={name: each for name, each in fields.items() if name not in required},
        )
    if schema.get("type") == "array":
        return st.lists(values(schema["items"]), max_size=3)
    return {
        "string": st.sampled_from(NAMES) | st.text(max_size=20),
        "integer": st.integers(schema.get("minimum"), schema.get("maximum")),
        "number": st.floats(allow_nan=False, allow_infinity=False),
        "boolean": st.booleans(),
        "null": st.none(),
    }.get(schema.get("type", ""), ANY_JSON)


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, httpx.Request]:
    """A request as the description has it, or nearly so."""
    method, path = draw(st.sampled_from(sorted(OPERATIONS)))
    described = DOCUMENT["paths"][path][method.lower()]
    text = st.sampled_from(NAMES) | st.text(max_size=12)
    query: list[tuple[str, str]] = []
    target = path
    for parameter in described.get("parameters", ()):
        if parameter["in"] == "path":
            # no slash: it would be another address
            name = draw(text).replace("/", "").strip(".") or "x"
            target = target.replace(f"{{{parameter['name']}}}", quote(name, safe=""))
        elif draw(st.booleans()) or parameter["required"]:
            sound = draw(values(parameter["schema"]))
            sent = sound if isinstance(sound, list) else [sound]
            query += [(parameter["name"], draw(text | st.just(str(value)))) for value in sent]
    content, headers = None, {"content-type": "application/json"}
    if "requestBody" in described:
        schema = described["requestBody"]["content"]["application/json"]["schema"]
        body = draw(st.one_of(values(schema), values(schema), ANY_JSON, st.binary(max_size=20)))
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    url = f"http://localhost{target}?{urlencode(query)}"
    return method, path, httpx.Request(method, url, content=content, headers=headers)


async def judge(client: httpx.AsyncClient, cookie: str, drawn: tuple[str, str, httpx.Request]) -> int:
    """Sends a request; its answer must be of the type that the description gives."""
    method, path, request = drawn
    request.headers["origin"] = "http://localhost"
    request.headers["cookie"] = cookie
    answer = await client.send(request)
    where = f"{method} {request.url} {request.content!r}: {answer.status_code} {answer.text[:500]}"
    operation = OPERATIONS[method, path]
    if answer.status_code >= 400:
        assert answer.status_code < 500, where
        problem = OPERATIONS[method, path].problem
        assert "error" in msgspec.to_builtins(msgspec.json.decode(answer.content, type=problem)), where
        return answer.status_code
    assert answer.status_code == operation.status, where
    if operation.answer is None:
        assert answer.content == b"", where
    else:
        msgspec.json.decode(answer.content, type=operation.answer, strict=True)
    return answer.status_code


@pytest.mark.filterwarnings("ignore::hypothesis.errors.NonInteractiveExampleWarning")
def test_whatever_is_sent_is_answered_as_described(tmp_path: Path, site: Site) -> None:
    rig = Rig.of(SystemClock(), tmp_path / "console.sqlite", site)
    seen: set[tuple[str, int]] = set()
    with asyncio.Runner() as runner:
        sessions = Sessions(rig.path, rig.clock, scrypt=FAST)
        console, _ = console_of(rig, sessions)
        client = httpx.AsyncClient(transport=httpx.ASGITransport(console.app))

        async def begin() -> str:
            await sessions.__aenter__()
            await rig.desk.put(make_alarm(rig.clock.now_ns()))
            # a user of the rights, whom nothing of what is sent can remove or sign out for the others
            user = await sessions.accounts.add("walker", Role.ADMIN, "correct horse battery", "test")
            return f"{COOKIE}={await sessions.begin(user)}"

        async def end() -> None:
            await client.aclose()
            await sessions.__aexit__(None, None, None)

        cookie = runner.run(begin())

        @settings(
            max_examples=400,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(requests())
        def walk(drawn: tuple[str, str, httpx.Request]) -> None:
            method, path, _ = drawn
            if (method, path) == ("DELETE", "/api/v1/session"):
                return
            client.cookies.clear()
            seen.add((f"{method} {path}", runner.run(judge(client, cookie, drawn)) // 100))

        try:
            walk()
        finally:
            runner.run(end())
    # the walk went everywhere, and was not only refused
    reached = {address for address, _ in seen}
    assert len(reached) > 0.9 * len(OPERATIONS)
    assert len({address for address, status in seen if status == 2}) > 15
