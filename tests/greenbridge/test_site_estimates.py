"""State estimates as points of a site."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alerts.estimator.diagnosis import Estimator
from alerts.estimator.judgement import Outcome
from alerts.estimator.measurements import Scan
from alerts.estimator.plan import plan_of
from alerts.estimator.points import DEVICE
from greenbridge.estimates import Publication, values
from greenbridge.settings import Configuration, load
from ingest.fakes import FakeJournal
from ingest.ports import Committed
from telemetry.batch import ReadingBatch
from telemetry.clock import ManualClock
from telemetry.devices import Role
from telemetry.errors import ConfigError, StorageError
from telemetry.registry import PointRegistry
from telemetry.site import Site

START = 1_700_000_000_000_000_000


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    example = Path(__file__).parents[2] / "examples" / "first-site"
    for file in example.iterdir():
        (tmp_path / file.name).write_text(file.read_text())
    return tmp_path


def _configured(directory: Path, further: str) -> Configuration:
    main = directory / "greenbridge.toml"
    main.write_text(f"{main.read_text()}\n[alerts.R18]\n{further}\n")
    return load(str(main), {})


def _node(directory: Path) -> str:
    return load(str(directory / "greenbridge.toml"), {}).grid.node[0].id


def _site(configuration: Configuration) -> Site:
    return configuration.site(PointRegistry(configuration.keys()))


def _outcome(site: Site) -> Outcome:
    plan = plan_of(site, 0.2)
    count = len(plan.meters)
    power = np.full(count, np.nan)
    for i, meter in enumerate(plan.meters):
        power[i] = 100.0 if i % 2 == 0 else -100.0
        assert meter.id in site.devices
    scan = Scan(START, power, np.zeros(count), np.full(count, site.grid.u_rated_kv), np.ones(count))
    return Outcome(Estimator(site.grid, plan.meters).diagnose(scan), {}, ())


def test_a_site_has_no_such_device_unless_told(directory: Path) -> None:
    assert DEVICE not in {device.id for device in load(str(directory), {}).devices}


def test_device_has_points_of_every_branch(directory: Path) -> None:
    configuration = _configured(directory, f'points_at = "{_node(directory)}"')
    site = _site(configuration)
    assert site.devices[DEVICE].role is Role.DERIVED
    names = {point.key.name for point in site.points_of(DEVICE)}
    branches = [*configuration.grid.line, *configuration.grid.hvdc]
    assert len(names) == 4 + 3 * len(branches)


def test_unknown_node_is_refused_with_its_key(directory: Path) -> None:
    with pytest.raises(ConfigError, match=r"alerts\.R18\.points_at.*no such node"):
        _configured(directory, 'points_at = "NOWHERE"')


async def test_estimate_becomes_readings_of_its_instant(directory: Path) -> None:
    site = _site(_configured(directory, f'points_at = "{_node(directory)}"'))
    clock = ManualClock(START + 10**9)
    journal = FakeJournal(clock)
    outcome = _outcome(site)

    class Appending:
        async def append(self, batch: ReadingBatch) -> Committed:
            return journal.append(batch)

    await Publication(lambda: site, Appending(), clock).publish(outcome)
    [record] = await journal.read(0)
    told = {
        site.points[int(i)].key.name: v for i, v in zip(record.batch.point, record.batch.value, strict=True)
    }
    assert told == pytest.approx(dict(values(outcome)))
    assert told["J"] == pytest.approx(outcome.diagnosis.j)
    assert set(record.batch.t_source.tolist()) == {START}
    assert record.batch.t_received == START + 10**9


async def test_full_journal_costs_the_estimate_and_nothing_else(directory: Path) -> None:
    site = _site(_configured(directory, f'points_at = "{_node(directory)}"'))

    class Full:
        async def append(self, batch: ReadingBatch) -> Committed:
            raise StorageError("full")

    await Publication(lambda: site, Full(), ManualClock(START)).publish(_outcome(site))
