"""What the tests of the pipeline share: a small site, and a real InfluxDB behind the proxy."""

from __future__ import annotations

import pytest

from telemetry.devices import Device, ModbusAddress, Role
from telemetry.grid import Area, Grid, LineParameters, Node
from telemetry.points import Deadband, PointSpec, Unit
from telemetry.profiles import DeviceProfile, JsonField, JsonMap
from telemetry.registry import PointRegistry
from telemetry.site import Site, point_keys
from tests.support.influx import influx, influxd
from tests.support.victoria import victoria

__all__ = ["influx", "influxd", "victoria"]

POINTS = ("TotW", "TotVAr", "PPV", "Hz")


@pytest.fixture
def devices() -> list[Device]:
    return [
        Device(
            id=f"SHY-TAS_{node}_main",
            profile="meter",
            node=node,
            branch="SHY-TAS",
            role=Role.MAIN,
            modbus=ModbusAddress(gateway=node, unit=1),
        )
        for node in ("SHY", "TAS")
    ]


@pytest.fixture
def profiles() -> dict[str, DeviceProfile]:
    points = {name: PointSpec(title=name, unit=Unit.MW) for name in POINTS}
    mapping = JsonMap(fields={name: JsonField(field=name) for name in POINTS})
    profile = {"id": "meter", "title": "Meter", "source": "test", "points": points, "json": mapping}
    return {"meter": DeviceProfile.model_validate(profile)}


@pytest.fixture
def registry(devices: list[Device], profiles: dict[str, DeviceProfile]) -> PointRegistry:
    return PointRegistry(point_keys(devices, profiles))


@pytest.fixture
def grid() -> Grid:
    return Grid(
        u_rated_kv=500,
        line_parameters=LineParameters(
            r_ohm_per_km=0.025, x_ohm_per_km=0.306, b_us_per_km=3.6, corona_kw_per_km=2.4
        ),
        area=(
            Area(id="KZ", name="Kazakhstan", utc_offset_h=5, sync_area="UPS"),
            Area(id="UZ", name="Uzbekistan", utc_offset_h=5, sync_area="UPS"),
        ),
        node=(
            Node(id="SHY", name="Shymkent", area="KZ", latitude=42.3, longitude=69.6),
            Node(id="TAS", name="Tashkent", area="UZ", latitude=41.3, longitude=69.2),
        ),
    )


@pytest.fixture
def site(
    grid: Grid, devices: list[Device], profiles: dict[str, DeviceProfile], registry: PointRegistry
) -> Site:
    return Site.of("test", grid, devices, profiles, registry)


@pytest.fixture
def thin_site(
    grid: Grid, devices: list[Device], profiles: dict[str, DeviceProfile], registry: PointRegistry
) -> Site:
    """The same site with a deadband of 0.5 MW and 10 s for its active power: points 0 and 4."""
    meter = profiles["meter"]
    band = Deadband(absolute=0.5, max_silence_s=10)
    power = meter.points["TotW"].model_copy(update={"deadband": band})
    thin = meter.model_copy(update={"points": meter.points | {"TotW": power}})
    return Site.of("thin", grid, devices, {"meter": thin}, registry)
