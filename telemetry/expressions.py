"""Expressions over points: a small typed language, parsed, checked and evaluated here; never run as code.

::

    {SHY-TAS_SHY_main/TotW} + {SHY-TAS_TAS_main/TotW} > 15 MW
    if({AKT-ALT_AKT_main/TotW} > 0 MW, {AKT-ALT_AKT_main/TotW}, 0 MW)
    as(100 * {SHY_wind/TotW} / 320 MW, %)

Points stand in braces. A number carries its unit, in any spelling that :mod:`telemetry.units` knows. Units
are checked when an expression is parsed: sums, comparisons and choices need one unit, products and quotients
combine theirs, ``as(x, unit)`` says outright what a result is. Operators, loosest first: ``or``, ``and``,
``not``, comparisons, ``+ -``, ``* /``, sign. Functions: ``abs``, ``min``, ``max``, ``sum``, ``mean``, ``if``,
``as``.

A result is as good as the worst of what it used: an input that is bad makes it bad, unless it could not have
mattered (the branch not taken; the other side of an ``and`` that is false or an ``or`` that is true). What is
not finite is bad.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from telemetry.errors import GreenbridgeError
from telemetry.points import Unit
from telemetry.quality import Quality, usable
from telemetry.settings import nearest
from telemetry.units import CONVERSIONS, conversion, plain, spellings, stored_unit

MAX_LENGTH = 2000
"""Longest text of an expression [characters]."""
MAX_DEPTH = 40
"""Deepest nesting."""
MAX_PARTS = 200
"""Most points and numbers."""

Dimension = Mapping[Unit, int]
"""Exponents of the units that a value is measured in; empty for a plain number."""


class ExpressionError(GreenbridgeError):
    """A text that is no valid expression: where, why, and what to write instead."""

    def __init__(self, text: str, position: int, reason: str, fix: str = "") -> None:
        self.position = position
        self.reason = reason
        self.fix = fix
        super().__init__(f"{reason} at character {position + 1} of: {text}" + (f" ({fix})" if fix else ""))


class Column(NamedTuple):
    """Values with their quality, both of one length."""

    value: NDArray[Any]
    """Float, or bool for a truth."""
    quality: NDArray[np.uint8]


Inputs = Mapping[str, Column]
"""What each point measured, by path."""


class _Node(Protocol):
    """A part of an expression that can be evaluated."""

    def evaluate(self, inputs: Inputs) -> Column:
        """Its value for each row of the inputs."""
        ...


class _Typed(NamedTuple):
    """A part with what it yields."""

    node: _Node
    dimension: dict[Unit, int] | None
    """None for a truth."""
    position: int


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression."""

    text: str
    points: tuple[str, ...]
    """Paths of the points that it reads, each once."""
    dimension: Dimension | None
    """What it yields; None for a truth."""
    _node: _Node

    @property
    def unit(self) -> Unit | None:
        """The unit of its value; None for a truth, or when no single unit measures it."""
        if self.dimension is None:
            return None
        if not self.dimension:
            return Unit.COUNT
        ((unit, exponent), *more) = self.dimension.items()
        return unit if exponent == 1 and not more else None

    def evaluate(self, inputs: Inputs) -> Column:
        """Value and quality for each row of the inputs, which are of one length.

        Raises
        ------
        KeyError
            A point is not among the inputs.

        """
        with np.errstate(all="ignore"):
            value, quality = self._node.evaluate(inputs)
        if self.dimension is None:
            return Column(value, quality)
        wrong = ~np.isfinite(value)
        quality = np.where(wrong & usable(quality), np.uint8(Quality.NOT_A_NUMBER), quality)
        return Column(np.where(usable(quality), value, np.nan), quality)


def parse(text: str, units: Mapping[str, Unit]) -> Expression:
    """Parses and checks an expression.

    Parameters
    ----------
    text
        The expression.
    units
        Unit of every point that it may read, by path (``device/name``).

    Raises
    ------
    ExpressionError
        It is not valid.

    """
    parser = _Parser(text, units)
    node, dimension, _ = parser.whole()
    return Expression(text, tuple(parser.points), dimension, node)


def shown(dimension: Dimension | None) -> str:
    """A dimension for people: ``MW``, ``MW*h``, ``a plain number``, ``a condition``."""
    if dimension is None:
        return "a condition"
    parts = [f"{unit.value}^{n}" if n != 1 else unit.value for unit, n in sorted(dimension.items())]
    return "*".join(parts) or "a plain number"


@dataclass(frozen=True, slots=True)
class _Constant:
    value: float

    def evaluate(self, inputs: Inputs) -> Column:
        rows = len(next(iter(inputs.values())).value) if inputs else 1
        return Column(np.full(rows, self.value), np.zeros(rows, np.uint8))


@dataclass(frozen=True, slots=True)
class _Point:
    path: str

    def evaluate(self, inputs: Inputs) -> Column:
        return inputs[self.path]


@dataclass(frozen=True, slots=True)
class _Apply:
    """An operation on values that are all needed."""

    function: Callable[..., NDArray[Any]]
    arguments: tuple[_Node, ...]

    def evaluate(self, inputs: Inputs) -> Column:
        columns = [argument.evaluate(inputs) for argument in self.arguments]
        quality = columns[0].quality
        for column in columns[1:]:
            quality = np.maximum(quality, column.quality)
        return Column(self.function(*(column.value for column in columns)), quality)


@dataclass(frozen=True, slots=True)
class _Join:
    """``and``, ``or``: a side that decides makes the other not matter."""

    decides: bool
    left: _Node
    right: _Node

    def evaluate(self, inputs: Inputs) -> Column:
        (a, qa), (b, qb) = self.left.evaluate(inputs), self.right.evaluate(inputs)
        a_decides = (a == self.decides) & usable(qa)
        b_decides = (b == self.decides) & usable(qb)
        both = a_decides & b_decides
        quality = np.where(a_decides, qa, np.where(b_decides, qb, np.maximum(qa, qb)))
        value = np.where(a_decides | b_decides, self.decides, not self.decides)
        return Column(value, np.where(both, np.minimum(qa, qb), quality))


@dataclass(frozen=True, slots=True)
class _Choice:
    condition: _Node
    first: _Node
    second: _Node

    def evaluate(self, inputs: Inputs) -> Column:
        (taken, qc), a, b = (
            self.condition.evaluate(inputs),
            self.first.evaluate(inputs),
            self.second.evaluate(inputs),
        )
        quality = np.maximum(qc, np.where(taken, a.quality, b.quality))
        return Column(np.where(taken, a.value, b.value), quality)


_COMPARISONS: dict[str, Callable[..., NDArray[Any]]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}
_SUMS: dict[str, Callable[..., NDArray[Any]]] = {"+": np.add, "-": np.subtract}


def _minimum(*values: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.minimum.reduce(values))


def _maximum(*values: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.maximum.reduce(values))


def _sum(*values: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.add.reduce(values))


def _mean(*values: NDArray[Any]) -> NDArray[Any]:
    return _sum(*values) / len(values)


_MANY: dict[str, Callable[..., NDArray[Any]]] = {"min": _minimum, "max": _maximum, "sum": _sum, "mean": _mean}
_FUNCTIONS = ("abs", *_MANY, "if", "as")

_UNIT = "|".join(re.escape(name) for name in sorted(spellings(), key=len, reverse=True))
_TOKEN = re.compile(
    r"(?P<point>\{[^{}]*\})"
    rf"|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?:\s*(?P<unit>{_UNIT})(?![A-Za-z0-9]))?"
    r"|(?P<name>[A-Za-z]+)"
    r"|(?P<sign><=|>=|==|!=|[-+*/(),<>])"
)
_AS_UNIT = re.compile(rf"\s*(?P<unit>{_UNIT}|1)\s*(?=\))")


class _Parser:
    """Recursive descent over one text."""

    def __init__(self, text: str, units: Mapping[str, Unit]) -> None:
        self.points: dict[str, None] = {}
        self._text = text
        self._units = units
        self._at = 0
        self._depth = 0
        self._parts = 0
        if len(text) > MAX_LENGTH:
            raise ExpressionError(text[:40] + "...", MAX_LENGTH, f"longer than {MAX_LENGTH} characters")

    def whole(self) -> _Typed:
        """The whole text as one expression."""
        found = self._either()
        token = self._peek()
        if token is not None:
            raise self._error(f"{token.group()!r} is not expected here", "join with an operator")
        return found

    def _either(self) -> _Typed:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"nested more than {MAX_DEPTH} deep")
        left = self._both()
        while self._takes("or"):
            left = self._joined(left, self._both(), decides=True)
        self._depth -= 1
        return left

    def _both(self) -> _Typed:
        left = self._denied()
        while self._takes("and"):
            left = self._joined(left, self._denied(), decides=False)
        return left

    def _denied(self) -> _Typed:
        position = self._at
        count = 0
        while self._takes("not"):
            count += 1
        found = self._compared()
        if count:
            self._needs_truth(found)
        return _Typed(_Apply(np.logical_not, (found.node,)), None, position) if count % 2 else found

    def _compared(self) -> _Typed:
        left = self._added()
        token = self._peek()
        if token is not None and (compare := _COMPARISONS.get(token.group())):
            self._at = token.end()
            right = self._added()
            self._same(left, right)
            left = _Typed(_Apply(compare, (left.node, right.node)), None, left.position)
        return left

    def _added(self) -> _Typed:
        left = self._multiplied()
        while (token := self._peek()) is not None and token.group() in _SUMS:
            self._at = token.end()
            right = self._multiplied()
            dimension = self._same(left, right)
            left = _Typed(_Apply(_SUMS[token.group()], (left.node, right.node)), dimension, left.position)
        return left

    def _multiplied(self) -> _Typed:
        left = self._signed()
        while (token := self._peek()) is not None and token.group() in {"*", "/"}:
            self._at = token.end()
            right = self._signed()
            times = token.group() == "*"
            dimension = dict(self._number(left))
            for unit, exponent in self._number(right).items():
                dimension[unit] = dimension.get(unit, 0) + (exponent if times else -exponent)
            node = _Apply(np.multiply if times else np.divide, (left.node, right.node))
            left = _Typed(node, {unit: n for unit, n in dimension.items() if n}, left.position)
        return left

    def _signed(self) -> _Typed:
        position, minus = self._at, False
        while (token := self._peek()) is not None and token.group() in {"-", "+"}:
            self._at = token.end()
            minus ^= token.group() == "-"
        found = self._single()
        return _Typed(_Apply(np.negative, (found.node,)), self._number(found), position) if minus else found

    def _single(self) -> _Typed:
        token = self._peek()
        if token is None:
            raise self._error("something is missing", "a point in braces, a number or (")
        position = token.start()
        self._at = token.end()
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise self._error(f"more than {MAX_PARTS} points and numbers")
        if token.group("point"):
            path = token.group("point")[1:-1].strip()
            unit = self._units.get(path)
            if unit is None:
                self._at = position
                raise self._error(f"there is no point {path!r}", nearest(path, self._units))
            self.points[path] = None
            return _Typed(_Point(path), _dimension(unit), position)
        if token.group("number"):
            return self._literal(token, position)
        if token.group() == "(":
            found = self._either()
            self._expect(")")
            return found
        if token.group() in _FUNCTIONS:
            return self._call(token.group(), position)
        self._at = position
        raise self._error(f"{token.group()!r} is not known here", nearest(token.group(), _FUNCTIONS))

    def _literal(self, token: re.Match[str], position: int) -> _Typed:
        value, name = float(token.group("number")), token.group("unit")
        if name is None:
            return _Typed(_Constant(value), {}, position)
        unit = stored_unit(name)
        if unit is None:
            raise self._error(f"{name} is no unit")
        scale, offset = conversion(name, unit) if unit in CONVERSIONS else (1.0, 0.0)
        return _Typed(_Constant(value * scale + offset), _dimension(unit), position)

    def _call(self, name: str, position: int) -> _Typed:
        self._expect("(")
        if name == "as":
            return self._cast(position)
        arguments = [self._either()]
        while self._takes(","):
            arguments.append(self._either())
        self._expect(")")
        nodes = tuple(argument.node for argument in arguments)
        if name == "if":
            if len(arguments) != 3:
                raise self._error("if needs a condition and two values", "if(condition, then, else)")
            self._needs_truth(arguments[0])
            return _Typed(_Choice(*nodes), self._same(*arguments[1:]), position)
        if name == "abs" and len(arguments) != 1:
            raise self._error("abs needs one value")
        dimension = self._same(*arguments)
        return _Typed(_Apply(np.abs if name == "abs" else _MANY[name], nodes), dimension, position)

    def _cast(self, position: int) -> _Typed:
        found = self._either()
        self._number(found)
        self._expect(",")
        match = _AS_UNIT.match(self._text, self._at)
        if match is None:
            raise self._error("a unit is missing", "as(value, MW)")
        name = match.group("unit")
        unit = next((unit for unit in Unit if unit.value == plain(name)), None)
        if unit is None:
            raise self._error(
                f"{name} is not a unit in which values are stored", nearest(name, [u.value for u in Unit])
            )
        self._at = match.end()
        self._expect(")")
        return _Typed(found.node, _dimension(unit), position)

    def _joined(self, left: _Typed, right: _Typed, *, decides: bool) -> _Typed:
        self._needs_truth(left)
        self._needs_truth(right)
        return _Typed(_Join(decides, left.node, right.node), None, left.position)

    def _same(self, *parts: _Typed) -> dict[Unit, int]:
        first = self._number(parts[0])
        for part in parts[1:]:
            if self._number(part) != first:
                self._at = part.position
                raise self._error(
                    f"{shown(part.dimension)} cannot be put together with {shown(first)}",
                    "give both the same unit, or say what it is with as(x, unit)",
                )
        return first

    def _number(self, part: _Typed) -> dict[Unit, int]:
        if part.dimension is None:
            self._at = part.position
            raise self._error("a value is needed, this is a condition", "if(condition, then, else)")
        return part.dimension

    def _needs_truth(self, part: _Typed) -> None:
        if part.dimension is not None:
            self._at = part.position
            raise self._error("a condition is needed, this is a value", "compare it with something")

    def _takes(self, word: str) -> bool:
        token = self._peek()
        if token is None or token.group() != word:
            return False
        self._at = token.end()
        return True

    def _expect(self, sign: str) -> None:
        if not self._takes(sign):
            raise self._error(f"{sign!r} is missing")

    def _peek(self) -> re.Match[str] | None:
        start = len(self._text) - len(self._text[self._at :].lstrip())
        if start == len(self._text):
            return None
        token = _TOKEN.match(self._text, start)
        if token is None:
            self._at = start
            raise self._error(f"{self._text[start]!r} has no meaning")
        return token

    def _error(self, reason: str, fix: str = "") -> ExpressionError:
        return ExpressionError(self._text, self._at, reason, fix)


def _dimension(unit: Unit) -> dict[Unit, int]:
    return {} if unit is Unit.COUNT else {unit: 1}
