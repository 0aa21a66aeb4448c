"""A console with fakes behind it, and a site to show: the reference corridor or two nodes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from alerts.alarms import Alarm, AlarmState, Priority
from console.api import Api
from console.app import Console
from console.config import ConsoleSettings
from console.corridor import site_view
from console.fakes import (
    FakeAlarmDesk,
    FakeAnnouncements,
    FakeInsight,
    FakeLedger,
    FakeLiveValues,
    FakeScheduleDesk,
    FakeSystemStatus,
)
from console.feed import Feed
from console.passwords import Scrypt
from console.ports import Ports
from console.server import serving
from console.sessions import Sessions
from ingest.fakes import FakeStore
from telemetry.clock import Clock
from telemetry.devices import Device
from telemetry.grid import Grid
from telemetry.profiles import DeviceProfile
from telemetry.registry import PointRegistry
from telemetry.settings import Settings, parse
from telemetry.site import Site, point_keys

TOKEN = "a-token-for-tests-with-at-least-32-characters"
FAST = Scrypt(n=2, r=1, p=1)
"""Hashes a password at once; the usual parameters take a tenth of a second."""

NODES = {
    "EKI": ("Ekibastuz", "KZ", 51.7, 75.3),
    "NUR": ("Nura-Agadyr", "KZ", 48.9, 72.9),
    "SHU": ("Shu", "KZ", 43.6, 73.8),
    "ALM": ("Almaty", "KZ", 43.3, 76.9),
    "ZHB": ("Zhambyl", "KZ", 42.9, 71.4),
    "SHY": ("Shymkent", "KZ", 42.3, 69.6),
    "TAS": ("Tashkent", "UZ", 41.3, 69.3),
    "NAV": ("Navoi", "UZ", 40.1, 65.4),
    "BUK": ("Bukhara", "UZ", 39.8, 64.4),
    "KUN": ("Kungrad", "UZ", 43.1, 58.9),
    "AKT": ("Aktau", "KZ", 43.7, 51.2),
    "KRB": ("Karabatan", "KZ", 47.1, 52.0),
    "ULK": ("Ulke", "KZ", 50.3, 57.9),
    "ALT": ("Alat-Navahi", "AZ", 40.0, 49.4),
    "ABS": ("Absheron", "AZ", 40.5, 49.6),
    "MGC": ("Mingachevir", "AZ", 40.8, 47.1),
    "SAM": ("Samukh", "AZ", 40.8, 46.4),
}
LINES = {
    "EKI-NUR": (300, 3, 2100, 932),
    "NUR-SHU": (800, 3, 2100, 669),
    "SHU-ALM": (300, 2, 1400, 913),
    "SHU-ZHB": (240, 2, 1400, 32),
    "ZHB-SHY": (180, 2, 1400, 130),
    "SHY-TAS": (120, 2, 600, -322),
    "TAS-NAV": (420, 2, 1200, -637),
    "NAV-BUK": (170, 2, 1200, -299),
    "BUK-KUN": (650, 1, 600, 299),
    "KUN-AKT": (720, 2, 1000, 789),
    "AKT-KRB": (465, 1, 500, -188),
    "KRB-ULK": (604, 1, 500, -92),
    "ULK-EKI": (1400, 1, 500, -296),
    "ALT-ABS": (70, 2, 1500, 840),
    "ALT-MGC": (230, 1, 900, 291),
    "ABS-MGC": (270, 1, 900, 137),
    "MGC-SAM": (65, 1, 700, 623),
}
"""Length [km], circuits, limit [MW] and flow at the first end in the base case [MW]."""
TIES = {
    "SHY-TAS": ("ring", "KZ", "UZ", "TAS", 323, 600),
    "KUN-AKT": ("ring", "UZ", "KZ", "KUN", 789, 1000),
    "AKT-ALT": ("hvdc", "KZ", "AZ", "AKT", 800, 1000),
    "MGC-SAM": ("radial", "AZ", "Georgia", "SAM", 620, 700),
}
PLANTS = {
    "ekibastuz-thermal": ("EKI", 1600),
    "saran-solar": ("NUR", 100),
    "mirny-wind": ("SHU", 1000),
    "kapshagay-solar": ("ALM", 100),
    "zhanatas-wind": ("ZHB", 100),
    "zarafshan-wind": ("NAV", 500),
    "bash-wind": ("BUK", 500),
    "kungrad-wind": ("KUN", 1500),
    "bilasuvar-solar": ("ALT", 445),
    "khizi-wind": ("ABS", 240),
    "mingachevir-hydro": ("MGC", 420),
}

METER = """
id = "pm5xxx"
title = "Revenue meter"
source = "test"
[points.A]
title = "Current, average"
unit = "A"
[points.PPV]
title = "Voltage, line to line"
unit = "kV"
[points.TotW]
title = "Active power"
unit = "MW"
[points.Hz]
title = "Frequency"
unit = "Hz"
[modbus.registers]
A = {address = 3009, type = "float32"}
PPV = {address = 3025, type = "float32"}
TotW = {address = 3059, type = "float32"}
Hz = {address = 3109, type = "float32"}
"""
BUS_METER = """
id = "bus-meter"
title = "Busbar meter"
source = "test"
[points.TotW]
title = "Active power into the bus"
unit = "MW"
[points.PPV]
title = "Voltage, line to line"
unit = "kV"
[points.Hz]
title = "Frequency"
unit = "Hz"
[json]
time_field = "ts"
fields = {TotW = {field = "p_mw"}, PPV = {field = "v_kv"}, Hz = {field = "f_hz"}}
"""
PLANT = """
id = "plant"
title = "Plant controller"
source = "test"
[points.W]
title = "Active power of the plant"
unit = "MW"
[json]
time_field = "ts"
fields = {W = {field = "p_mw"}}
"""


class _Devices(Settings):
    device: tuple[Device, ...]


def grid_text(nodes: Collection[str]) -> str:
    parts = [
        'u_rated_kv = 500\nillustrative = "Ratings and the two hypothetical ties are illustrative."',
        "[line_parameters]\nr_ohm_per_km = 0.025\nx_ohm_per_km = 0.306\nb_us_per_km = 3.6",
        "corona_kw_per_km = 2.4",
    ]
    for area, name, operator, hours in (
        ("KZ", "Kazakhstan", "KEGOC", 5),
        ("UZ", "Uzbekistan", "National Electric Grid of Uzbekistan", 5),
        ("AZ", "Azerbaijan", "AzerEnerji", 4),
    ):
        parts.append(
            f'[[area]]\nid = "{area}"\nname = "{name}"\noperator = "{operator}"\nutc_offset_h = {hours}\n'
            f'sync_area = "IPS/UPS"'
        )
    for node, (name, area, latitude, longitude) in NODES.items():
        if node not in nodes:
            continue
        parts.append(
            f'[[node]]\nid = "{node}"\nname = "{name}"\narea = "{area}"\nlatitude = {latitude}\n'
            f"longitude = {longitude}"
        )
    for line, (km, circuits, limit, _) in LINES.items():
        start, end = line.split("-")
        if start not in nodes or end not in nodes:
            continue
        parts.append(
            f'[[line]]\nid = "{line}"\nfrom = "{start}"\nto = "{end}"\ncircuits = {circuits}\n'
            f"limit_mw = {limit}\nsections = [{{km = {km}}}]"
        )
    if "AKT" in nodes:
        parts.append(
            '[[hvdc]]\nid = "AKT-ALT"\nfrom = "AKT"\nto = "ALT"\nkm = 436\nlimit_mw = 1000\nu_dc_kv = 525\n'
            "r_ohm_per_km = 0.0113\nconverter_const_loss_mw = 1.0\nconverter_prop_loss = 0.007"
        )
    for tie, (kind, here, there, delivery, mw, ntc) in TIES.items():
        if not set(tie.split("-")) <= set(nodes):
            continue
        parts.append(
            f'[[tie]]\nid = "{tie}"\nkind = "{kind}"\nfrom_area = "{here}"\nto_area = "{there}"\n'
            f'delivery_node = "{delivery}"\nntc_mw = {ntc}\n'
            f"schedule = [{{start = 2026-01-01T00:00:00Z, mw = {mw}}}]"
        )
    return "\n".join(parts)


def devices_text(nodes: Collection[str]) -> str:
    parts = []
    units: dict[str, int] = {}
    for branch in [*LINES, "AKT-ALT"]:
        if not set(branch.split("-")) <= set(nodes):
            continue
        for node in branch.split("-"):
            units[node] = units.get(node, 0) + 1
            parts.append(
                f'[[device]]\nid = "{branch}_{node}_main"\nprofile = "pm5xxx"\nnode = "{node}"\n'
                f'branch = "{branch}"\nrole = "main"\nmodbus = {{gateway = "{node}", unit = {units[node]}}}'
            )
    parts += [
        f'[[device]]\nid = "{node}_injection"\nprofile = "bus-meter"\nnode = "{node}"\n'
        f'role = "injection"\nmqtt = {{broker = "main", topic = "corridor/{node}/injection"}}'
        for node in nodes
    ]
    parts += [
        f'[[device]]\nid = "{plant}"\nprofile = "plant"\nnode = "{node}"\nrole = "plant"\n'
        f'rated_mw = {rated}\nmqtt = {{broker = "main", topic = "corridor/{node}/{plant}"}}'
        for plant, (node, rated) in PLANTS.items()
        if node in nodes
    ]
    return "\n".join(parts)


def build_site(
    name: str = "Green corridor",
    nodes: Collection[str] = tuple(NODES),
    rename: Callable[[str], str] = lambda text: text,
) -> Site:
    grid = parse(rename(grid_text(nodes)), "grid.toml", Grid)
    devices = parse(devices_text(nodes), "devices.toml", _Devices).device
    profiles = {
        profile.id: profile
        for profile in (
            parse(rename(text), "profile.toml", DeviceProfile) for text in (METER, BUS_METER, PLANT)
        )
    }
    registry = PointRegistry(point_keys(devices, profiles))
    return Site.of(name, grid, devices, profiles, registry)


def make_alarm(now: int, **changes: object) -> Alarm:
    values: dict[str, object] = {
        "id": "R6-SHY-TAS-1",
        "key": "R6/SHY-TAS",
        "rule": "R6",
        "rule_version": 1,
        "asset": "SHY-TAS",
        "area": "KZ",
        "title": "SHY-TAS: 29.8 MW missing between the two ends",
        "priority": Priority.HIGH,
        "state": AlarmState.UNACKNOWLEDGED,
        "value": 29.8,
        "limit": 6.1,
        "unit": "MW",
        "quality": "good",
        "t_source": now,
        "t_received": now,
        "raised_at": now,
        "updated_at": now,
        "cause": "An unmetered tap, a meter that lies, or wrong line data.",
        "consequence": "Energy leaves the corridor without being accounted for.",
        "response": "Compare the parallel circuits, then the check meters; call both dispatchers.",
        "evidence": {"P at SHY [MW]": -307.4, "P at TAS [MW]": 338.6, "loss model [MW]": 1.4},
    }
    return Alarm(**(values | changes))  # type: ignore[arg-type]


@dataclass
class Rig:
    """A console with fakes behind it."""

    clock: Clock
    site: Site
    live: FakeLiveValues
    store: FakeStore
    desk: FakeAlarmDesk
    status: FakeSystemStatus
    announcements: FakeAnnouncements
    schedules: FakeScheduleDesk
    ledger: FakeLedger
    insight: FakeInsight
    path: Path
    """Of the sessions' file."""

    @classmethod
    def of(cls, clock: Clock, path: Path, site: Site | None = None) -> Rig:
        site = site or build_site()
        return cls(
            clock,
            site,
            FakeLiveValues(clock),
            FakeStore(),
            FakeAlarmDesk(clock),
            FakeSystemStatus(clock, len(site.devices), sorted(site.links)),
            FakeAnnouncements(),
            FakeScheduleDesk(site.grid, clock),
            FakeLedger(),
            FakeInsight(clock, site),
            path,
        )

    @property
    def ports(self) -> Ports:
        return Ports(
            self.live,
            self.store,
            self.desk,
            self.status,
            self.announcements,
            self.schedules,
            self.ledger,
            self.insight,
        )

    def point(self, path: str) -> int:
        device, _, name = path.partition("/")
        point = self.site.find(device, name)
        assert point is not None, path
        return point.index

    def put_base_case(self, factor: float = 1.0) -> None:
        """Fills the live values with a plausible state."""
        flows = {line: float(data[3]) for line, data in LINES.items()} | {"AKT-ALT": 800.0}
        injections = dict.fromkeys(NODES, 0.0)
        for branch, flow in flows.items():
            start, end = branch.split("-")
            if self.site.find(f"{branch}_{start}_main", "TotW") is None:
                continue
            near, far = flow * factor, -flow * factor + abs(flow) * 0.015
            injections[start] += near
            injections[end] += far
            for node, power in ((start, near), (end, far)):
                self.live.put(self.point(f"{branch}_{node}_main/TotW"), power)
        for i, (node, power) in enumerate(injections.items()):
            if f"{node}_injection" not in self.site.devices:
                continue
            self.live.put(self.point(f"{node}_injection/TotW"), power)
            self.live.put(self.point(f"{node}_injection/PPV"), 500 + 15 * ((i * 7) % 10) / 10)
            self.live.put(self.point(f"{node}_injection/Hz"), 50.004 if NODES[node][1] != "AZ" else 49.991)
        for plant, (_, rated) in PLANTS.items():
            if plant in self.site.devices:
                self.live.put(self.point(f"{plant}/W"), rated * 0.6 * factor)


def console_of(rig: Rig, sessions: Sessions, settings: ConsoleSettings | None = None) -> tuple[Console, Feed]:
    """The application without a server."""
    settings = settings or ConsoleSettings()
    view = site_view(rig.site)
    feed = Feed(rig.clock, view, rig.ports)
    api = Api(
        settings, clock=rig.clock, site=rig.site, view=view, ports=rig.ports, sessions=sessions, feed=feed
    )
    return Console(settings, api, sessions, feed, rig.status), feed


@asynccontextmanager
async def connected(console: Console) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application, without a socket; it cannot follow a stream."""
    base = "http://localhost"
    transport = httpx.ASGITransport(console.app)
    async with httpx.AsyncClient(transport=transport, base_url=base, headers={"origin": base}) as client:
        yield client


@asynccontextmanager
async def served(rig: Rig) -> AsyncIterator[str]:
    """A running console whose token is TOKEN; gives its address."""
    async with (
        Sessions(rig.path, rig.clock) as sessions,
        serving(ConsoleSettings(port=0), rig.clock, rig.site, rig.ports, sessions) as console,
    ):
        await sessions.offer(TOKEN)
        yield console.url
