"""Passwords as they are kept: scrypt (RFC 7914), with the parameters beside each hash."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

MIN_PASSWORD, MAX_PASSWORD = 12, 256
"""Shortest and longest password [characters]."""
_SALT_BYTES, _HASH_BYTES = 16, 32


@dataclass(frozen=True, slots=True)
class Scrypt:
    """Parameters of scrypt: memory is 128 * n * r bytes (RFC 7914, section 2).

    The defaults, 32 MiB three times over, are among those that OWASP's Password Storage Cheat Sheet takes as
    the minimum.
    """

    n: int = 2**15
    """CPU and memory cost; a power of two."""
    r: int = 8
    """Block size."""
    p: int = 3
    """Parallelization."""


@dataclass(frozen=True, slots=True)
class HashedPassword:
    """What is kept of a password."""

    parameters: Scrypt
    salt: bytes
    digest: bytes


def hashed(password: str, parameters: Scrypt) -> HashedPassword:
    """The hash of a password under a new salt. Takes a tenth of a second and more: not for the event loop."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return HashedPassword(parameters, salt, _derived(password, parameters, salt))


def matches(password: str, kept: HashedPassword) -> bool:
    """Whether a password is the one that was kept, compared in constant time."""
    return hmac.compare_digest(_derived(password, kept.parameters, kept.salt), kept.digest)


def nobody(parameters: Scrypt) -> HashedPassword:
    """A hash that no password has: checking it takes as long as checking one of a user who is there."""
    return HashedPassword(parameters, bytes(_SALT_BYTES), secrets.token_bytes(_HASH_BYTES))


def _derived(password: str, parameters: Scrypt, salt: bytes) -> bytes:
    n, r, p = parameters.n, parameters.r, parameters.p
    # OpenSSL counts somewhat more than 128 * n * r, and refuses above maxmem
    return hashlib.scrypt(
        password.encode(errors="backslashreplace"),
        salt=salt,
        n=n,
        r=r,
        p=p,
        dklen=_HASH_BYTES,
        maxmem=128 * r * (n + p + 2) + (1 << 20),
    )
