"""Discovery: finds the marker of a SunSpec device and walks its chain of models; pure.

Source: *SunSpec Device Information Model Specification 1.1* 6: the marker "SunS" stands at 40000, 0 or 50000;
models follow, each with its identifier and length; identifier 0xFFFF ends the chain.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from telemetry.errors import GreenbridgeError

MARKER = b"SunS"
END = 0xFFFF
BASES = (40000, 0, 50000)
MAX_MODELS = 200
"""Most models of a chain that is believed."""

Survey = Generator[tuple[int, int], bytes | None, "Chain"]
"""Yields (address, registers) to be read, is sent their bytes or None where the device refused."""


class NotSunSpecError(GreenbridgeError):
    """A device without the marker, or with a chain that cannot be walked."""


@dataclass(frozen=True, slots=True)
class Block:
    """One model of a device."""

    model: int
    address: int
    """Of its identifier."""
    length: int
    """Registers behind identifier and length."""

    @property
    def end(self) -> int:
        """Address behind its last register."""
        return self.address + 2 + self.length


@dataclass(frozen=True, slots=True)
class Chain:
    """The models of a device."""

    base: int
    blocks: tuple[Block, ...]
    ended: bool
    """Whether the end model was found; a device that refuses to be read there has a shorter chain."""

    def find(self, model: int) -> Block | None:
        """The first block of a model; None if the device has none."""
        return next((block for block in self.blocks if block.model == model), None)


def survey(bases: Sequence[int] = BASES) -> Survey:
    """Asks a device for its models.

    Raises
    ------
    NotSunSpecError
        There is no marker at any of the addresses, or the chain leads out of the address space.

    """
    for base in bases:
        if (yield base, 2) == MARKER:
            return (yield from _walk(base))
    shown = ", ".join(map(str, bases))
    raise NotSunSpecError(f'no marker "SunS" at {shown}; give its address as base if the vendor moved it')


def _walk(base: int) -> Survey:
    blocks: list[Block] = []
    at = base + 2
    while len(blocks) < MAX_MODELS:
        if at + 2 > 0x10000:
            raise NotSunSpecError(f"the chain of models from {base} on leads out of the address space")
        head = yield at, 2
        if head is None:
            return Chain(base, tuple(blocks), ended=False)
        model, length = int.from_bytes(head[:2], "big"), int.from_bytes(head[2:], "big")
        if model == END:
            return Chain(base, tuple(blocks), ended=True)
        block = Block(model, at, length)
        if model == 0 or block.end > 0x10000:
            reason = f"model {model} of {length} registers at {at}"
            raise NotSunSpecError(f"the chain of models from {base} on is not sound: {reason}")
        blocks.append(block)
        at = block.end
    raise NotSunSpecError(f"the chain of models from {base} on has no end within {MAX_MODELS} models")
