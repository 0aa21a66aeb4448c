"""Meters: what instruments make of the truth. They never change it.

The error model is an assumption, not a vendor's: the class error of voltage and of current is drawn once for
each instrument from its identity, so that the error of power is normal with a standard deviation of a third
of the class limit of 0.2 % (IEC 62053-22, class 0.2S) and is clipped at the limit; every reading adds white
noise. Phase-angle errors are left out. Quantisation comes with the register or payload that carries the
reading.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from simulators.world.clocks import ClockBank, Discipline, clock_of
from simulators.world.plants import REACTIVE_SHARE
from simulators.world.world import Snapshot, World

Array = NDArray[np.float64]

CLASS_LIMIT = 0.002
"""Largest relative error of power."""
NOISE = 0.0005
"""Relative standard deviation of a single reading."""
FREQUENCY_NOISE_HZ = 0.001
_WS_PER_WH = 3600


class Observes(StrEnum):
    """What an instrument is connected to."""

    END = "end"
    """A branch end: + leaving the busbar into the branch."""
    NODE = "node"
    """The injection of a node: + into the bus."""
    PLANT = "plant"
    """A plant: + delivered."""
    CIRCUIT = "circuit"
    """An end of a single circuit or pole: + leaving the busbar."""
    UNIT = "unit"
    """A turbine or an inverter: + delivered."""


@dataclass(frozen=True, slots=True)
class Instrument:
    """One meter."""

    id: str
    """Serial number; decides its class error."""
    observes: Observes
    index: int
    """Position in the columns of what it observes."""
    discipline: Discipline = Discipline.NTP
    """What keeps its clock right."""


class Reading(NamedTuple):
    """What one instrument shows."""

    p_mw: float
    q_mvar: float
    v_kv: float
    """Line to line."""
    i_a: float
    f_hz: float
    export_wh: int
    """Energy counted in the + direction of the instrument, unsigned 64 bit [Wh]."""
    import_wh: int
    """Energy counted in the - direction [Wh]."""
    t_ns: int = 0
    """Time of the instrument's own clock [ns, UTC]."""

    def acc32(self, wh_per_count: int = 1) -> tuple[int, int]:
        """Export and import as narrow counters show them: 32 bit, rolling over."""
        return self.export_wh // wh_per_count % 2**32, self.import_wh // wh_per_count % 2**32


NOTHING = Reading(0.0, 0.0, 0.0, 0.0, 0.0, 0, 0)
"""What a meter shows that has not measured yet."""


def class_errors(serial: str) -> tuple[float, float]:
    """Fixed relative errors of voltage and current of an instrument; the sum keeps the class limit."""
    digest = hashlib.sha256(serial.encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    power = float(np.clip(rng.normal(0.0, CLASS_LIMIT / 3), -CLASS_LIMIT, CLASS_LIMIT))
    voltage = 0.5 * power + float(
        np.clip(rng.normal(0.0, CLASS_LIMIT / 6), -CLASS_LIMIT / 2, CLASS_LIMIT / 2)
    )
    return voltage, power - voltage


class Readings(Sequence[Reading]):
    """What many instruments show at one moment; a reading is made when somebody looks at it."""

    def __init__(self, columns: tuple[NDArray[np.float64] | NDArray[np.int64], ...]) -> None:
        self._columns = columns

    def __len__(self) -> int:
        return len(self._columns[0])

    @cached_property
    def _values(self) -> list[list[Any]]:
        return [column.tolist() for column in self._columns]

    @overload
    def __getitem__(self, position: int) -> Reading: ...
    @overload
    def __getitem__(self, position: slice) -> list[Reading]: ...
    def __getitem__(self, position: int | slice) -> Reading | list[Reading]:
        if isinstance(position, slice):
            return [self[i] for i in range(*position.indices(len(self)))]
        return Reading._make([column[position] for column in self._values])


class MeterBank:
    """All instruments of a bench; reads them together, once for each step of the world."""

    def __init__(self, world: World, instruments: Sequence[Instrument], seed: int) -> None:
        self.instruments = tuple(instruments)
        self._rng = np.random.default_rng([seed, 1])
        n_ends, n_nodes = len(world.ends), len(world.nodes)
        plants = world.plan.plants
        n_circuits = len(world.circuit_ends)
        base = {
            Observes.END: 0,
            Observes.NODE: n_ends,
            Observes.PLANT: n_ends + n_nodes,
            Observes.CIRCUIT: n_ends + n_nodes + len(plants),
            Observes.UNIT: n_ends + n_nodes + len(plants) + n_circuits,
        }
        self._column = np.array([base[i.observes] + i.index for i in self.instruments], np.intp)
        nodes = {node: k for k, node in enumerate(world.nodes)}
        where = [nodes[node] for _, node in world.ends] + list(range(n_nodes))
        where += [nodes[plant.node] for plant in plants]
        where += [nodes[node] for _, node, _ in world.circuit_ends]
        where += [nodes[plants[i].node] for i in world.fleet.unit_plant]
        self._node = np.array(where, np.intp)[self._column]
        errors = np.array([class_errors(i.id) for i in self.instruments]).reshape(-1, 2)
        self.voltage_error: Array = errors[:, 0]
        self.current_error: Array = errors[:, 1]
        # an installed meter has counted before: between 1 and 50 GWh
        self._export_ws = self._rng.integers(10**9, 5 * 10**10, len(self.instruments)) * _WS_PER_WH
        self._import_ws = self._rng.integers(10**9, 5 * 10**10, len(self.instruments)) * _WS_PER_WH
        self._p_mw, self._q_mvar, self._v_kv, self._f_hz = (np.zeros(len(self.instruments)) for _ in range(4))
        self._i_a = np.zeros(len(self.instruments))
        self.clocks = ClockBank(clock_of(i.id, i.discipline) for i in self.instruments)
        self._t_ns = 0

    def observe(self, now: Snapshot, dt_s: float) -> None:
        """Reads every instrument; the energy counters integrate the true power over the last ``dt_s`` [s]."""
        n = len(self.instruments)
        units = now.plants.unit_p_mw
        p = np.concatenate([now.end_p_mw, now.node_p_mw, now.plants.p_mw, now.circuit_p_mw, units])
        q = np.concatenate(
            [now.end_q_mvar, now.node_q_mvar, now.plants.q_mvar, now.circuit_q_mvar, REACTIVE_SHARE * units]
        )
        p, q = p[self._column], q[self._column]
        kv = now.node_v_kv[self._node]
        current = np.divide(np.hypot(p, q) * 1e3, math.sqrt(3.0) * kv, out=np.zeros(n), where=kv > 0)
        energy_ws = np.rint(p * 1e6 * dt_s).astype(np.int64)
        self._export_ws += np.maximum(energy_ws, 0)
        self._import_ws += np.maximum(-energy_ws, 0)
        noise = self._rng.standard_normal((5, n))
        gain = 1 + self.voltage_error + self.current_error
        self._p_mw = p * gain * (1 + NOISE * noise[0])
        self._q_mvar = q * gain * (1 + NOISE * noise[1])
        self._v_kv = kv * (1 + self.voltage_error) * (1 + NOISE * noise[2])
        self._i_a = current * (1 + self.current_error) * (1 + NOISE * noise[3])
        self._t_ns = now.t_ns
        live = now.node_f_hz[self._node]
        self._f_hz = np.where(live > 0, live + FREQUENCY_NOISE_HZ * noise[4], 0.0)

    def readings(self) -> Readings:
        """What the instruments show, in their order."""
        return Readings(
            (
                self._p_mw,
                self._q_mvar,
                self._v_kv,
                self._i_a,
                self._f_hz,
                self._export_ws // _WS_PER_WH,
                self._import_ws // _WS_PER_WH,
                self.clocks.at(self._t_ns),
            )
        )
