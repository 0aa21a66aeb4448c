"""From names of models and points to what is read: addresses, types, scale factors and marks; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from adapters.modbus.decoding import Slot
from adapters.modbus.plan import DevicePlan, Limits, Wanted, coalesced
from adapters.modbus.sunspec.chain import BASES, Block, Chain
from adapters.modbus.sunspec.models import ModelPoint, models
from telemetry.devices import Device
from telemetry.errors import ConfigError, Problem
from telemetry.points import PointSpec
from telemetry.profiles import DeviceProfile, RegisterType, SunSpecMap, SunSpecMapping
from telemetry.quality import Quality
from telemetry.site import SitePoint

ABSENT = Quality.NOT_IMPLEMENTED
"""Quality of a point that the device's chain of models does not hold."""
_SCALE_FACTOR = "sunssf"


def mapping_problems(profile: DeviceProfile, file: str) -> Iterator[Problem]:
    """Faults of a SunSpec profile that only the models tell."""
    if profile.sunspec is None:
        return
    for name, mapping in profile.sunspec.points.items():
        where = f"sunspec.points.{name}"
        model = models().get(mapping.model)
        if model is None:
            known = ", ".join(map(str, models()))
            yield Problem(file, f"{where}.model", str(mapping.model), "an unknown model", f"valid: {known}")
            continue
        point = model.find(mapping.point, mapping.index)
        if model.find(mapping.point, None if mapping.index else 1) is not None and point is None:
            fix = "add index = 1" if mapping.index is None else "remove index"
            yield Problem(file, f"{where}.index", "", "only points of a repeating group have one", fix)
        elif point is None or point.type == _SCALE_FACTOR:
            reason = f"model {mapping.model} has no such point"
            yield Problem(file, f"{where}.point", f'"{mapping.point}"', reason)
        elif point.encoding.type is RegisterType.STRING:
            yield Problem(file, f"{where}.point", f'"{mapping.point}"', "a reading is a number, not a text")


def usual_chain(sunspec: SunSpecMap) -> Chain:
    """The chain that a device probably has: for estimates, never for readings."""
    wanted = sunspec.models or tuple(dict.fromkeys(m.model for m in sunspec.points.values()))
    at = (BASES[0] if sunspec.base is None else sunspec.base) + 2
    blocks = []
    for number in (1, *(n for n in wanted if n != 1)):
        model = models().get(number)
        turns = [m.index or 0 for m in sunspec.points.values() if m.model == number]
        length = 0 if model is None else model.length + model.group_length * max(turns, default=0)
        blocks.append(Block(number, at, length))
        at = blocks[-1].end
    return Chain(at, tuple(blocks), ended=True)


def plan_sunspec(
    device: Device,
    points: Sequence[SitePoint],
    chain: Chain | None = None,
    request_cost: float | None = None,
) -> DevicePlan:
    """Plans the reads of a SunSpec device from its chain of models; without one, an estimate.

    Raises
    ------
    ConfigError
        The device or its profile is not a SunSpec one, or the profile names what no model has.

    """
    profile = points[0].profile
    if device.modbus is None or profile.sunspec is None:
        fix = "give it modbus = {...} and a profile with [sunspec]"
        raise ConfigError([Problem(f"device {device.id}", "modbus", "", "not a SunSpec device", fix)])
    if problems := list(mapping_problems(profile, f"profile {profile.id}")):
        raise ConfigError(problems)
    sunspec = profile.sunspec
    chain = chain or usual_chain(sunspec)
    limits = Limits(sunspec.max_registers, max_gap=sunspec.max_registers, request_cost=request_cost)
    wanted: list[Wanted] = []
    absent: list[Wanted] = []
    for point in points:
        mapping = sunspec.points[point.key.name]
        period_s = profile.period_of(point.key.name)
        found = _located(mapping, chain, point.spec)
        address, slot = found or (0, Slot(0, RegisterType.UINT16))
        want = Wanted(point.index, point.key.name, address, slot, period_s=period_s)
        readable = found is not None and limits.allows(want.table, want.start, want.end)
        (wanted if readable else absent).append(want)
    reads = coalesced(limits, wanted)
    return DevicePlan(device.id, device.modbus.unit, profile.period_s, reads, limits, tuple(absent))


def _located(mapping: SunSpecMapping, chain: Chain, spec: PointSpec) -> tuple[int, Slot] | None:
    """Address and encoding of a point; None if the device's models do not hold it."""
    block = chain.find(mapping.model)
    point = models()[mapping.model].find(mapping.point, mapping.index)
    if block is None or point is None:
        return None
    at = offset_of(point, block, mapping.index)
    if at is None:
        return None
    scale_from = None
    if point.scale_point:
        scale_at = _scale_offset(point.scale_point, block, mapping.index)
        if scale_at is None:
            return None
        scale_from = scale_at - at
    slot = Slot(
        0,
        point.encoding.type,
        scale=mapping.scale * 10.0**point.exponent,
        shift=mapping.offset,
        not_implemented=point.encoding.not_implemented,
        low=spec.low,
        high=spec.high,
        scale_from=scale_from,
    )
    return block.address + at, slot


def _scale_offset(name: str, block: Block, turn: int | None) -> int | None:
    """Where the scale factor of a point stands: in the same turn of its group, or before all turns."""
    model = models()[block.model]
    own, common = model.find(name, turn), model.find(name, None)
    if own is not None:
        return offset_of(own, block, turn)
    return None if common is None else offset_of(common, block, None)


def offset_of(point: ModelPoint, block: Block, turn: int | None) -> int | None:
    """Registers from a block's identifier to a point; None if the block is too short to hold it."""
    model = models()[block.model]
    offset = point.offset
    if turn is not None:
        offset += 2 + model.length + (turn - 1) * model.group_length
    return offset if offset + point.words <= 2 + block.length else None
