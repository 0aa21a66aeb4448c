"""Messages become columns of readings; those of nothing but numbers all together, without a dictionary.

A message of plain numbers, which nearly all are, is read by msgspec into a structure made for its device and
judged with all others of the batch at once. Whatever differs in the least (a member missing, null, of another
kind or unknown) is left to :class:`adapters.mqtt.codec.PayloadDecoder`, which both say the same as.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from telemetry.batch import Columns
from telemetry.quality import Quality


@dataclass(frozen=True, slots=True)
class Member:
    """A point and the member of the payload that holds it."""

    index: int
    """Index of the point in the registry."""
    name: str
    scale: float
    offset: float
    low: float
    high: float


class Layout:
    """Payloads that are one object with a number for each point, and the source time if they have one.

    Parameters
    ----------
    members
        The points, each with a member of its own.
    time_name
        Member with the source time; None if there is none.

    """

    def __init__(self, members: Sequence[Member], time_name: str | None) -> None:
        fields: list[tuple[str, Any, Any]] = [
            (f"value{i}", float, msgspec.field(name=member.name)) for i, member in enumerate(members)
        ]
        if time_name is not None:
            fields.append(("time", Any, msgspec.field(name=time_name)))
        # without the garbage collector's attention: it holds numbers and at most one text
        payload = msgspec.defstruct("Payload", fields, forbid_unknown_fields=True, gc=False)
        self._decode = msgspec.json.Decoder(payload).decode
        self._timed = time_name is not None
        self.point = np.array([member.index for member in members], np.uint32)
        self.scale = np.array([member.scale for member in members])
        self.offset = np.array([member.offset for member in members])
        self.low = np.array([member.low for member in members])
        self.high = np.array([member.high for member in members])

    def read(self, payload: bytes) -> tuple[tuple[float, ...], Any] | None:
        """The numbers in the order of the points, and the time as it stands; None if it is not all plain."""
        try:
            row = msgspec.structs.astuple(self._decode(payload))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return (row[:-1], row[-1]) if self._timed else (row, None)


class Readings:
    """The readings of some messages, in their order."""

    def __init__(self) -> None:
        self._done: list[Columns] = []
        self._layout: list[Layout] = []
        self._t_source: list[int] = []
        self._floor: list[int] = []
        self._value: list[float] = []

    def add(self, layout: Layout, t_source: int, floor: Quality, value: tuple[float, ...]) -> None:
        """Adds the numbers of a message.

        Parameters
        ----------
        layout
            Of its device.
        t_source
            Wall time of the measurements [ns, UTC].
        floor
            The best that they can be.
        value
            Raw values, as :meth:`Layout.read` gives them.

        """
        self._layout.append(layout)
        self._t_source.append(t_source)
        self._floor.append(floor)
        self._value += value

    def put(self, columns: Columns) -> None:
        """Adds readings that are finished."""
        self._close()
        self._done.append(columns)

    def columns(self) -> Columns:
        """Everything that was added."""
        self._close()
        return Columns.joined(self._done)

    def _close(self) -> None:
        layouts = self._layout
        if not layouts:
            return
        counts = [len(layout.point) for layout in layouts]
        quality = np.repeat(np.array(self._floor, np.uint8), counts)
        with np.errstate(over="ignore", invalid="ignore"):
            value = np.array(self._value, np.float64)
            value *= np.concatenate([layout.scale for layout in layouts])
            value += np.concatenate([layout.offset for layout in layouts])
        low = np.concatenate([layout.low for layout in layouts])
        high = np.concatenate([layout.high for layout in layouts])
        _raise(quality, (value < low) | (value > high), Quality.OUT_OF_RANGE)
        unknown = ~np.isfinite(value)
        if unknown.any():
            value[unknown] = np.nan
            _raise(quality, unknown, Quality.NOT_A_NUMBER)
        t_source = np.repeat(np.array(self._t_source, np.int64), counts)
        point = np.concatenate([layout.point for layout in layouts])
        self._done.append(Columns(point, t_source, value, quality))
        for column in (self._layout, self._t_source, self._floor, self._value):
            column.clear()


def _raise(quality: NDArray[np.uint8], where: NDArray[np.bool_], floor: Quality) -> None:
    quality[where] = np.maximum(quality[where], np.uint8(floor))
