"""Writing lines so that one bad line neither blocks nor drops its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ingest.stores.influx.client import RefusedLinesError


class LineClient(Protocol):
    """What the writer needs of a client."""

    async def write(self, body: bytes) -> None:
        """Writes line protocol."""
        ...


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that the server refuses on its own."""

    index: int
    status: int
    reason: str
    """In the server's words."""


async def write_lines(client: LineClient, lines: Sequence[bytes]) -> list[RefusedLine]:
    """Writes lines and returns those refused.

    A refused request is cut in halves until the bad lines stand alone. What a partial write had stored is
    written again, which changes nothing: how much that was, the server's answer does not say reliably.

    Raises
    ------
    RetryLaterError
        Nothing is decided; all lines are to be written again later.

    """
    refused: list[RefusedLine] = []
    pending = [(0, len(lines))] if lines else []
    while pending:
        start, end = pending.pop()
        try:
            await client.write(b"\n".join(lines[start:end]))
        except RefusedLinesError as error:
            if end - start == 1:
                refused.append(RefusedLine(start, error.status, error.reason))
            else:
                middle = (start + end) // 2
                pending += [(middle, end), (start, middle)]
    return refused
