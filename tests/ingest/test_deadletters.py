from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.config import DeadLetterSettings
from ingest.deadletters import PURGED, REINJECTED, DeadLetters, Selection
from ingest.ports import DeadLetter, ReinjectionError
from ingest.reinjection import LOOK_EVERY_S, Reinjection
from telemetry.clock import ManualClock, settle
from telemetry.errors import StorageError


def letter(n: int, payload: bytes = b"{") -> DeadLetter:
    return DeadLetter(n, "mqtt/main", f"corridor/{n}", "not_json", "unexpected end", payload, len(payload))


async def test_letters_are_listed_newest_first_and_survive(tmp_path: Path) -> None:
    path = tmp_path / "letters.sqlite"
    async with DeadLetters(path, DeadLetterSettings()) as letters:
        await letters.add([])
        await letters.add([letter(1), letter(2)])
        await letters.add([letter(3)], "influx")
    async with DeadLetters(path, DeadLetterSettings()) as letters:
        assert [(x.id, x.origin, x.letter.address) for x in await letters.newest()] == [
            (3, "influx", "corridor/3"),
            (2, "intake", "corridor/2"),
            (1, "intake", "corridor/1"),
        ]
        assert [x.id for x in await letters.newest(before=3, limit=1)] == [2]
        found = await letters.show(2)
        assert found is not None
        assert found.letter == letter(2)
        assert await letters.show(9) is None
        assert (letters.total(), letters.total("influx"), letters.dropped) == (2, 1, 0)


async def test_the_oldest_go_when_there_are_too_many_and_totals_keep_counting(tmp_path: Path) -> None:
    path = tmp_path / "letters.sqlite"
    async with DeadLetters(path, DeadLetterSettings(max_count=3)) as letters:
        for n in range(1, 6):
            await letters.add([letter(n)])
    async with DeadLetters(path, DeadLetterSettings(max_count=3)) as letters:
        assert [x.id for x in await letters.newest()] == [5, 4, 3]
        assert (letters.total(), letters.dropped) == (5, 2)
        assert await letters.show(1) is None


async def test_payloads_are_cut_and_their_size_is_bounded(tmp_path: Path) -> None:
    settings = DeadLetterSettings(max_bytes=1 << 16, max_payload_bytes=30_000)
    async with DeadLetters(tmp_path / "letters.sqlite", settings) as letters:
        for n in range(1, 5):
            await letters.add([letter(n, b"x" * 40_000)])
        kept = await letters.newest()
        assert [x.id for x in kept] == [4, 3]
        assert {(len(x.letter.payload), x.letter.size) for x in kept} == {(30_000, 40_000)}


class Again:
    """A source that takes letters again, or says why not."""

    name = "mqtt/main"

    def __init__(self) -> None:
        self.taken: list[DeadLetter] = []
        self.errors: list[Exception] = []

    async def reinject(self, letter: DeadLetter) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.taken.append(letter)


async def test_requested_letters_become_readings_and_leave_and_others_say_why_not(
    tmp_path: Path, clock: ManualClock
) -> None:
    path = tmp_path / "letters.sqlite"
    source = Again()
    strange = replace(letter(3), source="modbus/SHY")
    cut = letter(4, b"x" * 9000)
    async with (
        DeadLetters(path, DeadLetterSettings()) as letters,
        DeadLetters(path, DeadLetterSettings()) as command,  # as the command line does beside it
    ):
        await letters.add([letter(1), letter(2), strange, cut, letter(5)])
        assert await command.request(Selection(numbers=[1, 2, 3, 4, 99])) == 4
        source.errors = [ReinjectionError("not_json: still")]
        task = asyncio.create_task(Reinjection(letters, {source.name: source}, clock).run())
        while await command.requested():
            await settle()
        assert source.taken == [letter(2)]
        left = {x.id: x.letter.detail for x in await command.newest()}
        assert set(left) == {1, 3, 4, 5}
        assert left[1] == "not_json: still"
        assert "only messages of brokers" in left[3]
        assert "only the first 4096 of 9000 bytes" in left[4]
        assert (letters.total(), letters.total(REINJECTED)) == (5, 1)
        await command.request(Selection(reason="not_json", source="mqtt/main"))
        source.errors = [StorageError("disk full")]
        await clock.advance(LOOK_EVERY_S)
        with pytest.raises(StorageError, match="disk full"):
            await task
        assert len(await command.requested()) == 3, "nothing was taken out before it was durable"


async def test_a_purge_deletes_what_is_meant_and_keeps_the_sums(tmp_path: Path) -> None:
    async with DeadLetters(tmp_path / "l.sqlite", DeadLetterSettings(max_count=4)) as letters:
        await letters.add([letter(n) for n in range(4)])
        await letters.add([replace(letter(9), reason="unknown_topic")])
        assert letters.dropped == 1
        assert await letters.purge(Selection(reason="unknown_topic")) == 1
        assert await letters.purge(Selection(until=2)) == 1
        assert await letters.purge(Selection(numbers=[77])) == 0
        assert await letters.counts() == [("mqtt/main", "not_json", 2)]
        assert (letters.total(), letters.total(PURGED)) == (5, 2)
        await letters.add([letter(n) for n in range(2)])
        assert letters.dropped == 1, "the space of the purged ones is free again"
        assert await letters.purge(Selection()) == 4
