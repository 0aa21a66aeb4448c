"""A small site with three ties, and a bench that feeds its measurements to the rules second by second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from alerts.config import AlertsSettings
from alerts.desk import Desk
from alerts.engine import AlarmEngine
from alerts.estimating import Publish
from alerts.journal import AlarmJournal, Entry, Progress
from alerts.notify.channel import Notification
from alerts.occurrence import Change, Tracked
from alerts.schedules import ScheduleBook
from alerts.settlement.view import LedgerView
from ingest.audit_chain import Act
from ingest.fakes import FakeCursors, FakeJournal
from ingest.ports import Ailment, EventRecord
from telemetry.batch import ReadingBatch
from telemetry.clock import ManualClock, settle
from telemetry.devices import Device
from telemetry.errors import StorageError
from telemetry.grid import Grid
from telemetry.profiles import DeviceProfile, parse_profile
from telemetry.registry import PointRegistry
from telemetry.settings import parse
from telemetry.site import Site, point_keys

Result = TypeVar("Result")

START = 1_700_000_000_000_000_000
SECOND = 1_000_000_000

GRID = """
u_rated_kv = 500.0
line_parameters = { r_ohm_per_km = 0.025, x_ohm_per_km = 0.306, b_us_per_km = 3.6, corona_kw_per_km = 2.4, \
corona_sigma_kw_per_km = 1.0 }
area = [
  { id = "KZ", name = "Kazakhstan", utc_offset_h = 5, sync_area = "IPS" },
  { id = "UZ", name = "Uzbekistan", utc_offset_h = 5, sync_area = "IPS" },
  { id = "AZ", name = "Azerbaijan", utc_offset_h = 4, sync_area = "IPS" },
]
node = [
  { id = "SHY", name = "Shymkent", area = "KZ", latitude = 42, longitude = 69 },
  { id = "TAS", name = "Tashkent", area = "UZ", latitude = 41, longitude = 69 },
  { id = "MGC", name = "Mingachevir", area = "AZ", latitude = 40, longitude = 47 },
  { id = "SAM", name = "Samukh", area = "AZ", latitude = 40, longitude = 46 },
  { id = "AKT", name = "Aktau", area = "KZ", latitude = 43, longitude = 51 },
  { id = "ALT", name = "Alat", area = "AZ", latitude = 39, longitude = 49 },
]
line = [
  { id = "SHY-TAS", from = "SHY", to = "TAS", circuits = 2, limit_mw = 600, sections = [{ km = 120 }] },
  { id = "MGC-SAM", from = "MGC", to = "SAM", circuits = 1, limit_mw = 700, sections = [{ km = 65 }] },
]
hvdc = [{ id = "AKT-ALT", from = "AKT", to = "ALT", km = 436, limit_mw = 1000, u_dc_kv = 525, \
r_ohm_per_km = 0.0113, converter_const_loss_mw = 1.0, converter_prop_loss = 0.007 }]

[[tie]]
id = "SHY-TAS"
kind = "ring"
from_area = "UZ"
to_area = "KZ"
delivery_node = "TAS"
schedule = [{ start = 2023-01-01T00:00:00Z, mw = 323.0 }]
ntc_mw = 600.0

[[tie]]
id = "MGC-SAM"
kind = "radial"
from_area = "AZ"
to_area = "GE"
delivery_node = "SAM"
schedule = [{ start = 2023-01-01T00:00:00Z, mw = -620.0 }]
ntc_mw = 700.0

[[tie]]
id = "AKT-ALT"
kind = "hvdc"
from_area = "KZ"
to_area = "AZ"
delivery_node = "AKT"
schedule = [{ start = 2023-01-01T00:00:00Z, mw = 800.0 }]
ntc_mw = 1000.0
"""

METER = """
id = "meter"
title = "Line meter"
source = "test"
accuracy_pct = 0.2
accuracy_floor_mw = 0.3

[points]
TotW = { title = "Active power", unit = "MW" }
TotVAr = { title = "Reactive power", unit = "Mvar" }
PPV = { title = "Voltage", unit = "kV" }

[json.fields]
TotW = { field = "p" }
TotVAr = { field = "q" }
PPV = { field = "v" }
"""

RULES_ALONE = '{"R18": {"enabled": false}}'
"""The state estimate would explain each alarm by one of its own."""

ENDS = [(branch, node) for branch in ("SHY-TAS", "MGC-SAM", "AKT-ALT") for node in branch.split("-")]

STEADY = {
    ("SHY-TAS", "SHY"): (-321.589, -39.754, 502.727),
    ("SHY-TAS", "TAS"): (322.835, -170.4, 501.29),
    ("MGC-SAM", "MGC"): (622.893, -3.052, 504.962),
    ("MGC-SAM", "SAM"): (-620.26, -26.1, 502.5),
    ("AKT-ALT", "AKT"): (800.0, 0.0, 505.0),
    ("AKT-ALT", "ALT"): (-781.26, 0.0, 506.0),
}
"""P [MW], Q [Mvar] and V [kV] at each end, from the reference corridor's power flow."""

Flows = Mapping[tuple[str, str], tuple[float, float, float]]


@pytest.fixture
def grid() -> Grid:
    return parse(GRID, "grid.toml", Grid)


def small_site() -> Site:
    """Three ties with a meter at each end."""
    grid = parse(GRID, "grid.toml", Grid)
    devices = [
        Device.model_validate(
            {
                "id": f"{branch}_{node}_main",
                "profile": "meter",
                "node": node,
                "branch": branch,
                "role": "main",
                "mqtt": {"broker": "east" if node in {"SHY", "TAS"} else node, "topic": f"{branch}/{node}"},
            },
            strict=False,
        )
        for branch, node in ENDS
    ]
    profiles: dict[str, DeviceProfile] = {"meter": parse_profile(METER, "meter.toml")}
    registry = PointRegistry(point_keys(devices, profiles))
    return Site.of("test", grid, devices, profiles, registry)


@pytest.fixture
def site() -> Site:
    return small_site()


class KilledError(Exception):
    """The process would be gone."""


class MortalJournal(AlarmJournal):
    """A journal whose process dies at one write, before or after it took effect."""

    def __init__(self, path: Path, victim: str, *, after: bool, skip: int = 0) -> None:
        super().__init__(path, ["log"])
        self.dead = False
        self._victim = victim
        self._after = after
        self._skip = skip

    async def commit(
        self,
        progress: Progress,
        conditions: Sequence[Tracked],
        changes: Sequence[Change],
        records: Sequence[EventRecord] = (),
    ) -> int:
        name = changes[0].event.value if changes else "position"
        return await self._mortal(name, super().commit(progress, conditions, changes, records))

    async def next_entry(self, channel: str) -> Entry | None:
        if self.dead:
            raise KilledError(channel)
        return await super().next_entry(channel)

    async def end(self, entry: Entry, result: str, detail: str, now: int) -> None:
        await self._mortal("end", super().end(entry, result, detail, now))

    async def _mortal(self, name: str, write: Coroutine[None, None, Result]) -> Result:
        strikes = name == self._victim and self._skip == 0
        self._skip -= name == self._victim
        if self.dead or (strikes and not self._after):
            self.dead = True
            write.close()
            raise KilledError(name)
        result = await write
        if strikes:
            self.dead = True
            raise KilledError(name)
        return result


class RefusingJournal(AlarmJournal):
    """A journal on a disk that can be full."""

    full = False

    async def commit(
        self,
        progress: Progress,
        conditions: Sequence[Tracked],
        changes: Sequence[Change],
        records: Sequence[EventRecord] = (),
    ) -> int:
        if self.full:
            raise StorageError("disk full")
        return await super().commit(progress, conditions, changes, records)

    async def end(self, entry: Entry, result: str, detail: str, now: int) -> None:
        if self.full:
            raise StorageError("disk full")
        await super().end(entry, result, detail, now)


class Bench:
    """An engine on a manual clock, fed by hand."""

    def __init__(self, site: Site, path: Path, settings: AlertsSettings | None = None) -> None:
        self.site = site
        self.path = path
        self.settings = settings or AlertsSettings.model_validate_json(RULES_ALONE)
        self.clock = ManualClock(START)
        self.reader = FakeJournal(self.clock)
        self.silent: set[str] = set()
        """Devices that send nothing."""
        self.flows: Flows = STEADY
        self.cursors: FakeCursors | None = None
        self.ailments: list[Ailment] = []
        self.urgent: list[Notification] = []
        self.publish: Publish | None = None
        self.audit: Callable[[Act], Awaitable[object]] | None = None
        self.schedules: ScheduleBook | None = None
        self.ledger: Callable[[], LedgerView | None] = lambda: None
        self._seq = 0

    def append(self, device: str, values: tuple[float, ...], t_source: int = 0, quality: int = 0) -> None:
        """Commits one message of a device."""
        points = self.site.points_of(device)
        self._seq += 1
        now = self.clock.now_ns()
        self.reader.append(
            ReadingBatch.of(
                "test",
                1,
                self._seq,
                now,
                point=[point.index for point in points],
                t_source=[t_source or now] * len(points),
                value=list(values),
                quality=[quality] * len(points),
            )
        )

    def tap(self, mw: float) -> None:
        """Puts a load on the line SHY-TAS, fed from Tashkent."""
        p, q, v = STEADY["SHY-TAS", "TAS"]
        self.flows = dict(STEADY) | {("SHY-TAS", "TAS"): (p + mw, q, v)}

    def send(self) -> None:
        """Lets every device that is not silent send."""
        for branch, node in ENDS:
            device = f"{branch}_{node}_main"
            if device not in self.silent:
                self.append(device, self.flows[branch, node])

    async def run(self, seconds: int) -> None:
        """Lets the devices send once a second."""
        for _ in range(seconds):
            self.send()
            await self.clock.advance(1.0)
            await self._io()

    async def _io(self) -> None:
        """Waits for the transactions that run in a thread."""
        for _ in range(2):
            await self.journal.load()
            await settle()

    async def _begun(self) -> None:
        """Waits until a run has taken up what was left: it reads twice and commits."""
        await settle()
        for _ in range(2):
            await self._io()

    @asynccontextmanager
    async def running(self, journal: AlarmJournal | None = None) -> AsyncIterator[Desk]:
        """The engine at work, over the same files at every call; one that died is only buried."""
        async with journal or AlarmJournal(self.path, ["log"]) as self.journal:
            self.engine = AlarmEngine(
                self.site,
                self.settings,
                self.reader,
                self.journal,
                self.clock,
                cursors=self.cursors,
                ailments=lambda: self.ailments,
                urgent=self.urgent.append,
                publish=self.publish,
                audit=self.audit,
                schedules=self.schedules,
                ledger=self.ledger,
            )
            self.task = asyncio.create_task(self.engine.run())
            await self._begun()
            try:
                yield Desk(self.engine, self.journal)
            finally:
                task = self.task
                task.cancel()
                await asyncio.wait([task])
                died = isinstance(self.journal, MortalJournal) and self.journal.dead
                if died:
                    task.exception()
                elif not task.cancelled():
                    task.result()

    async def rerun(
        self,
        site: Site,
        settings: AlertsSettings,
        between: Callable[[], Awaitable[object]] = settle,
    ) -> None:
        """Ends the engine's run and begins another, as a reload does; inside :meth:`running`."""
        self.task.cancel()
        await asyncio.wait([self.task])
        await between()
        self.engine.reconfigure(site, settings)
        self.task = asyncio.create_task(self.engine.run())
        await self._begun()


@pytest.fixture
def bench(site: Site, tmp_path: Path) -> Bench:
    return Bench(site, tmp_path / "alarms.sqlite")


@pytest.fixture
def refusing_journal(tmp_path: Path) -> RefusingJournal:
    return RefusingJournal(tmp_path / "alarms.sqlite", ["log"])


@pytest.fixture
def mortal_journal(tmp_path: Path) -> Callable[..., MortalJournal]:
    return partial(MortalJournal, tmp_path / "alarms.sqlite")
