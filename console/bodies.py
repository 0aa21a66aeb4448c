"""Bodies of requests: JSON of a bounded size, read into a type."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from starlette.requests import Request

from console.problems import ApiError

MAX_BODY_BYTES = 16 * 1024
"""Longest body that is read [B]."""
MAX_TEXT = 500
"""Longest comment or reason [characters]."""

Body = TypeVar("Body")


class Acknowledge(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of an acknowledgement."""

    comment: str = ""


class Shelve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of a shelving."""

    reason: str
    minutes: Annotated[float, msgspec.Meta(gt=0, le=10_080)]


class OutOfService(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body that takes an alarm out of service."""

    reason: str
    minutes: Annotated[float, msgspec.Meta(gt=0, le=525_600)] | None = None
    """None until it is put back."""


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An empty body."""


def text_of(name: str, text: str) -> str:
    """A text that somebody sent, without blanks around it.

    Raises
    ------
    ApiError
        It is too long; ``name`` says what it is.

    """
    text = text.strip()
    if len(text) > MAX_TEXT:
        raise ApiError(400, f"the {name} has {len(text)} characters", f"use at most {MAX_TEXT} of them")
    return text


async def body_of(request: Request, kind: type[Body], limit: int = MAX_BODY_BYTES) -> Body:
    """The body of a request, of at most so many bytes.

    Raises
    ------
    ApiError
        It is too long, not JSON, or not of the type.

    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "the body is not JSON", "send Content-Type: application/json")
    raw = b""
    async for piece in request.stream():
        raw += piece
        if len(raw) > limit:
            raise ApiError(413, "the body is too long", f"send at most {limit} bytes")
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, f"the body cannot be used: {error}", "send one JSON object") from None
