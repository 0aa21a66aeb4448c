"""Generates a dashboard: ``python -m grafana NAME GRID_FILE DEVICE_FILE... > generated/NAME.json``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from adapters.profiles import bundled_profiles
from alerts.config import AlertsSettings
from grafana.corridor import Corridor
from telemetry.devices import Device
from telemetry.grid import Grid
from telemetry.settings import Settings, parse


class DeviceFile(Settings):
    """A file of devices."""

    device: tuple[Device, ...]


def main(name: str, grid: str, *devices: str) -> None:
    """Writes the dashboard to standard output."""
    model = parse(Path(grid).read_text("utf-8"), grid, Grid, os.environ)
    placed = [
        device
        for file in devices
        for device in parse(Path(file).read_text("utf-8"), file, DeviceFile, os.environ).device
    ]
    sys.stdout.write(Corridor(name, model, placed, bundled_profiles(), AlertsSettings()).document())


if __name__ == "__main__":
    main(*sys.argv[1:])
