"""Derived points: formulas over the newest readings of other points; the same records give the same readings.

A formula is evaluated when a record brings a newer reading of one of its inputs, once all of them were
received. Its result carries the newest source time among its inputs; a time after the receipt counts as the
receipt, so that a wrong clock does not stop the formula for everybody. An input that is older than that by
more than the formula allows is stale. Late readings change nothing: what was derived then is what was known
then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from ingest.ports import JournalRecord
from telemetry.batch import Columns
from telemetry.expressions import Column, Expression
from telemetry.quality import Quality, usable

SOURCE = "derived"
"""Source of the batches of derived readings; records of it are passed over, so that none feeds itself."""

_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Formula:
    """One derived point."""

    point: int
    """Its index."""
    expression: Expression
    inputs: Mapping[str, int]
    """Index of every point that the expression reads, by path."""
    max_age_ns: int
    """Age, compared with the newest input, above which an input is stale [ns]."""


class _State(msgspec.Struct):
    """What must be known to go on: the newest reading of each input, the newest time of each result."""

    inputs: list[tuple[int, int, float, int]]
    results: list[tuple[int, int]]


class Derivation:
    """All formulas on their way through the journal."""

    def __init__(self, formulas: Sequence[Formula]) -> None:
        self._formulas = list(formulas)
        points = sorted({index for formula in formulas for index in formula.inputs.values()})
        self._row = {index: row for row, index in enumerate(points)}
        self._points = np.array(points, np.int64)
        self._readers: list[list[int]] = [[] for _ in points]
        for number, formula in enumerate(self._formulas):
            for index in set(formula.inputs.values()):
                self._readers[self._row[index]].append(number)
        self._time = np.full(len(points), _NEVER)
        self._value = np.full(len(points), np.nan)
        self._quality = np.zeros(len(points), np.uint8)
        self._written = np.full(len(self._formulas), _NEVER)

    def take(self, record: JournalRecord) -> Columns:
        """Derived readings that follow from a record, in the order of the formulas."""
        if record.batch.source == SOURCE:
            return Columns.empty()
        changed = self._update(record)
        point: list[int] = []
        time: list[int] = []
        value: list[float] = []
        quality: list[int] = []
        for number in sorted({number for row in changed for number in self._readers[row]}):
            formula = self._formulas[number]
            rows = np.array([self._row[index] for index in formula.inputs.values()])
            newest = int(self._time[rows].max())
            if self._time[rows].min() == _NEVER or newest < self._written[number]:
                continue
            found = formula.expression.evaluate(self._inputs(formula, newest))
            self._written[number] = newest
            point.append(formula.point)
            time.append(newest)
            known = bool(usable(found.quality)[0])
            value.append(float(found.value[0]) if known else np.nan)
            quality.append(int(found.quality[0]))
        return Columns.of(point, time, value, quality)

    def save(self) -> bytes:
        """State, for :meth:`restore`."""
        rows = zip(self._points, self._time, self._value, self._quality, strict=True)
        return msgspec.msgpack.encode(
            _State(
                [(int(p), int(t), float(v), int(q)) for p, t, v, q in rows],
                [(f.point, int(t)) for f, t in zip(self._formulas, self._written, strict=True)],
            )
        )

    def restore(self, saved: bytes) -> None:
        """Takes a saved state up; formulas and inputs that are new since begin without one."""
        if not saved:
            return
        state = msgspec.msgpack.decode(saved, type=_State)
        for point, time, value, quality in state.inputs:
            row = self._row.get(point)
            if row is not None:
                self._time[row], self._value[row], self._quality[row] = time, value, quality
        times = dict(state.results)
        for number, formula in enumerate(self._formulas):
            self._written[number] = times.get(formula.point, _NEVER)

    def _update(self, record: JournalRecord) -> list[int]:
        """Takes over the newest reading of each input in a record; returns the rows that moved."""
        batch = record.batch
        wanted = np.flatnonzero(np.isin(batch.point, self._points))
        rows = np.searchsorted(self._points, batch.point[wanted])
        times = np.minimum(batch.t_source[wanted], batch.t_received)
        moved: dict[int, None] = {}
        for at, row, time in zip(wanted.tolist(), rows.tolist(), times.tolist(), strict=True):
            if time >= self._time[row]:
                self._time[row] = time
                self._value[row], self._quality[row] = batch.value[at], batch.quality[at]
                moved[row] = None
        return list(moved)

    def _inputs(self, formula: Formula, newest: int) -> dict[str, Column]:
        inputs = {}
        for path, index in formula.inputs.items():
            row = self._row[index]
            quality = self._quality[row : row + 1]
            if newest - self._time[row] > formula.max_age_ns and usable(quality)[0]:
                quality = np.array([Quality.STALE], np.uint8)
            inputs[path] = Column(self._value[row : row + 1], quality)
        return inputs
