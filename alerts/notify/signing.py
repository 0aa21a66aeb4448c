"""Signatures: of requests, after Standard Webhooks, and of links that acknowledge one alarm. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass

from telemetry.errors import GreenbridgeError

SECOND = 1_000_000_000
MIN_KEY = 32
"""Shortest key of links [characters]."""
_PREFIX = "whsec_"
_MAX_TOKEN = 1024


class LinkError(GreenbridgeError):
    """A link that acknowledges nothing, with the reason in words for whoever followed it."""


class ExpiredLinkError(LinkError):
    """A link that was good once."""


def request_key(text: str) -> bytes:
    """The key in a file: after ``whsec_`` base64, otherwise as it stands.

    Raises
    ------
    ValueError
        It is empty or no base64.

    """
    text = text.strip()
    if not text:
        raise ValueError("holds no key")
    if not text.startswith(_PREFIX):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("holds no base64 after whsec_") from error


def request_headers(key: bytes, message: str, body: bytes, now: int) -> dict[str, str]:
    """Headers that prove who sent a body (Standard Webhooks 1.0, "Verifying webhook authenticity").

    Parameters
    ----------
    key
        Shared with the receiver.
    message
        Stable key of what is sent, the same at every attempt.
    body
        What is sent.
    now
        [ns, UTC].

    """
    seconds = str(now // SECOND)
    content = b".".join([message.encode(), seconds.encode(), body])
    digest = hmac.new(key, content, hashlib.sha256).digest()
    return {
        "webhook-id": message,
        "webhook-timestamp": seconds,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


@dataclass(frozen=True, slots=True)
class Claim:
    """What a link proves: its recipient was told of the alarm."""

    alarm: str
    recipient: str
    expires: int
    """[ns, UTC]."""


def signed(key: bytes, claim: Claim) -> str:
    """A claim as a token that is safe in an address."""
    content = json.dumps([claim.alarm, claim.recipient, claim.expires // SECOND], ensure_ascii=False).encode()
    return f"{_text(content)}.{_text(_digest(key, content))}"


def verified(key: bytes, token: str, now: int) -> Claim:
    """The claim of a token.

    Raises
    ------
    LinkError
        It was altered, was signed with another key, or is too old (:class:`ExpiredLinkError`).

    """
    content, _, digest = token.partition(".")
    try:
        body, given = _bytes(content), _bytes(digest)
    except (binascii.Error, ValueError):
        body, given = b"", b""
    if len(token) > _MAX_TOKEN or not hmac.compare_digest(_digest(key, body), given):
        raise LinkError("this link is not complete, or was altered; nothing was acknowledged")
    alarm, recipient, expires = json.loads(body)
    if now >= expires * SECOND:
        raise ExpiredLinkError("this link has expired; nothing was acknowledged")
    return Claim(alarm, recipient, expires * SECOND)


def _digest(key: bytes, content: bytes) -> bytes:
    return hmac.new(key, b"acknowledge." + content, hashlib.sha256).digest()


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
