"""Questions to a device that depend on what it answered before, without any input or output."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

from adapters.modbus.codec import Query

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a question."""

    data: bytes = b""
    code: int | None = None
    """Exception code of a refusal."""
    silent: bool = False
    """No sound reply came."""
    took_s: float = 0.0
    """Round trip [s]; 0 without a reply."""

    @property
    def ok(self) -> bool:
        """True when there is data."""
        return self.code is None and not self.silent

    @property
    def words(self) -> tuple[int, ...]:
        """Registers of the data."""
        return tuple(int.from_bytes(self.data[i : i + 2], "big") for i in range(0, len(self.data), 2))


Walk = Generator[Query, Reply, T]
"""Yields a question, is sent the reply, returns what was found."""
Noted = Callable[[Query, Reply], None]
"""Is told of every question and what became of it."""
