"""Replies that units behind RTU framing still owe, and the question that proves that none can come; pure.

Without transaction numbers a late reply carries nothing but unit, function code and length. A device answers
in order, and each request at most once. So once it has answered a question that no owed reply can be taken
for, nothing older can come any more, and the unit is trusted again. Two such questions are known: a read of
another length, and, since a refusal has no length, a read by another function code.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from adapters.modbus.codec import MAX_COILS, MAX_REGISTERS, FunctionCode, Query, Request
from telemetry.errors import UnavailableError
from telemetry.profiles import RegisterTable

FORGOTTEN_AFTER_S = 60.0
"""No reply is later than this [s]."""

MOST_QUESTIONS = 6
"""Questions that a unit is asked in one poll at most before it is left alone until the next."""

K = TypeVar("K", bound=Hashable)


class InDebtError(UnavailableError):
    """A unit owes so many replies that no question is left which would prove anything."""


@dataclass(slots=True)
class _Debt:
    """What may still come; each with the time [s] after which it cannot."""

    asked: Request
    sizes: dict[int, float] = field(default_factory=dict)
    functions: dict[FunctionCode, float] = field(default_factory=dict)
    refused_until: float = 0.0
    """Until then an exception reply may be owed: one came that nobody can place."""


class Debts:
    """What is owed by the units of one gateway; kept over reconnects. Times are monotonic [s]."""

    def __init__(self) -> None:
        self._units: dict[int, _Debt] = {}

    def add(self, query: Query, now: float) -> None:
        """Notes a question without a sound reply."""
        template = (
            query if isinstance(query, Request) else Request(0, query.unit, RegisterTable.HOLDING, 0, 1)
        )
        debt = self._units.setdefault(query.unit, _Debt(template))
        debt.functions[query.function] = now + FORGOTTEN_AFTER_S
        if isinstance(query, Request):
            debt.sizes[query.reply_bytes] = now + FORGOTTEN_AFTER_S

    def question(self, unit: int, now: float) -> Request | None:
        """What the unit must be asked first; None when it owes nothing.

        Raises
        ------
        InDebtError
            Nothing can be proven; later it can.

        """
        debt = self._units.get(unit)
        if debt is None:
            return None
        _forget(debt.sizes, now)
        _forget(debt.functions, now)
        if not debt.functions:
            self._units.pop(unit)
            return None
        # the other kind of question proves as much where the better one is not left
        kinds = [_of_another_length, _by_another_function]
        if now < debt.refused_until:
            kinds.reverse()
        made = kinds[0](debt) or kinds[1](debt)
        if made is None:
            raise InDebtError(f"unit {unit} owes replies to everything that it could be asked")
        return made

    def answered(self, question: Request) -> None:
        """The question was answered with data: the unit owes nothing any more."""
        self._units.pop(question.unit, None)

    def refused(self, question: Request, now: float) -> None:
        """The question was answered with an exception, which may be an owed one of the same function."""
        debt = self._units.get(question.unit)
        if debt is None or question.function not in debt.functions:
            self._units.pop(question.unit, None)
            return
        self.add(question, now)
        debt.refused_until = now + FORGOTTEN_AFTER_S


def _forget(until: dict[K, float], now: float) -> None:
    for key in [key for key, end in until.items() if end <= now]:
        del until[key]


def _of_another_length(debt: _Debt) -> Request | None:
    asked = debt.asked
    most = MAX_COILS if asked.table.is_bits else MAX_REGISTERS
    for count in (*range(asked.count - 1, 0, -1), *range(asked.count + 1, most + 1)):
        made = replace(asked, count=count, address=min(asked.address, 0x10000 - count))
        if made.reply_bytes not in debt.sizes:
            return made
    return None


def _by_another_function(debt: _Debt) -> Request | None:
    for table in (RegisterTable.INPUT, RegisterTable.HOLDING, RegisterTable.COIL, RegisterTable.DISCRETE):
        made = replace(debt.asked, table=table, count=1)
        if made.function not in debt.functions:
            return made
    return None
