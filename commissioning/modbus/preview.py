"""What a probe is going to ask, before it asks; pure."""

from __future__ import annotations

from adapters.modbus.config import GatewaySettings
from commissioning.modbus.reading import reads
from commissioning.modbus.registers import duration, effort
from commissioning.modbus.wish import Manners, Wish

ROUND_TRIP_S = 0.02
"""Round trip that previews reckon with [s]; illustrative."""


def preview(wish: Wish, gateway: GatewaySettings, manners: Manners) -> str:
    """Requests and time of a probe, in words."""
    each = manners.pause_s + ROUND_TRIP_S
    lines = [f"Nothing was asked. {gateway.where} would be asked, one request at a time:"]
    if wish.scan_units is not None:
        count = len(wish.scan_units)
        slowest = duration(count * (manners.pause_s + gateway.timeout_s))
        lines.append(
            f"  units: {count} requests, {duration(count * each)} to {slowest} (if nobody answers), "
            "and a few for each unit found"
        )
        return "\n".join(lines)
    lines.append(f"  identification of unit {wish.unit}: 1 to 4 requests")
    if wish.scan_registers is not None:
        needed = effort(wish.scan_registers, wish.most, wish.max_requests)
        lines.append(f"  registers {wish.scan_registers}: {needed.text(manners.pause_s, ROUND_TRIP_S)}")
    if wish.sunspec:
        lines.append("  SunSpec: one to find the marker, two or three for each model of the device")
    if wish.reads:
        lines.append(f"  reads: {wish.repeat * len(reads(wish.reads, wish.most))} requests")
    if wish.tune:
        lines.append("  tuning: at most 48 requests")
    if wish.guess is not None:
        lines.append(f"  guess: {1 + wish.samples} to {16 + 3 * wish.samples} requests")
    if wish.profile is not None:
        points = len(wish.profile.points)
        lines.append(
            f"  check sheet: at most {2 * points} requests for {points} points, and a SunSpec discovery"
        )
    return "\n".join(lines)
