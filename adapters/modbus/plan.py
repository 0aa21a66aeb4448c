"""Planning of reads: which registers of a device are asked for together, and what stands in the reply."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from adapters.modbus.codec import BlockDecoder, Request, Slot
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

    @property
    def end(self) -> int:
        """Address after the last register."""
        return self.address + self.slot.type.registers


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
        first = self.wanted[0].address
        slots = [replace(want.slot, offset=want.address - first) for want in self.wanted]
        object.__setattr__(self, "address", first)
        object.__setattr__(self, "count", max(want.end for want in self.wanted) - first)
        object.__setattr__(self, "point", np.array([want.index for want in self.wanted], POINT_DTYPE))
        object.__setattr__(self, "decoder", BlockDecoder(slots, self.order))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the points that it reads."""
        return tuple(want.name for want in self.wanted)

    def request(self, transaction: int, unit: int) -> Request:
        """The request of this read."""
        return Request(transaction, unit, self.table, self.address, self.count)

    def without_gaps(self) -> tuple[Read, ...]:
        """The same values in reads that span no unused register.

        For a device that refuses to read across registers that it does not have.
        """
        return _reads(self.wanted, self.table, self.order, self.count, max_gap=0)


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """Everything that one poll of a device reads."""

    device: str
    unit: int
    period_s: float
    reads: tuple[Read, ...]


def plan_device(device: Device, points: Sequence[SitePoint]) -> DevicePlan:
    """Plans the reads of a device.

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
    wanted = []
    for point in points:
        mapping = registers.registers[point.key.name]
        slot = Slot(
            offset=0,
            type=mapping.type,
            scale=mapping.scale,
            shift=mapping.offset,
            not_implemented=mapping.not_implemented,
            low=point.spec.low,
            high=point.spec.high,
        )
        wanted.append(Wanted(point.index, point.key.name, mapping.address, slot))
    return DevicePlan(device.id, device.modbus.unit, profile.period_s, coalesced(registers, wanted))


def coalesced(registers: ModbusMap, wanted: Iterable[Wanted]) -> tuple[Read, ...]:
    """Puts values into as few reads as the map's limits allow; a value is never split over two reads."""
    return _reads(
        wanted, registers.table, registers.word_order, registers.max_registers, max_gap=registers.max_gap
    )


def _reads(
    wanted: Iterable[Wanted], table: RegisterTable, order: WordOrder, max_registers: int, *, max_gap: int
) -> tuple[Read, ...]:
    groups: list[list[Wanted]] = []
    first = end = 0
    for want in sorted(wanted, key=lambda w: (w.address, w.end)):
        if groups and want.address - end <= max_gap and max(end, want.end) - first <= max_registers:
            groups[-1].append(want)
            end = max(end, want.end)
        else:
            groups.append([want])
            first, end = want.address, want.end
    return tuple(Read(table, order, tuple(group)) for group in groups)
