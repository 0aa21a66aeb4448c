"""What a bad link makes of bytes: answers of a device in, pieces with their delays out. No socket here.

The same transforms act in the proxy in front of a real port and on the in-memory links of a scenario that is
played in virtual time; what a frame is, :mod:`~simulators.faults.frames` knows.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from simulators.faults.frames import TCP, Framing
from simulators.faults.model import LinkFault
from simulators.faults.on_links import (
    BrokerRestart,
    Down,
    Duplicate,
    ExceptionStorm,
    Garbage,
    HalfOpen,
    Intermittent,
    LateReply,
    OutOfOrder,
    ShortFrame,
    Slow,
    Trickle,
    WrongTransaction,
)

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that arrive some time after the piece before them."""

    after_s: float
    data: bytes


class LinkFaults:
    """The faults of one link at work; ``seed`` decides the garbage."""

    def __init__(self, seed: int = 0, framing: Framing = TCP) -> None:
        self.framing = framing
        self._random = random.Random(seed)  # noqa: S311 - garbage, not a secret
        self._active: tuple[LinkFault, ...] = ()
        self._answers = 0
        self._previous = b""
        self._messages = 0
        self._held: list[tuple[int, Any]] = []

    def follow(self, active: Iterable[LinkFault]) -> None:
        """From now on exactly these faults work."""
        self._active = tuple(active)

    @property
    def healthy(self) -> bool:
        """Nothing is wrong with the link."""
        return not self._active

    @property
    def accepts(self) -> bool:
        """Whether a connection can be made; one that stands is broken off when it turns false."""
        return not any(isinstance(fault, Down | BrokerRestart) for fault in self._active)

    def answer(self, frame: bytes) -> list[Piece]:
        """What arrives in place of an answer of the device; nothing may."""
        pieces = [Piece(0.0, frame)]
        self._answers += 1
        for fault in self._active:
            if isinstance(fault, Intermittent) and self._answers % fault.every:
                continue
            pieces = [changed for piece in pieces for changed in self._changed(fault, piece)]
        self._previous = frame
        return pieces

    def _changed(self, fault: LinkFault, piece: Piece) -> Sequence[Piece]:  # noqa: PLR0911 - one case each
        data = piece.data
        match fault:
            case Down() | HalfOpen() | BrokerRestart():
                return ()
            case Slow() | LateReply():
                return (Piece(piece.after_s + fault.delay_s, data),)
            case Trickle():
                pause = 1 / fault.bytes_per_s
                return [
                    Piece(pause + (piece.after_s if i == 0 else 0.0), data[i : i + 1])
                    for i in range(len(data))
                ]
            case Garbage():
                return (Piece(piece.after_s, self._random.randbytes(len(data))),)
            case ShortFrame():
                return (Piece(piece.after_s, self.framing.shortened(data)),)
            case WrongTransaction():
                return (Piece(piece.after_s, self._previous or self.framing.misnumbered(data)),)
            case ExceptionStorm():
                return (Piece(piece.after_s, self.framing.refused(data, fault.code)),)
            case Duplicate() | OutOfOrder():
                return (piece,)

    def deliver(self, messages: Iterable[Item]) -> list[Item]:
        """Messages in the order and number in which a broker with these faults delivers them."""
        doubles = [fault for fault in self._active if isinstance(fault, Duplicate)]
        shuffles = [fault for fault in self._active if isinstance(fault, OutOfOrder)]
        out: list[Item] = []
        for message in messages:
            self._messages += 1
            held = next((f for f in shuffles if self._messages % f.every == 0), None)
            if held is not None:
                self._held.append((self._messages + held.by, message))
            else:
                out.append(message)
                out += [message for fault in doubles if self._messages % fault.every == 0]
            out += self._released(self._messages if shuffles else None)
        return out + ([] if shuffles else self._released(None))

    def forget(self) -> None:
        """Drops the messages that are held back: the connection that they were on is gone."""
        self._held.clear()

    def _released(self, number: int | None) -> list[Any]:
        due = [entry for entry in self._held if number is None or entry[0] <= number]
        self._held = [entry for entry in self._held if entry not in due]
        return [message for _, message in due]
