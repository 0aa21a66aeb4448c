"""Rows with the same tags, as columns; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
"""float64, where NaN is null; or objects (text, numbers, truth), where None is null."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Rows of one measurement with the same tags, in the order of time."""

    name: str
    """Measurement."""
    tags: Mapping[str, str]
    t: NDArray[np.int64]
    """[ns, UTC]."""
    columns: Mapping[str, Values]
    weight: NDArray[np.float64] | None = None
    """How many readings each row is the mean of; one each without it."""

    def where(self, mask: Mask) -> Frame:
        """Some of the rows."""
        if mask.all():
            return self
        weight = None if self.weight is None else self.weight[mask]
        columns = {name: values[mask] for name, values in self.columns.items()}
        return Frame(self.name, self.tags, self.t[mask], columns, weight)

    def column(self, name: str) -> Values:
        """A field or tag, null in every row where there is none."""
        if name in self.columns:
            return self.columns[name]
        made = np.empty(len(self.t), object)
        made[:] = self.tags.get(name) or None
        return made


def known(values: Values) -> Mask:
    """Where values are not null."""
    if values.dtype != object:
        return np.asarray(~np.isnan(values))
    return np.array([value is not None for value in values], np.bool_)


def numbers(values: Values) -> NDArray[np.float64]:
    """Values as numbers; what is none is NaN."""
    if values.dtype != object:
        return np.asarray(values, np.float64)
    made = [float(v) if isinstance(v, int | float) and not isinstance(v, bool) else np.nan for v in values]
    return np.array(made, np.float64)


def joined(parts: Sequence[Values]) -> Values:
    """One column after the other; numbers only if all are."""
    if any(part.dtype == object for part in parts):
        parts = [_objects(part) for part in parts]
    return np.concatenate(parts)


def _objects(values: Values) -> Values:
    if values.dtype == object:
        return values
    made = np.empty(len(values), object)
    made[:] = [None if np.isnan(value) else value for value in values.tolist()]
    return made
