"""Derived points of a site: their settings, checked, and the devices and profiles that they appear as."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from ingest.stages.derivation import Formula
from telemetry.devices import Device, Role
from telemetry.errors import Problem
from telemetry.expressions import Expression, ExpressionError, parse, shown
from telemetry.points import Identifier, PointName, PointSpec, Unit
from telemetry.profiles import DeviceProfile
from telemetry.settings import Settings
from telemetry.site import Site


class DerivedPoint(Settings):
    """A point that a formula makes of others: ``[[derived]]`` in the main file."""

    device: Identifier
    """Device that it appears under; several points may share one, which nothing else may have."""
    node: Identifier
    """Busbar that the device is shown at."""
    point: PointName
    title: str
    unit: Unit
    expression: str
    """Formula, for example ``{SHY_main/TotW} + {TAS_main/TotW}``: see telemetry/expressions.py."""
    max_age_s: Annotated[float, Field(gt=0, le=86400)] = 30.0
    """An input that is older than the newest by more than this is stale [s]."""
    period_s: Annotated[float, Field(gt=0, le=86400)] = 1.0
    """Expected time between two results [s]."""

    @property
    def id(self) -> str:
        """Its path: ``device/point``."""
        return f"{self.device}/{self.point}"


def problems(
    file: str,
    derived: Sequence[DerivedPoint],
    devices: Sequence[Device],
    profiles: Mapping[str, DeviceProfile],
    nodes: Sequence[str],
) -> Iterator[Problem]:
    """What is wrong with derived points; each is named with its key."""
    units = _units(devices, profiles)
    taken = {device.id for device in devices}
    seen: set[tuple[str, str]] = set()
    for i, point in enumerate(derived):
        key = f"derived[{i}]"
        if point.device in taken:
            fix = "give the derived device a name of its own"
            yield Problem(file, f"{key}.device", f'"{point.device}"', "is a device of the site", fix)
        if point.node not in nodes:
            yield Problem(file, f"{key}.node", f'"{point.node}"', "no such node", "name one of the grid")
        if (point.device, point.point) in seen:
            yield Problem(file, f"{key}.point", f'"{point.point}"', "used twice", "give it another name")
        seen.add((point.device, point.point))
        try:
            expression = parse(point.expression, units)
        except ExpressionError as error:
            reason = f"{error.reason}, at character {error.position + 1}"
            yield Problem(file, f"{key}.expression", f'"{point.expression}"', reason, error.fix)
            continue
        yield from _unit_problems(file, key, point, expression)


def _unit_problems(file: str, key: str, point: DerivedPoint, expression: Expression) -> Iterator[Problem]:
    found = Unit.COUNT if expression.dimension is None else expression.unit
    if found is not point.unit:
        reason = f"the formula gives {shown(expression.dimension)}"
        fix = f"set unit, or say what it is: as(..., {point.unit.value})"
        yield Problem(file, f"{key}.unit", f'"{point.unit.value}"', reason, fix)
    if not expression.points:
        yield Problem(file, f"{key}.expression", f'"{point.expression}"', "reads no point", "name one")


def devices_of(derived: Sequence[DerivedPoint]) -> tuple[list[Device], dict[str, DeviceProfile]]:
    """The devices and profiles as which derived points appear everywhere else."""
    by_device: dict[str, list[DerivedPoint]] = {}
    for point in derived:
        by_device.setdefault(point.device, []).append(point)
    devices, profiles = [], {}
    for name, points in by_device.items():
        profile = DeviceProfile(
            id=f"derived-{name}"[:64],
            title=f"Derived points of {name}",
            source="formulas of the configuration",
            period_s=min(point.period_s for point in points),
            points={point.point: PointSpec(title=point.title, unit=point.unit) for point in points},
        )
        profiles[profile.id] = profile
        devices.append(
            Device(id=name, title=profile.title, profile=profile.id, node=points[0].node, role=Role.DERIVED)
        )
    return devices, profiles


def formulas(derived: Sequence[DerivedPoint], site: Site) -> list[Formula]:
    """The formulas of a checked configuration, with the indices of a site."""
    real = [device for device in site.devices.values() if device.role is not Role.DERIVED]
    units = _units(real, site.profiles)
    indices = {point.path: index for index, point in site.points.items()}
    made = []
    for point in derived:
        expression = parse(point.expression, units)
        made.append(
            Formula(
                indices[f"{point.device}/{point.point}"],
                expression,
                {path: indices[path] for path in expression.points},
                round(point.max_age_s * 1e9),
            )
        )
    return made


def _units(devices: Sequence[Device], profiles: Mapping[str, DeviceProfile]) -> dict[str, Unit]:
    """Unit of every measured point by path; derived ones are not among them: no formula reads another."""
    return {
        f"{device.id}/{name}": spec.unit
        for device in devices
        if device.profile in profiles
        for name, spec in profiles[device.profile].points.items()
    }
