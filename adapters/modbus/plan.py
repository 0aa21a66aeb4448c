"""Planning of reads: which registers of a device are asked for together, and what stands in the reply."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from adapters.modbus.codec import MAX_COILS, MAX_REGISTERS, Request
from adapters.modbus.decoding import BlockDecoder, Slot
from telemetry.batch import POINT_DTYPE
from telemetry.devices import Device
from telemetry.errors import ConfigError, Problem
from telemetry.profiles import ModbusMap, RegisterTable, WordOrder
from telemetry.site import SitePoint


@dataclass(frozen=True, slots=True)
class Wanted:
    """One value to be read: the point, its wire address and how it is encoded there."""

    index: int
    """Index of the point in the registry."""
    name: str
    address: int
    slot: Slot
    """As if the read began at ``address``."""
    table: RegisterTable = RegisterTable.HOLDING
    period_s: float = 1.0
    """Time between two reads [s]."""

    @property
    def start(self) -> int:
        """First address that must be read: that of the value, or of its scale factor."""
        return self.address + min(0, self.slot.scale_from or 0)

    @property
    def end(self) -> int:
        """Address after the last register of the value and its scale factor."""
        behind = 0 if self.slot.scale_from is None else self.slot.scale_from + 1
        return self.address + max(self.slot.type.registers, behind)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the reads of a device must keep to."""

    max_registers: int = MAX_REGISTERS
    max_coils: int = MAX_COILS
    max_gap: int = 16
    """Unused registers that one read may span."""
    request_cost: float | None = None
    """What a request costs besides its registers, in registers; ``max_gap`` if it is not known."""
    forbidden: tuple[tuple[int, int], ...] = ()
    """First and last address of what no read may touch."""

    @classmethod
    def of(cls, registers: ModbusMap, request_cost: float | None = None) -> Limits:
        """The limits of a profile."""
        return cls(
            registers.max_registers,
            registers.max_coils,
            registers.max_gap,
            request_cost,
            registers.forbidden,
        )

    def allows(self, table: RegisterTable, start: int, end: int) -> bool:
        """Whether one read may span these addresses."""
        if end - start > (self.max_coils if table.is_bits else self.max_registers):
            return False
        return not any(start <= last and first < end for first, last in self.forbidden)


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """One request and what its reply holds."""

    table: RegisterTable
    order: WordOrder
    wanted: tuple[Wanted, ...]
    """In the order of their addresses."""
    address: int = field(init=False)
    count: int = field(init=False)
    point: NDArray[np.uint32] = field(init=False)
    """Registry index of each value."""
    decoder: BlockDecoder = field(init=False)

    def __post_init__(self) -> None:
        first = min(want.start for want in self.wanted)
        slots = tuple(replace(want.slot, offset=want.address - first) for want in self.wanted)
        object.__setattr__(self, "address", first)
        object.__setattr__(self, "count", max(want.end for want in self.wanted) - first)
        object.__setattr__(self, "point", np.array([want.index for want in self.wanted], POINT_DTYPE))
        object.__setattr__(self, "decoder", _decoder(slots, self.order))

    @property
    def end(self) -> int:
        """Address after the last register."""
        return self.address + self.count

    @property
    def period_s(self) -> float:
        """Time between two of these reads [s]; its values all have the same."""
        return self.wanted[0].period_s

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the points that it reads."""
        return tuple(want.name for want in self.wanted)

    def request(self, unit: int) -> Request:
        """The request of this read; the connection numbers it."""
        return Request(0, unit, self.table, self.address, self.count)

    def without_gaps(self) -> tuple[Read, ...]:
        """The same values in reads that span no unused register.

        For a device that refuses to read across registers that it does not have.
        """
        limits = Limits(self.count, self.count, max_gap=0)
        return _reads(self.wanted, self.table, self.order, limits)

    def smaller(self) -> tuple[Read, ...]:
        """The same values in reads without gaps, or, when there is none, in two halves; none for one value.

        A value stays together with its scale factor.
        """
        parts = self.without_gaps()
        if len(parts) > 1:
            return parts
        if len(self.wanted) < 2:
            return ()
        half = len(self.wanted) // 2
        return tuple(Read(self.table, self.order, part) for part in (self.wanted[:half], self.wanted[half:]))

    def with_(self, other: Read) -> Read:
        """One read of the values of both."""
        wanted = sorted((*self.wanted, *other.wanted), key=lambda want: (want.start, want.end))
        return Read(self.table, self.order, tuple(wanted))


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """Everything that is read of a device."""

    device: str
    unit: int
    period_s: float
    """Of most of its points [s]."""
    reads: tuple[Read, ...]
    limits: Limits = Limits()
    absent: tuple[Wanted, ...] = ()
    """Points that the device does not have; only a device that was asked tells of them."""


@lru_cache(maxsize=1024)
def _decoder(slots: tuple[Slot, ...], order: WordOrder) -> BlockDecoder:
    """Devices of one kind share their decoders."""
    return BlockDecoder(slots, order)


def plan_device(device: Device, points: Sequence[SitePoint], request_cost: float | None = None) -> DevicePlan:
    """Plans the reads of a device whose registers the profile lists.

    Raises
    ------
    ConfigError
        The device or its profile is not on Modbus.

    """
    profile = points[0].profile
    if device.modbus is None or profile.modbus is None:
        fix = "give it modbus = {...} and a profile with [modbus]"
        raise ConfigError([Problem(f"device {device.id}", "modbus", "", "not a Modbus device", fix)])
    registers = profile.modbus
    limits = Limits.of(registers, request_cost)
    wanted = [_wanted(point, registers) for point in points]
    reads = coalesced(limits, wanted, device.modbus.word_order or registers.word_order)
    return DevicePlan(device.id, device.modbus.unit, profile.period_s, reads, limits)


def _wanted(point: SitePoint, registers: ModbusMap) -> Wanted:
    mapping = registers.registers[point.key.name]
    scale_register = mapping.scale_register
    slot = Slot(
        offset=0,
        type=mapping.type,
        scale=mapping.scale,
        shift=mapping.offset,
        not_implemented=mapping.not_implemented,
        low=point.spec.low,
        high=point.spec.high,
        order=mapping.word_order,
        bit=mapping.bit,
        bits=mapping.bits,
        scale_from=None if scale_register is None else scale_register - mapping.address,
    )
    table = mapping.table or registers.table
    period_s = point.profile.period_of(point.key.name)
    return Wanted(point.index, point.key.name, mapping.address, slot, table, period_s)


def coalesced(limits: Limits, wanted: Iterable[Wanted], order: WordOrder = WordOrder.BIG) -> tuple[Read, ...]:
    """Puts values into the reads that cost least; a value is never split over two reads.

    Values of different tables or periods are read apart.
    """
    groups: dict[tuple[RegisterTable, float], list[Wanted]] = {}
    for want in wanted:
        groups.setdefault((want.table, want.period_s), []).append(want)
    return tuple(
        read for (table, _), members in groups.items() for read in _reads(members, table, order, limits)
    )


def _reads(
    wanted: Iterable[Wanted], table: RegisterTable, order: WordOrder, limits: Limits
) -> tuple[Read, ...]:
    """The cheapest partition of values, in the order of their addresses, into reads."""
    values = [((want.start, want.end), want) for want in wanted]
    values.sort(key=itemgetter(0))
    parts = _partition(tuple(span for span, _ in values), limits, table)
    return tuple(Read(table, order, tuple(want for _, want in values[first:end])) for first, end in parts)


@lru_cache(maxsize=1024)
def _partition(
    spans: tuple[tuple[int, int], ...], limits: Limits, table: RegisterTable
) -> tuple[tuple[int, int], ...]:
    """First value and value after the last of each read; a value is given by the addresses that it needs.

    A read costs its registers and the cost of a request; of equal costs, that with fewer requests. Devices of
    one kind have their partition in common, so that thousands of them are planned as fast as one.
    """
    request = limits.max_gap if limits.request_cost is None else limits.request_cost
    weight = 1 / 16 if table.is_bits else 1.0
    best: list[tuple[float, int]] = [(0.0, 0)]
    cut = [0]
    for i in range(1, len(spans) + 1):
        start, end = spans[i - 1]
        cost, cut_at = (float("inf"), 0), i - 1
        for j in range(i - 1, -1, -1):
            if j < i - 1:
                gap = start - spans[j][1]
                start, end = spans[j][0], max(end, spans[j][1])
                if gap > limits.max_gap or not limits.allows(table, start, end):
                    break
            before = best[j]
            this = (before[0] + request + (end - start) * weight, before[1] + 1)
            if this < cost:
                cost, cut_at = this, j
        best.append(cost)
        cut.append(cut_at)
    parts: list[tuple[int, int]] = []
    i = len(spans)
    while i:
        parts.append((cut[i], i))
        i = cut[i]
    return tuple(reversed(parts))
