"""The plan of a device, whichever way its profile tells where its points are; pure."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.modbus.plan import DevicePlan, plan_device
from adapters.modbus.sunspec.mapping import plan_sunspec
from telemetry.site import SitePoint


def planned(points: Sequence[SitePoint], request_cost: float | None = None) -> DevicePlan:
    """The plan of a device; of a SunSpec one an estimate, since only the device tells its models.

    Raises
    ------
    ConfigError
        The device cannot be planned.

    """
    device, profile = points[0].device, points[0].profile
    if profile.sunspec is not None:
        return plan_sunspec(device, points, request_cost=request_cost)
    return plan_device(device, points, request_cost)
