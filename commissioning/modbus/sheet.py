"""The point-to-point check sheet: what each point of a profile reads on a device; pure."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from adapters.modbus.codec import Request
from adapters.modbus.plan import DevicePlan, Read, Wanted, plan_device
from adapters.modbus.sunspec.chain import BASES, Chain, survey
from adapters.modbus.sunspec.mapping import plan_sunspec
from commissioning.drafts import drafted_device
from commissioning.modbus.faults import UNREACHED, exception_name, exception_text
from commissioning.modbus.plausibility import Measured, Verdict, contradictions, judged, possible_orders
from commissioning.modbus.target import GATEWAY
from commissioning.modbus.walk import Reply, Walk
from commissioning.tables import aligned, number
from telemetry.devices import ModbusAddress
from telemetry.errors import UnavailableError
from telemetry.points import PointKey
from telemetry.profiles import DeviceProfile, RegisterTable, WordOrder
from telemetry.quality import reason_of
from telemetry.site import SitePoint

COLUMNS = ("point", "title", "table", "address", "raw", "value", "unit", "verdict", "remark")
_SPLITTABLE = frozenset({2, 3})


@dataclass(frozen=True, slots=True)
class Row:
    """One point."""

    point: str
    title: str
    table: str
    address: int | None
    """Wire address; None for a point that the device does not have."""
    raw: str
    """Words in hexadecimal."""
    value: float | None
    unit: str
    verdict: Verdict
    remark: str = ""
    quality: str = ""
    orders: frozenset[WordOrder] = frozenset()
    """Other word orders in which the value would be possible."""

    def cells(self) -> list[str]:
        """As text, in the order of the columns."""
        return [
            self.point,
            self.title,
            self.table,
            "" if self.address is None else str(self.address),
            self.raw,
            "" if self.value is None else number(self.value),
            "" if self.unit == "1" else self.unit,
            self.verdict.value,
            self.remark,
        ]


@dataclass(slots=True)
class Sheet:
    """Every point of a profile on a device."""

    profile: DeviceProfile
    unit: int
    rows: list[Row] = field(default_factory=list)
    advice: tuple[str, ...] = ()
    """What the points together say of the profile."""

    @property
    def sound(self) -> bool:
        """True when every point is plausible."""
        return all(row.verdict is Verdict.OK for row in self.rows)

    @property
    def counts(self) -> dict[str, int]:
        """Points by verdict."""
        return {verdict.value: sum(row.verdict is verdict for row in self.rows) for verdict in Verdict}

    def trimmed(self) -> DeviceProfile | None:
        """The profile with those points only that the device has; None if it has none of them."""
        there = (row for row in self.rows if row.address is not None)
        kept = {row.point for row in there if row.verdict is not Verdict.ABSENT}
        if not kept:
            return None
        change: dict[str, Any] = {
            "id": f"{self.profile.id}-checked"[:64],
            "points": {name: spec for name, spec in self.profile.points.items() if name in kept},
        }
        if self.profile.modbus is not None:
            own = {name: at for name, at in self.profile.modbus.registers.items() if name in kept}
            change["modbus"] = self.profile.modbus.model_copy(update={"registers": own})
        if self.profile.sunspec is not None:
            named = {name: at for name, at in self.profile.sunspec.points.items() if name in kept}
            change["sunspec"] = self.profile.sunspec.model_copy(update={"points": named})
        return self.profile.model_copy(update=change)

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "profile": self.profile.id,
            "unit": self.unit,
            "counts": self.counts,
            "advice": list(self.advice),
            "points": [
                {
                    "point": row.point,
                    "title": row.title,
                    "table": row.table,
                    "address": row.address,
                    "raw": row.raw,
                    "value": row.value,
                    "unit": row.unit,
                    "quality": row.quality,
                    "verdict": row.verdict.value,
                    "remark": row.remark,
                }
                for row in self.rows
            ],
        }

    def text(self) -> str:
        """For people."""
        told = ", ".join(f"{count} {verdict}" for verdict, count in self.counts.items() if count)
        shown = [[cell for n, cell in enumerate(row.cells()) if n not in {1, 2}] for row in self.rows]
        heading = [name for n, name in enumerate(COLUMNS) if n not in {1, 2}]
        table = aligned(heading, shown, {1, 3})
        return "\n".join(
            [f"Check sheet of {self.profile.id}: {told}", table, *(f"  {s}" for s in self.advice)]
        )

    def csv(self) -> str:
        """As comma-separated values (RFC 4180) with a heading."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        writer.writerows([_harmless(cell) for cell in row.cells()] for row in self.rows)
        return text.getvalue()


def _harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; numbers stay numbers."""
    if cell[:1] in {"=", "+", "-", "@"}:
        try:
            float(cell)
        except ValueError:
            return f"'{cell}"
    return cell


def check_sheet(profile: DeviceProfile, unit: int) -> Walk[Sheet]:
    """Reads every point of a profile, as a site would, and judges what comes.

    Raises
    ------
    ConfigError
        The profile is not on Modbus.
    NotSunSpecError
        It is a SunSpec one, and the device is not.
    UnavailableError
        A gateway does not reach the unit.

    """
    points = site_points(profile, unit)
    if profile.sunspec is not None:
        base = profile.sunspec.base
        chain = yield from surveyed(unit, BASES if base is None else (base,))
        plan = plan_sunspec(points[0].device, points, chain)
    else:
        plan = plan_device(points[0].device, points)
    rows: dict[str, Row] = {}
    refused: set[int] = set()
    waiting = list(plan.reads)
    while waiting:
        read = waiting.pop(0)
        reply = yield read.request(unit)
        if reply.code in UNREACHED and not rows:
            raise UnavailableError(f"unit {unit}: {exception_text(reply.code)}")
        if reply.code is not None:
            refused.add(reply.code)
        if reply.code in _SPLITTABLE and (parts := read.smaller()):
            waiting[:0] = parts
            continue
        rows |= _rows(profile, read, reply)
    rows, advice = _swapped(rows)
    # that a register is missing needs no explanation, unless all are
    unexplained = refused - {2} if any(row.raw for row in rows.values()) else refused
    explained = map(exception_text, sorted(unexplained))
    return Sheet(profile, unit, _company(profile, rows, plan), (*advice, *explained))


def surveyed(unit: int, bases: Sequence[int]) -> Walk[Chain]:
    """Walks the models of a SunSpec device; raises NotSunSpecError as the adapter's survey does."""
    walk = survey(bases)
    try:
        address, count = next(walk)
        while True:
            reply = yield Request(0, unit, RegisterTable.HOLDING, address, count)
            if reply.code in UNREACHED:
                raise UnavailableError(f"unit {unit}: {exception_text(reply.code)}")
            address, count = walk.send(reply.data if reply.ok else None)
    except StopIteration as end:
        chain: Chain = end.value
        return chain


def site_points(profile: DeviceProfile, unit: int) -> list[SitePoint]:
    """The points of a profile as those of a device."""
    device = drafted_device(unit, profile.id, modbus=ModbusAddress(gateway=GATEWAY, unit=unit))
    return [
        SitePoint(index, PointKey(device.id, name, spec.unit.value), spec, device, profile)
        for index, (name, spec) in enumerate(profile.points.items())
    ]


def _rows(profile: DeviceProfile, read: Read, reply: Reply) -> dict[str, Row]:
    if not reply.ok:
        return {want.name: _refused(profile, want, reply) for want in read.wanted}
    value, quality = read.decoder.decode(reply.data)
    rows = {}
    for want, own, code in zip(read.wanted, value.tolist(), quality.tolist(), strict=True):
        first = 2 * (want.address - read.address)
        octets = reply.data[first : first + 2 * want.slot.type.registers]
        spec = profile.points[want.name]
        measured = Measured(spec, want.slot, read.order, octets, own, code)
        verdict, remark = judged(measured)
        rows[want.name] = replace(
            _bare(profile, want),
            raw=octets.hex(" ", 2),
            value=own if np.isfinite(own) else None,
            quality=reason_of(code),
            verdict=verdict,
            remark=remark,
            orders=frozenset(possible_orders(measured)),
        )
    return rows


def _bare(profile: DeviceProfile, want: Wanted) -> Row:
    spec = profile.points[want.name]
    table = want.table.value
    return Row(want.name, spec.title, table, want.address, "", None, spec.unit.value, Verdict.BAD)


def _refused(profile: DeviceProfile, want: Wanted, reply: Reply) -> Row:
    absent = reply.code == 2
    verdict = Verdict.ABSENT if absent else Verdict.BAD
    remark = "no answer" if reply.code is None else exception_name(reply.code)
    if absent:
        remark = "the device has no such register"
    return replace(_bare(profile, want), verdict=verdict, remark=remark, quality="device_refused")


def _company(profile: DeviceProfile, rows: Mapping[str, Row], plan: DevicePlan) -> list[Row]:
    """The rows in the profile's order, with what is not there, and with what contradicts."""
    absent = {want.name for want in plan.absent}
    values = {n: row.value for n, row in rows.items() if row.verdict is Verdict.OK and row.value is not None}
    units = {name: spec.unit.value for name, spec in profile.points.items()}
    odd = contradictions(values, units)
    found = []
    for name, spec in profile.points.items():
        if name in absent or name not in rows:
            text = "the device's models do not hold it"
            found.append(Row(name, spec.title, "", None, "", None, spec.unit.value, Verdict.ABSENT, text))
        elif name in odd:
            found.append(replace(rows[name], verdict=Verdict.SUSPECT, remark=odd[name]))
        else:
            found.append(rows[name])
    return found


def _swapped(rows: dict[str, Row]) -> tuple[dict[str, Row], tuple[str, ...]]:
    """Doubts what is possible, where another word order mends more of the long values than it spoils."""
    sound = {name: row for name, row in rows.items() if row.verdict is Verdict.OK and " " in row.raw}
    mended = Counter(order for name, row in rows.items() if name not in sound for order in row.orders)
    gain = {order: n - sum(order not in row.orders for row in sound.values()) for order, n in mended.items()}
    best = max(gain, key=lambda order: (gain[order], -list(WordOrder).index(order)), default=None)
    if best is None or mended[best] < 2 or gain[best] <= 0:
        return rows, ()
    remark = f'possible, but other points say word_order = "{best}"'
    doubted = {
        name: replace(row, verdict=Verdict.SUSPECT, remark=remark)
        for name, row in sound.items()
        if best in row.orders
    }
    advice = f'word_order = "{best}" in the profile would make {mended[best]} impossible values possible'
    return rows | doubted, (advice,)
