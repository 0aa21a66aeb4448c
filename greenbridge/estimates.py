"""State estimates as points: the device that they appear under, and the readings that each estimate makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import structlog

from alerts.config import StateEstimateSettings
from alerts.estimator.judgement import Outcome
from alerts.estimator.points import DEVICE, arrival_of, extra_of, power_of
from ingest.ports import Committed
from telemetry.batch import ReadingBatch
from telemetry.clock import Clock
from telemetry.devices import Device, Role
from telemetry.errors import Problem, StorageError
from telemetry.grid import Grid
from telemetry.points import PointSpec, Unit
from telemetry.profiles import DeviceProfile
from telemetry.settings import nearest
from telemetry.site import Site

log = structlog.get_logger(__name__)

SOURCE = "estimate"
"""Source of their batches in the journal."""
J, LIMIT, LARGEST, REDUNDANCY = "J", "JLimit", "LargestT", "Redundancy"


class Appending(Protocol):
    """A journal that can be appended to."""

    async def append(self, batch: ReadingBatch) -> Committed:
        """Makes a batch durable."""
        ...


def problems(
    file: str, settings: StateEstimateSettings, grid: Grid, devices: Sequence[Device]
) -> Iterator[Problem]:
    """What is wrong with where estimates are shown."""
    nodes, node = [node.id for node in grid.node], settings.points_at
    if node and node not in nodes:
        yield Problem(file, "alerts.R18.points_at", f'"{node}"', "no such node", nearest(node, nodes))
    if node and any(device.id == DEVICE for device in devices):
        fix = "give the device another name"
        yield Problem(file, "alerts.R18.points_at", f'"{node}"', f"a device is named {DEVICE} already", fix)


def devices_of(settings: StateEstimateSettings, grid: Grid) -> tuple[list[Device], dict[str, DeviceProfile]]:
    """The device and profile as which estimates appear everywhere else; none if they are not to be stored."""
    if not settings.enabled or not settings.points_at:
        return [], {}
    points = {
        J: PointSpec(title="Weighted sum of squared residuals J", unit=Unit.COUNT),
        LIMIT: PointSpec(title="Limit of J", unit=Unit.COUNT),
        LARGEST: PointSpec(title="Largest test value T of all possible errors", unit=Unit.COUNT),
        REDUNDANCY: PointSpec(title="Part of the measurements that is redundant", unit=Unit.PERCENT),
    }
    for line in grid.line:
        points |= _of_branch(line.id, line.from_node, line.to_node)
    for link in grid.hvdc:
        points |= _of_branch(link.id, link.from_node, link.to_node)
    profile = DeviceProfile(
        id=DEVICE,
        title="State estimate",
        source="alerts/estimator",
        period_s=settings.every_s,
        points=points,
    )
    device = Device(
        id=DEVICE, title=profile.title, profile=DEVICE, node=settings.points_at, role=Role.DERIVED
    )
    return [device], {DEVICE: profile}


class Publication:
    """Puts every estimate into the journal, from where it goes the way of all readings.

    Parameters
    ----------
    site
        Gives the site as it is now.
    journal
        Takes the readings; while it takes none, estimates are left out.
    clock
        Time.

    """

    def __init__(self, site: Callable[[], Site], journal: Appending, clock: Clock) -> None:
        self._site = site
        self._journal = journal
        self._clock = clock
        self._seq = 0

    async def publish(self, outcome: Outcome) -> None:
        """Makes the readings of an estimate durable."""
        site, instant = self._site(), outcome.diagnosis.instant
        found = [
            (point.index, value)
            for name, value in values(outcome).items()
            if (point := site.find(DEVICE, name)) is not None
        ]
        if not found:
            return
        self._seq += 1
        batch = ReadingBatch.of(
            SOURCE,
            0,
            self._seq,
            self._clock.now_ns(),
            point=[index for index, _ in found],
            t_source=[instant] * len(found),
            value=[value for _, value in found],
            quality=[0] * len(found),
        )
        try:
            await self._journal.append(batch)
        except StorageError as error:
            log.warning("state_estimate_not_stored", error=str(error))


def values(outcome: Outcome) -> Mapping[str, float]:
    """The readings of an estimate by the names of their points; what is not known is left out."""
    diagnosis = outcome.diagnosis
    if diagnosis.freedom <= 0:
        return {}
    told = {
        J: diagnosis.j,
        LIMIT: diagnosis.limit,
        LARGEST: diagnosis.largest,
        REDUNDANCY: 100 * diagnosis.redundancy,
    }
    for branch, estimate in diagnosis.branches.items():
        told[power_of(branch)] = estimate.p_from_mw
        told[arrival_of(branch)] = estimate.p_to_mw
    for branch, extra in diagnosis.extra_loss.items():
        told[extra_of(branch)] = extra.size_mw
    return told


def _of_branch(branch: str, node: str, far: str) -> dict[str, PointSpec]:
    return {
        power_of(branch): PointSpec(title=f"Estimated power of {branch} at {node}", unit=Unit.MW),
        arrival_of(branch): PointSpec(title=f"Estimated power of {branch} at {far}", unit=Unit.MW),
        extra_of(branch): PointSpec(title=f"Power that {branch} takes beyond its losses", unit=Unit.MW),
    }
