"""Register maps of the simulated meters, as tables. All addresses are those sent on the wire.

``pm5xxx`` follows the public register list of the Schneider PowerLogic PM5000 series (register number minus
one on the wire; big-endian words; energy "delivered" flows into the load, that is out of the busbar).
``umg`` follows the Modbus address list of the Janitza UMG series (addresses sent as listed; "consumed" is out
of the busbar). Both are from general knowledge of these lists: check a device's own list at commissioning.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from simulators.world.meters import Reading


class Encoding(StrEnum):
    """How a number lies in registers; the most significant word comes first."""

    FLOAT32 = "f"
    INT64 = "q"

    @property
    def words(self) -> int:
        """Number of 16-bit registers."""
        return struct.calcsize(self.value) // 2


@dataclass(frozen=True, slots=True)
class Register:
    """One quantity of a map."""

    address: int
    encoding: Encoding
    quantity: Callable[[Reading], float]
    """Value in the unit of the register."""
    name: str


@dataclass(frozen=True)
class RegisterMap:
    """The readable block of a kind of meter."""

    kind: str
    start: int
    """First address of the block."""
    length: int
    registers: tuple[Register, ...]

    def __post_init__(self) -> None:
        taken: dict[int, str] = {}
        for register in self.registers:
            for address in range(register.address, register.address + register.encoding.words):
                if not self.start <= address < self.start + self.length:
                    raise ValueError(f"map {self.kind}: {register.name} at {address} lies outside the block")
                if address in taken:
                    raise ValueError(
                        f"map {self.kind}: {register.name} overlaps {taken[address]} at {address}"
                    )
                taken[address] = register.name

    def encode(self, reading: Reading) -> list[int]:
        """The words of the whole block; what no register defines reads as a float32 NaN, "not available"."""
        words = [0x7FC0, 0x0000] * ((self.length + 1) // 2)
        for register in self.registers:
            encoding = register.encoding
            value = register.quantity(reading)
            raw = struct.pack(f">{encoding.value}", value if encoding is Encoding.FLOAT32 else round(value))
            at = register.address - self.start
            words[at : at + encoding.words] = struct.unpack(f">{encoding.words}H", raw)
        return words[: self.length]


def _apparent_mva(reading: Reading) -> float:
    return math.hypot(reading.p_mw, reading.q_mvar)


def _f32(address: int, name: str, quantity: Callable[[Reading], float]) -> Register:
    return Register(address, Encoding.FLOAT32, quantity, name)


def _phases(address: int, name: str, quantity: Callable[[Reading], float]) -> tuple[Register, ...]:
    """Three equal phases, two registers apart: the simulated grid is balanced."""
    return tuple(_f32(address + 2 * k, f"{name} {phase}", quantity) for k, phase in enumerate("ABC"))


_ROOT3 = math.sqrt(3.0)

PM5XXX = RegisterMap(
    "pm5xxx",
    start=2999,
    length=216,
    registers=(
        *_phases(2999, "current [A]", lambda r: r.i_a),
        _f32(3009, "current avg [A]", lambda r: r.i_a),
        *_phases(3019, "voltage L-L [V]", lambda r: r.v_kv * 1e3),
        _f32(3025, "voltage L-L avg [V]", lambda r: r.v_kv * 1e3),
        *_phases(3027, "voltage L-N [V]", lambda r: r.v_kv * 1e3 / _ROOT3),
        _f32(3035, "voltage L-N avg [V]", lambda r: r.v_kv * 1e3 / _ROOT3),
        *_phases(3053, "active power [kW]", lambda r: r.p_mw * 1e3 / 3),
        _f32(3059, "active power total [kW]", lambda r: r.p_mw * 1e3),
        *_phases(3061, "reactive power [kVAr]", lambda r: r.q_mvar * 1e3 / 3),
        _f32(3067, "reactive power total [kVAr]", lambda r: r.q_mvar * 1e3),
        *_phases(3069, "apparent power [kVA]", lambda r: _apparent_mva(r) * 1e3 / 3),
        _f32(3075, "apparent power total [kVA]", lambda r: _apparent_mva(r) * 1e3),
        _f32(3109, "frequency [Hz]", lambda r: r.f_hz),
        Register(3203, Encoding.INT64, lambda r: r.export_wh, "active energy delivered [Wh]"),
        Register(3207, Encoding.INT64, lambda r: r.import_wh, "active energy received [Wh]"),
    ),
)

UMG = RegisterMap(
    "umg",
    start=19000,
    length=120,
    registers=(
        *_phases(19000, "voltage L-N [V]", lambda r: r.v_kv * 1e3 / _ROOT3),
        *_phases(19006, "voltage L-L [V]", lambda r: r.v_kv * 1e3),
        *_phases(19012, "current [A]", lambda r: r.i_a),
        *_phases(19020, "active power [W]", lambda r: r.p_mw * 1e6 / 3),
        _f32(19026, "active power sum [W]", lambda r: r.p_mw * 1e6),
        *_phases(19028, "apparent power [VA]", lambda r: _apparent_mva(r) * 1e6 / 3),
        _f32(19034, "apparent power sum [VA]", lambda r: _apparent_mva(r) * 1e6),
        *_phases(19036, "reactive power [var]", lambda r: r.q_mvar * 1e6 / 3),
        _f32(19042, "reactive power sum [var]", lambda r: r.q_mvar * 1e6),
        _f32(19050, "frequency [Hz]", lambda r: r.f_hz),
        _f32(19060, "active energy [Wh]", lambda r: r.export_wh - r.import_wh),
        *_phases(19062, "active energy consumed [Wh]", lambda r: r.export_wh / 3),
        _f32(19068, "active energy consumed sum [Wh]", lambda r: r.export_wh),
        *_phases(19070, "active energy delivered [Wh]", lambda r: r.import_wh / 3),
        _f32(19076, "active energy delivered sum [Wh]", lambda r: r.import_wh),
    ),
)

MAPS: Mapping[str, RegisterMap] = {m.kind: m for m in (PM5XXX, UMG)}
"""Register map of each kind of Modbus meter."""
