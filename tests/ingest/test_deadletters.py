from __future__ import annotations

from pathlib import Path

from ingest.config import DeadLetterSettings
from ingest.deadletters import DeadLetters
from ingest.ports import DeadLetter


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
