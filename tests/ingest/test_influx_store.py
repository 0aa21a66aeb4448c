"""The InfluxDB store against a real influxd and every answer that it must survive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from ingest.config import InfluxSettings
from ingest.conservation import conservation
from ingest.fakes import FakeCursors, FakeJournal, FakeLetters
from ingest.ports import EventRecord, Position, Totals
from ingest.retry import RetryLaterError
from ingest.stores.influx.client import read_token
from ingest.stores.influx.store import InfluxStore
from telemetry.batch import ReadingBatch
from telemetry.clock import ManualClock
from telemetry.errors import StorageError, UnavailableError
from telemetry.registry import PointRegistry
from telemetry.site import Site
from tests.ingest.batches import T0, batch
from tests.support.influx import Fault, InfluxBench

pytestmark = pytest.mark.system("influxd")


@dataclass
class Bench:
    server: InfluxBench
    site: Site
    registry: PointRegistry
    journal: FakeJournal
    cursors: FakeCursors
    letters: FakeLetters
    stack: AsyncExitStack

    async def store(self, token: str = "", bucket: str = "") -> InfluxStore:
        settings = InfluxSettings(
            url=self.server.url,
            org=self.server.org,
            bucket=bucket or self.server.bucket,
            token_env="TOKEN",
            timeout_s=5,
        )
        return await self.stack.enter_async_context(
            InfluxStore(
                settings,
                self.site,
                self.registry,
                cursors=self.cursors,
                letters=self.letters,
                clock=ManualClock(),
                environment={"TOKEN": token or self.server.token},
            )
        )

    async def rows(self) -> int:
        (result,) = await self.server.ask('SELECT count("TotW_q") FROM "meter"')
        return int(result["series"][0]["values"][0][1]) if "series" in result else 0


@pytest.fixture
async def bench(influx: InfluxBench, site: Site, registry: PointRegistry) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        yield Bench(influx, site, registry, FakeJournal(), FakeCursors(), FakeLetters(), stack)


async def test_what_grafana_sees(bench: Bench) -> None:
    store = await bench.store()
    bench.journal.append(batch([322.5, -12.25]))
    await store.apply(await bench.journal.read(0))
    (result,) = await bench.server.ask(
        'SELECT "TotW" FROM "meter" WHERE "TotW_q" < 128 GROUP BY "area", "branch", "device", "node", "role"'
    )
    (series,) = result["series"]
    assert series["tags"] == {
        "area": "KZ",
        "branch": "SHY-TAS",
        "device": "SHY-TAS_SHY_main",
        "node": "SHY",
        "role": "main",
    }
    assert series["values"] == [[T0, 322.5]]


@pytest.mark.parametrize(
    ("fault", "state", "after_s"),
    [
        (Fault(429, headers={"Retry-After": "7"}), "overloaded", 7.0),
        (Fault(503), "overloaded", None),
        (Fault(500, body="no JSON"), "server_error", None),
        (Fault(502, pass_on=True), "server_error", None),
        (Fault(401), "unauthorized", 30.0),
        (Fault(403), "forbidden", 30.0),
        (Fault(404), "bucket_missing", 30.0),
    ],
)
async def test_refusals_lose_nothing_and_say_when_to_come_back(
    bench: Bench, fault: Fault, state: str, after_s: float | None
) -> None:
    store = await bench.store()
    bench.journal.append(batch([1.0, 2.0]))
    records = await bench.journal.read(0)
    bench.server.faults = [fault]
    with pytest.raises(RetryLaterError) as caught:
        await store.apply(records)
    assert (caught.value.state, caught.value.after_s) == (state, after_s)
    assert await store.position() == Position()
    position = await store.apply(records)
    assert position == Position(1, 0, Totals(stored=2))
    assert bench.letters.letters == []
    assert await bench.rows() == 1


async def test_wrong_token_bucket_and_address_are_named(bench: Bench) -> None:
    bench.journal.append(batch())
    records = await bench.journal.read(0)
    for store, state in (
        (await bench.store(token="wrong"), "unauthorized"),
        (await bench.store(bucket="nowhere"), "bucket_missing"),
    ):
        with pytest.raises(RetryLaterError) as caught:
            await store.apply(records)
        assert caught.value.state == state
        assert "wrong" not in str(caught.value)
        with pytest.raises(UnavailableError):
            await store.query.last([0])
    bench.server.url = "http://127.0.0.1:1"
    with pytest.raises(RetryLaterError, match="cannot be reached") as caught:
        await (await bench.store()).apply(records)
    assert caught.value.state == "unreachable"


async def test_telegraf_11005_a_partial_write_costs_only_the_bad_line_which_is_kept_with_the_servers_reason(
    bench: Bench,
) -> None:
    store = await bench.store()
    for at in range(16):
        bench.journal.append(batch([float(at), 2.0], at=at))
    bench.server.refuse = lambda line: b"TotW=11.0" in line
    position = await store.apply(await bench.journal.read(0))
    assert position.totals == Totals(stored=30, dead_lettered=2)
    ((origin, letter),) = bench.letters.letters
    assert (origin, letter.reason, letter.address) == ("influx", "line_refused", "meter")
    assert letter.detail == "partial write: 1 lines refused"
    assert b"TotW=11.0" in letter.payload
    assert await bench.rows() == 15
    assert (await conservation(bench.journal, store)).holds


async def test_a_type_conflict_of_the_real_server_costs_only_its_line(bench: Bench) -> None:
    store = await bench.store()

    def event(key: str, value: float | str) -> EventRecord:
        return EventRecord("alarm", key, T0, {"area": "KZ"}, {"value": value})

    await store.apply_events([(1, event("a", 1.5))])
    position = await store.apply_events([(2, event("b", "text")), (3, event("c", 2.5))])
    assert position.event == 3
    ((_, letter),) = bench.letters.letters
    assert "field type conflict" in letter.detail
    assert [e.key for e in await store.query.events("alarm", T0, T0 + 1)] == ["a", "c"]


async def test_a_request_that_is_too_large_is_cut(bench: Bench) -> None:
    store = await bench.store()
    for at in range(16):
        bench.journal.append(batch([float(at)], at=at))
    bench.server.max_body = 500
    position = await store.apply(await bench.journal.read(0))
    assert position.totals == Totals(stored=16)
    assert max(bench.server.writes) == 16
    assert await bench.rows() == 16


async def test_an_outage_in_the_middle_of_a_cut_repeats_without_double_letters(bench: Bench) -> None:
    store = await bench.store()
    for at in range(4):
        bench.journal.append(batch([float(at)], at=at))
    records = await bench.journal.read(0)
    bench.server.faults = [Fault(400), Fault(400), Fault(400), Fault(503)]
    with pytest.raises(RetryLaterError):
        await store.apply(records)
    assert bench.letters.letters == []
    bench.server.refuse = lambda line: b"TotW=0.0" in line
    assert (await store.apply(records)).totals == Totals(stored=3, dead_lettered=1)
    assert len(bench.letters.letters) == 1


async def test_a_crash_between_write_and_cursor_repeats_and_changes_nothing(bench: Bench) -> None:
    store = await bench.store()
    bench.journal.append(batch([1.0], at=0))
    await store.apply(await bench.journal.read(0))
    bench.journal.append(batch([2.0], at=1))
    saved = dict(bench.cursors.positions), dict(bench.cursors.marks)
    await store.apply(await bench.journal.read(1))
    bench.cursors.positions, bench.cursors.marks = saved
    again = await bench.store()
    position = await again.apply(await bench.journal.read(1))
    assert position.totals == Totals(stored=2)
    assert await bench.rows() == 2


async def test_a_crash_leaves_out_the_same_readings_again(bench: Bench, thin_site: Site) -> None:
    bench.site = thin_site
    store = await bench.store()
    bench.journal.append(batch([1.0], at=0))
    await store.apply(await bench.journal.read(0))
    for at, value in ((1, 1.4), (2, 1.8), (3, 1.4)):
        bench.journal.append(batch([value], at=at))
    cursors = bench.cursors
    saved = dict(cursors.positions), dict(cursors.marks), dict(cursors.references)
    await store.apply(await bench.journal.read(1))
    cursors.positions, cursors.marks, cursors.references = saved
    again = await bench.store()
    position = await again.apply(await bench.journal.read(1))
    assert position.totals == Totals(stored=2, suppressed=2)
    assert await bench.rows() == 2


async def test_what_the_server_refused_holds_nothing_back(bench: Bench, thin_site: Site) -> None:
    bench.site = thin_site
    bench.server.refuse = lambda line: b"TotW=1.0" in line
    store = await bench.store()
    for at, value in ((0, 1.0), (1, 1.2), (2, 1.4)):
        bench.journal.append(batch([value], at=at))
        position = await store.apply(await bench.journal.read(at))
    assert position.totals == Totals(stored=1, suppressed=1, dead_lettered=1)


async def test_readings_of_undeclared_points_are_dead_letters(bench: Bench) -> None:
    store = await bench.store()
    bench.journal.append(
        ReadingBatch.of(
            "s", 1, 1, T0, point=[0, 99, 99], t_source=[1, 1, 2], value=[1.0] * 3, quality=[0] * 3
        )
    )
    position = await store.apply(await bench.journal.read(0))
    assert position.totals == Totals(stored=1, dead_lettered=2)
    assert [letter.reason for _, letter in bench.letters.letters] == ["unknown_point"]


async def test_the_newest_line_of_a_device_need_not_hold_every_point(bench: Bench) -> None:
    store = await bench.store()
    bench.journal.append(batch([1.0, 2.0, 3.0], at=0))
    bench.journal.append(batch([10.0], at=5))
    await store.apply(await bench.journal.read(0))
    newest = await store.query.last([2, 0, 1, 7])
    assert sorted(zip(newest.point.tolist(), newest.value.tolist(), strict=True)) == [
        (0, 10.0),
        (1, 2.0),
        (2, 3.0),
    ]


def test_the_token_comes_from_a_file_or_the_environment_and_is_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(" s3cret\n")

    def settings(**source: object) -> InfluxSettings:
        return InfluxSettings.model_validate({"url": "http://x", "org": "o", "bucket": "b", **source})

    assert read_token(settings(token_file=file), {}) == "s3cret"
    assert read_token(settings(token_env="TOKEN"), {"TOKEN": "abc"}) == "abc"
    for wrong, environment, match in (
        (settings(token_file=tmp_path / "none"), {}, "No such file"),
        (settings(token_env="TOKEN"), {}, "environment variable TOKEN holds none"),
        (settings(token_env="TOKEN"), {"TOKEN": "a\nb"}, "holds none"),
    ):
        with pytest.raises(StorageError, match=match) as caught:
            read_token(wrong, environment)
        assert "a\nb" not in str(caught.value)
