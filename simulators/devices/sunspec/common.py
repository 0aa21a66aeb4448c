"""Model 1, which every SunSpec device begins with."""

from __future__ import annotations

from typing import TypeVar

from simulators.devices.registers import Quantity, Value
from simulators.devices.sunspec.chain import Content

T = TypeVar("T")

MANUFACTURER = "Greenbridge bench"


def common(product: str, serial: str, revision: str, address: int) -> Content[T]:
    """Who made the device (illustrative), its serial number and its unit identifier."""
    values: dict[str, Quantity[T] | Value] = {
        "Mn": MANUFACTURER,
        "Md": product,
        "Vr": revision,
        "SN": serial,
        "DA": address,
    }
    return Content(values)
