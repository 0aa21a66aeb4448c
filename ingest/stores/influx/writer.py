"""Writing lines so that one bad line neither blocks nor drops its neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ingest.retry import RetryLaterError
from ingest.stores.influx.client import RefusedLinesError
from ingest.stores.influx.encoding import Block

SMALLEST = 5_000
LARGEST = 20_000
"""Lines of a request: it grows while the server keeps up, and shrinks when that takes too long."""
_FIRST = 10_000


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


class LineWriter:
    """Cuts lines into requests of a size that suits the server."""

    def __init__(self, client: LineClient) -> None:
        self._client = client
        self.size = _FIRST
        """Lines of the next request, from SMALLEST to LARGEST."""

    async def write(self, lines: Block) -> list[RefusedLine]:
        """Writes lines and returns those refused.

        A refused request is cut in halves until the bad lines stand alone. What a partial write had stored is
        written again, which changes nothing: how much that was, the server's answer does not say reliably.

        Raises
        ------
        RetryLaterError
            Nothing is decided; all lines are to be written again later.

        """
        refused: list[RefusedLine] = []
        start = 0
        while start < len(lines):
            end = min(start + self.size, len(lines))
            refused += await self._write(lines, start, end)
            start = end
        return refused

    async def _write(self, lines: Block, first: int, last: int) -> list[RefusedLine]:
        refused: list[RefusedLine] = []
        pending = [(first, last)]
        while pending:
            start, end = pending.pop()
            try:
                await self._client.write(lines.body(start, end))
            except RefusedLinesError as error:
                if error.status == 413:
                    self._shrink()
                if end - start == 1:
                    refused.append(RefusedLine(start, error.status, error.reason))
                else:
                    middle = (start + end) // 2
                    pending += [(middle, end), (start, middle)]
            except RetryLaterError:
                self._shrink()  # a request that is too large for a timeout looks like this
                raise
            else:
                if end - start == self.size:
                    self.size = min(LARGEST, self.size + self.size // 4)
        return refused

    def _shrink(self) -> None:
        self.size = max(SMALLEST, self.size // 2)
