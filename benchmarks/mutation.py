"""Inputs for parsers, made by changing sound ones; the same seed makes the same inputs."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

LONGEST = 4096
"""[B]"""
_EDGES = (0, 1, 2, 3, 4, 0x2B, 0x7F, 0x80, 0x83, 0xFE, 0xFF)


def mutated(seeds: Sequence[bytes], words: Sequence[bytes], seed: int) -> Iterator[bytes]:
    """Inputs without end: a tenth is noise, the rest are seeds with one to eight changes."""
    rng = random.Random(seed)  # noqa: S311 - reproducible, not secret
    while True:
        if rng.random() < 0.1:
            yield rng.randbytes(min(LONGEST, int(rng.expovariate(1 / 40))))
            continue
        made = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(1, 9)):
            _change(made, seeds, words, rng)
        yield bytes(made[:LONGEST])


def _change(made: bytearray, seeds: Sequence[bytes], words: Sequence[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(made) + 1)
    kind = rng.randrange(8)
    if kind == 0 and at < len(made):
        made[at] ^= 1 << rng.randrange(8)
    elif kind == 1 and at < len(made):
        made[at] = rng.choice(_EDGES)
    elif kind == 2:
        made[at:at] = rng.randbytes(rng.randrange(1, 9))
    elif kind == 3:
        del made[at : at + rng.randrange(1, 9)]
    elif kind == 4:
        del made[at:]
    elif kind == 5:
        made[at:at] = made[at : at + rng.randrange(1, 33)] * rng.randrange(1, 9)
    elif kind == 6:
        other = rng.choice(seeds)
        made[at:] = other[rng.randrange(len(other) + 1) :]
    elif words:
        made[at:at] = rng.choice(words)
