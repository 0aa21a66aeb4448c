"""Which meters make the accounts of a site: its ties, the net positions of its areas, its contracts; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from alerts.alignment import stale_after_s
from alerts.estimator.points import DEVICE, arrival_of, power_of
from telemetry.devices import Device, Role
from telemetry.grid import Contract, Grid, Tie
from telemetry.profiles import DeviceProfile
from telemetry.site import Site

POWER, EXPORTED, IMPORTED = "TotW", "TotWhExp", "TotWhImp"
"""Names of the points of a meter that settlement reads."""


@dataclass(frozen=True, slots=True)
class Metering:
    """A meter as settlement reads it."""

    device: str
    power: int | None
    """Power point; + leaves the busbar."""
    exported: int | None
    """Counter of energy that leaves the busbar."""
    imported: int | None
    limit_mw: float
    """Transfer limit of what is metered [MW]."""
    gap_s: float
    """Time between two readings from which on there is a gap [s]."""
    modulus_mwh: float | None = None
    """Where the counters begin again at 0 [MWh], if that is known."""
    check: Metering | None = None
    """The check meter beside it, which stands in where it says nothing."""

    @property
    def points(self) -> Iterator[int]:
        """Indices of the points that it and its check meter have."""
        yield from (point for point in (self.power, self.exported, self.imported) if point is not None)
        if self.check is not None:
            yield from self.check.points


@dataclass(frozen=True, slots=True)
class Estimate:
    """A point with the estimated power at the delivery node."""

    point: int
    gap_s: float


@dataclass(frozen=True, slots=True)
class TieAccount:
    """A tie, metered where its exchange is accounted."""

    tie: Tie
    delivery: Metering | None
    """Main meter at the delivery node."""
    far: Metering | None
    """Main meter at the other end."""
    estimate: Estimate | None


@dataclass(frozen=True, slots=True)
class Border:
    """Ties with the sign that makes their energy count in one direction."""

    ties: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class AreaAccount:
    """The net position of an area, + for export."""

    area: str
    border: Border


@dataclass(frozen=True, slots=True)
class ContractAccount:
    """A contract: what comes into its transit area, and what leaves it."""

    contract: Contract
    entry: Border
    exit: Border


@dataclass(frozen=True, slots=True)
class Accounts:
    """Every account of a site."""

    ties: Sequence[TieAccount]
    areas: Sequence[AreaAccount]
    contracts: Sequence[ContractAccount]

    @classmethod
    def of(cls, site: Site) -> Accounts:
        """The accounts that a site's grid has."""
        grid = site.grid
        ties = [_tie(site, tie) for tie in grid.tie]
        areas = [
            AreaAccount(area.id, _border(grid, area.id, [t.id for t in grid.tie], out=True))
            for area in grid.area
            if any(area.id in {tie.from_area, tie.to_area} for tie in grid.tie)
        ]
        contracts = [
            ContractAccount(
                contract,
                _border(grid, contract.transit_area, contract.entry, out=False),
                _border(grid, contract.transit_area, contract.exit, out=True),
            )
            for contract in grid.contract
        ]
        return cls(ties, areas, contracts)

    @property
    def points(self) -> Sequence[int]:
        """Indices of every point that settlement reads."""
        found: set[int] = set()
        for account in self.ties:
            for meter in (account.delivery, account.far):
                found.update(meter.points if meter is not None else ())
            if account.estimate is not None:
                found.add(account.estimate.point)
        return sorted(found)


def _border(grid: Grid, area: str, ties: Sequence[str], *, out: bool) -> Border:
    """Ties of an area; + is out of it, or into it."""
    found = []
    for tie in grid.tie:
        source, sink = grid.outflow(tie)
        if tie.id in ties and area in {source, sink}:
            found.append((tie.id, 1 if (source == area) == out else -1))
    return Border(tuple(found))


def _tie(site: Site, tie: Tie) -> TieAccount:
    branch = site.grid.branch_of(tie)
    first = branch.from_node == tie.delivery_node
    far = branch.to_node if first else branch.from_node
    name = power_of(tie.id) if first else arrival_of(tie.id)
    point = site.find(DEVICE, name)
    return TieAccount(
        tie,
        _checked(site, tie.id, tie.delivery_node, branch.limit_mw),
        _checked(site, tie.id, far, branch.limit_mw),
        None if point is None else Estimate(point.index, 3 * stale_after_s(point.profile.period_s)),
    )


def _checked(site: Site, branch: str, node: str, limit_mw: float) -> Metering | None:
    """The main meter of an end with its check meter; without a main meter the end is not settled."""
    main = _metering(site, site.meter(branch, node), limit_mw)
    check = _metering(site, site.meter(branch, node, Role.CHECK), limit_mw)
    return main if main is None or check is None else replace(main, check=check)


def _metering(site: Site, meter: Device | None, limit_mw: float) -> Metering | None:
    if meter is None:
        return None
    profile = site.profiles[meter.profile]
    found = [site.find(meter.id, name) for name in (POWER, EXPORTED, IMPORTED)]
    power, exported, imported = (None if point is None else point.index for point in found)
    if exported is None or imported is None:
        exported = imported = None
    if power is None and exported is None:
        return None
    gap_s = stale_after_s(profile.period_s)
    modulus = modulus_mwh(profile, EXPORTED)
    return Metering(meter.id, power, exported, imported, limit_mw, gap_s, modulus)


def modulus_mwh(profile: DeviceProfile, point: str) -> float | None:
    """Where a counter begins again at 0 [MWh]: what an unsigned register holds, if it is one."""
    registers = profile.modbus.registers if profile.modbus is not None else {}
    mapping = registers.get(point)
    if mapping is None or mapping.scale_register is not None or mapping.bit is not None:
        return None
    held = mapping.type.integers
    return held.stop * mapping.scale if held.start == 0 and held.stop > 2 else None
