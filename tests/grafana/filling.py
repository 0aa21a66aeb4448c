"""Two minutes of the simulated corridor with their events, in an InfluxDB and in an embedded store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from alerts.alarms import Alarm, AlarmState, Priority
from alerts.journal import AlarmJournal, Progress
from alerts.kpi import ALL, AlarmKpis
from alerts.lifecycle import Event
from alerts.occurrence import Change
from alerts.settlement.interval import AccountKind, EnergyQuality, Interval
from console.ports import Latency, LinkStatus, Status, StoreStatus
from greenbridge.own_state import records
from greenbridge.settings import Configuration
from ingest.config import EmbeddedSettings, InfluxSettings
from ingest.fakes import FakeCursors, FakeJournal, FakeLetters
from ingest.ports import EventRecord, Store, Totals
from ingest.stores.embedded.store import EmbeddedStore
from ingest.stores.influx.store import InfluxStore
from simulators.bench import load_file
from simulators.devices.generation import Condition, Generation
from simulators.devices.payloads import PAYLOADS
from simulators.state import BenchState
from telemetry.batch import ReadingBatch
from telemetry.clock import ManualClock
from telemetry.devices import Role
from telemetry.quality import Quality
from telemetry.registry import PointRegistry
from telemetry.site import Site
from tests.support.influx import Influxd, bench_on

SECOND = 1_000_000_000
START = 1_767_268_800 * SECOND  # 2026-01-01 12:00 UTC
LENGTH_S = 120
TAP = ("SHY-TAS", 30.0, 60)
"""Line, size [MW] and start [s] of the simulated tap."""
SILENT = ("NAV-BUK_BUK_main", 30, 50)
"""A meter that is silent in between [s]."""
BROKEN = ("TAS_injection", "zarafshan-wind")
"""Devices whose values are bad throughout."""
UNITS_EVERY_S = 5
"""Period of turbines and inverters here."""

METERED = {"TotW": "p_mw", "W": "p_mw", "TotVAr": "q_mvar", "VAr": "q_mvar", "PPV": "v_kv", "Hz": "f_hz"}
PUBLISHED = {
    "W": "p_mw", "VAr": "q_mvar", "AvlW": "avail_mw", "HorWdSpd": "wind_ms", "GHI": "ghi_w_m2",
    "OnlCnt": "online", "TotW": "p_mw", "TotVAr": "q_mvar", "PPV": "v_kv", "Hz": "f_hz",
}  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """Where it lies."""

    influxd: str
    """Address of the InfluxDB itself."""
    bucket: str
    embedded: Path
    site: Site


async def fill(influxd: Influxd, configuration: Configuration, folder: Path) -> Stored:
    """Plays the corridor into both stores, the events through the journal of alarms."""
    registry = PointRegistry(configuration.keys())
    site = configuration.site(registry)
    clock = ManualClock(START)
    async with AsyncExitStack() as stack:
        bench = await stack.enter_async_context(bench_on(influxd))
        settings = InfluxSettings(url=bench.url, org=bench.org, bucket=bench.bucket, token_env="TOKEN")
        influx = InfluxStore(
            settings, site, registry, cursors=FakeCursors(), letters=FakeLetters(), clock=clock,
            environment={"TOKEN": bench.token},
        )  # fmt: skip
        embedded = EmbeddedStore(folder / "embedded.duckdb", EmbeddedSettings())
        alarms = await stack.enter_async_context(AlarmJournal(folder / "alarms.sqlite"))
        await stack.enter_async_context(influx)
        await stack.enter_async_context(embedded)
        stores: list[Store] = [influx, embedded]
        journal = FakeJournal()
        for batch in measured(site):
            journal.append(batch)
        await alarms.commit(Progress(), [], list(changes()), list(events()))
        for store in stores:
            for offset in range(journal.head):
                await store.apply(await journal.read(offset, 1))
            await store.apply_events(await alarms.events(0))
        return Stored(influxd.url, bench.bucket, folder / "embedded.duckdb", site)


def measured(site: Site) -> Iterator[ReadingBatch]:
    """What the simulated corridor measures in two minutes, with a tap in the second one."""
    bench = load_file(None, {"GB_TAP_AT_S": str(TAP[2]), "GB_TAP_MW": str(TAP[1])})
    state = BenchState(bench, START)
    units = [d.id for d in site.devices.values() if d.role is Role.UNIT]
    rows: list[tuple[int, int, float, int]] = []
    for second in range(1, LENGTH_S + 1):
        now = START + second * SECOND
        state.step(second, now)
        for device, reading in zip(state.metered, state.readings, strict=True):
            if device.id == SILENT[0] and SILENT[1] <= second < SILENT[2]:
                continue
            if device.kind.value in PAYLOADS:
                plant = state.world.fleet.index.get(device.plant or "", -1)
                said = PAYLOADS[device.kind.value](reading, state.world.snapshot.plants, plant, now // 10**6)
                values = {p: float(said[name]) for p, name in PUBLISHED.items() if name in said}
            else:
                values = {point: float(getattr(reading, name)) for point, name in METERED.items()}
            rows += _rows(site, device.id, now, values, broken=device.id in BROKEN)
        if second % UNITS_EVERY_S == 0:
            seen = [state.look(device) for device in state.sight]
            known = dict(zip(state.sight, seen, strict=True))
            # edge nodes of Sparkplug have no sight of their own: they tell what a turbine sees
            for unit in units:
                rows += _rows(site, unit, now, _inside(site, unit, known.get(unit, seen[0])))
        if second % 30 == 0:
            point, t_source, value, code = zip(*rows, strict=True)
            yield ReadingBatch.of(
                "bench", 1, second, now, point=point, t_source=t_source, value=value, quality=code
            )
            rows = []


def _rows(
    site: Site, device: str, now: int, values: Mapping[str, float], *, broken: bool = False
) -> Iterator[tuple[int, int, float, int]]:
    quality = Quality.OUT_OF_RANGE if broken else Quality.GOOD
    for one in site.points_of(device):
        if one.key.name in values:
            yield one.index, now, 1e6 if broken else values[one.key.name], quality


def _inside(site: Site, device: str, seen: Generation) -> dict[str, float]:
    values = {"W": seen.p_mw, "AvlW": seen.available_mw, "HorWdSpd": seen.wind_m_s, "EnvTmp": seen.air_c}
    for one in site.points_of(device):
        if one.spec.states:
            codes = [float(code) for code in one.spec.states]
            values[one.key.name] = codes[list(Condition).index(seen.condition) % len(codes)]
    return values


def alarm(rule: str, asset: str, raised_s: int, area: str = "KZ") -> Alarm:
    at = START + raised_s * SECOND
    return Alarm(
        id=f"{rule}-{asset}-1", key=f"{rule}/{asset}", rule=rule, rule_version=1, asset=asset, area=area,
        title=f"{asset} is wrong", priority=Priority.MEDIUM, state=AlarmState.UNACKNOWLEDGED, value=29.8,
        limit=3.1, unit="MW", quality="good", t_source=at, t_received=at, raised_at=at, updated_at=at,
    )  # fmt: skip


def life(raised: Alarm, *further: tuple[Event, AlarmState]) -> list[Change]:
    """The life of an alarm, one step every ten seconds."""
    steps = [Change(Event.RAISE, "", AlarmState.NORMAL, raised)]
    for event, state in further:
        before = steps[-1].alarm
        after = replace(before, state=state, updated_at=before.updated_at + 10 * SECOND)
        steps.append(Change(event, "", before.state, after))
    return steps


def changes() -> Iterator[Change]:
    """An alarm that is over, one that is acknowledged, one held back, and two about other things."""
    seen = (Event.ACKNOWLEDGE, AlarmState.ACKNOWLEDGED)
    yield from life(alarm("R1", "AKT-ALT", 20), seen, (Event.CLEAR, AlarmState.NORMAL))
    yield from life(alarm("R6", "SHY-TAS", 90), seen)
    yield from life(alarm("R13", "modbus/SHY", 71, "UZ"), (Event.SUPPRESS, AlarmState.SUPPRESSED))
    yield from life(alarm("SYSTEM", "store/influx", 33, "AZ"), (Event.CLEAR, AlarmState.NORMAL))


def intervals() -> Iterator[Interval]:
    """A quarter of an hour of a tie with a revision, of a contract, and an hour."""
    energies = (200.0, 199.0, None, -1.0, None, 4.7, 100.0)
    tie = Interval(
        "AKT-ALT", AccountKind.TIE, "KZ", 15, START, *energies, EnergyQuality.BRIDGED, reason="closed"
    )
    yield tie
    yield replace(tie, metered_mwh=201.5, inadvertent_mwh=1.5, revision=1, reason="late data")
    yield replace(tie, account="UZ-AZ-transit", kind=AccountKind.CONTRACT, wheeled_mwh=125.0)
    yield replace(tie, minutes=60, metered_mwh=800.25)


def events() -> Iterator[EventRecord]:
    """Settled intervals, indicators of the alarms, greenbridge's own state."""
    yield from (interval.record() for interval in intervals())
    kpis, raised = AlarmKpis(), list(changes())
    for change in raised:
        kpis.take(change.event, change.before, change.alarm)
    for position in (ALL, "KZ"):
        yield kpis.indicators(START + 110 * SECOND, [raised[-1].alarm], [], position).record()
    store = StoreStatus("embedded", 1000, Totals(stored=990), 10, 0.25)
    links = [LinkStatus("modbus/SHY", up=True, since=START)]
    for second in (30, 90):
        stores, latency = [store, replace(store, name="influx")], Latency(0.01, 0.05)
        status = Status(START, 190, 189, 190.5, 1000 * second, 3, latency, links, stores)
        yield from records(status, 10**11, START + second * SECOND)
