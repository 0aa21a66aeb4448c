"""How lines are cut into requests."""

from __future__ import annotations

import pytest

from ingest.retry import RetryLaterError
from ingest.stores.influx.client import RefusedLinesError
from ingest.stores.influx.encoding import Listed
from ingest.stores.influx.writer import LARGEST, SMALLEST, LineWriter


class Server:
    """Refuses bad lines and bodies with too many lines; notes how many lines each request had."""

    def __init__(self, most: int = 1 << 30) -> None:
        self.most = most
        self.requests: list[int] = []
        self.stored: list[bytes] = []
        self.down = False

    async def write(self, body: bytes) -> None:
        lines = body.split(b"\n")
        self.requests.append(len(lines))
        if self.down:
            raise RetryLaterError("down", "unreachable")
        if len(lines) > self.most:
            raise RefusedLinesError(413, "too large")
        if any(b"bad" in line for line in lines):
            raise RefusedLinesError(400, "partial write")
        self.stored += lines


def lines(count: int, *bad: int) -> list[bytes]:
    return [b"bad %d" % i if i in bad else b"%d" % i for i in range(count)]


async def test_requests_grow_to_the_largest_and_keep_the_order() -> None:
    server = Server()
    writer = LineWriter(server)
    assert await writer.write(Listed(lines(120_000))) == []
    assert server.stored == lines(120_000)
    assert server.requests[0] == 10_000
    assert max(server.requests) == writer.size == LARGEST


async def test_bad_lines_stand_alone_and_cost_few_requests() -> None:
    server = Server()
    refused = await LineWriter(server).write(Listed(lines(25_000, 7, 24_999)))
    assert [(line.index, line.status, line.reason) for line in refused] == [
        (7, 400, "partial write"),
        (24_999, 400, "partial write"),
    ]
    assert sorted(server.stored) == sorted(set(lines(25_000, 7, 24_999)) - {b"bad 7", b"bad 24999"})
    assert len(server.requests) < 70


async def test_a_server_with_a_smaller_limit_gets_smaller_requests_from_then_on() -> None:
    server = Server(most=SMALLEST)
    writer = LineWriter(server)
    await writer.write(Listed(lines(10_000)))
    server.requests.clear()
    await writer.write(Listed(lines(5_000)))
    assert server.requests == [SMALLEST]


async def test_an_outage_decides_nothing_and_shrinks_the_next_request() -> None:
    server = Server()
    server.down = True
    writer = LineWriter(server)
    with pytest.raises(RetryLaterError):
        await writer.write(Listed(lines(20_000)))
    assert server.requests == [10_000]
    assert writer.size == SMALLEST


async def test_nothing_is_written_for_no_lines() -> None:
    server = Server()
    assert await LineWriter(server).write(Listed([])) == []
    assert server.requests == []
