from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ingest.config import EmbeddedSettings, JournalSettings
from ingest.journal.journal import Journal
from ingest.journal.points import declare
from ingest.stores.embedded.store import EmbeddedStore
from telemetry.batch import ReadingBatch
from telemetry.clock import ManualClock
from telemetry.devices import Device
from telemetry.errors import RegistryError, StorageError
from telemetry.grid import Grid
from telemetry.points import PointKey
from telemetry.profiles import DeviceProfile
from telemetry.site import Site, point_keys

A, B, C = (PointKey(device, "TotW", "MW") for device in "abc")


def test_an_index_is_given_once_and_never_again(tmp_path: Path) -> None:
    path = tmp_path / "points.sqlite"
    assert declare(path, [A, B, A]).index(B) == 1
    registry = declare(path, [C, A])
    assert [registry.index(key) for key in (A, B, C)] == [0, 1, 2]
    assert [declare(path).key(i) for i in range(3)] == [A, B, C]
    other_unit = PointKey("a", "TotW", "%")
    assert declare(path, [other_unit]).index(other_unit) == 3


async def test_reordering_and_deleting_devices_with_a_backlog_pending_moves_no_value(
    tmp_path: Path,
    clock: ManualClock,
    grid: Grid,
    devices: list[Device],
    profiles: dict[str, DeviceProfile],
) -> None:
    def configured(some: list[Device]) -> Site:
        registry = declare(tmp_path / "points.sqlite", point_keys(some, profiles))
        return Site.of("test", grid, some, profiles, registry)

    def reading(site: Site, device: str, value: float) -> ReadingBatch:
        point = site.find(device, "TotW")
        assert point is not None
        at = clock.now_ns()
        return ReadingBatch.of("s", 1, 1, at, point=[point.index], t_source=[at], value=[value], quality=[0])

    shymkent, tashkent = devices
    third = shymkent.model_copy(update={"id": "third"})
    async with Journal(tmp_path / "journal", JournalSettings(), clock) as journal:
        before = configured([shymkent, tashkent])
        await journal.append(reading(before, shymkent.id, 1.0))
        await journal.append(reading(before, tashkent.id, 2.0))
    await clock.advance(1)
    after = configured([third, tashkent])
    async with (
        Journal(tmp_path / "journal", JournalSettings(), clock) as journal,
        EmbeddedStore(tmp_path / "store.duckdb", EmbeddedSettings()) as store,
    ):
        await journal.append(reading(after, third.id, 3.0))
        await store.apply(await journal.read(0))
        again = configured([tashkent, shymkent, third])
        for device, value in ((shymkent, 1.0), (tashkent, 2.0), (third, 3.0)):
            point = again.find(device.id, "TotW")
            assert point is not None
            assert (await store.query.last([point.index])).value.tolist() == [value]


def test_gaps_and_damage_are_errors_that_name_the_fix(tmp_path: Path) -> None:
    path = tmp_path / "points.sqlite"
    declare(path, [A, B, C])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM point WHERE id = 1")
    with pytest.raises(RegistryError, match=r"not contiguous; only it tells .*greenbridge restore BACKUP"):
        declare(path)
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StorageError, match=r"is damaged: .*backup"):
        declare(path)


def test_a_file_of_another_purpose_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "points.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA application_id = 1")
        connection.execute("CREATE TABLE x (y)")
    with pytest.raises(StorageError, match="no point registry"):
        declare(path)
