"""What a query says, as a tree; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from telemetry.errors import GreenbridgeError

AGGREGATES = ("count", "sum", "mean")
SELECTORS = ("last", "max", "min")
MATHS = ("abs", "sqrt")


class QueryError(GreenbridgeError):
    """A query that is not one of the shapes that are answered here."""


@dataclass(frozen=True, slots=True)
class Number:
    """A number."""

    value: float


@dataclass(frozen=True, slots=True)
class Column:
    """A field, or a tag."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function of one argument."""

    name: str
    argument: Expression


@dataclass(frozen=True, slots=True)
class Operation:
    """Two expressions joined by ``+``, ``-``, ``*`` or ``/``."""

    operator: str
    left: Expression
    right: Expression


Expression = Number | Column | Call | Operation


@dataclass(frozen=True, slots=True)
class Comparison:
    """A column against a number or a text: ``=``, ``!=``, ``<``, ``<=``, ``>`` or ``>=``."""

    column: str
    operator: str
    value: float | str


@dataclass(frozen=True, slots=True)
class Among:
    """A tag that is one of some texts; any at all without them."""

    column: str
    values: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Either:
    """At least one of several conditions."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Every:
    """All of several conditions."""

    parts: tuple[Condition, ...]


Condition = Comparison | Among | Either | Every


@dataclass(frozen=True, slots=True)
class Field:
    """One column of the answer."""

    expression: Expression
    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """A SELECT statement."""

    fields: tuple[Field, ...]
    sources: tuple[str | Select, ...]
    """Measurements, or subqueries."""
    where: Every
    """Without the conditions on time."""
    low: int | None = None
    """Earliest time [ns, UTC]."""
    high: int | None = None
    """Latest time, which is part of it [ns, UTC]."""
    step: int | None = None
    """Length of the intervals that rows are grouped by [ns]."""
    tags: tuple[str, ...] = ()
    """Tags that rows are grouped by."""
    filled: bool = False
    """Intervals without a row have one with nulls."""
    newest_first: bool = False
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class ShowTagValues:
    """A SHOW TAG VALUES statement."""

    measurements: tuple[str, ...]
    key: str
    where: Every


@dataclass(frozen=True, slots=True)
class ShowMeasurements:
    """A SHOW MEASUREMENTS statement."""

    limit: int | None


Statement = Select | ShowTagValues | ShowMeasurements


def calls(expression: Expression) -> Iterator[Call]:
    """Aggregates and selectors in an expression."""
    match expression:
        case Call(name, argument):
            if name not in MATHS:
                yield expression
            yield from calls(argument)
        case Operation(_, left, right):
            yield from calls(left)
            yield from calls(right)


def columns(expression: Expression) -> Iterator[str]:
    """Names of the columns in an expression."""
    match expression:
        case Column(name):
            yield name
        case Call(_, argument):
            yield from columns(argument)
        case Operation(_, left, right):
            yield from columns(left)
            yield from columns(right)


def asked(condition: Condition) -> Iterator[str]:
    """Names of the columns in a condition."""
    match condition:
        case Comparison(column, _, _) | Among(column, _):
            yield column
        case Either(parts) | Every(parts):
            for part in parts:
                yield from asked(part)
