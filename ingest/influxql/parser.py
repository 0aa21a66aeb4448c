"""From the text of a query to its tree, by recursive descent; pure.

Depth and length are bounded, so that no text, however made, costs more than a little.
"""

from __future__ import annotations

from datetime import UTC, datetime

from ingest.influxql.syntax import (
    AGGREGATES,
    MATHS,
    SELECTORS,
    Among,
    Call,
    Column,
    Comparison,
    Condition,
    Either,
    Every,
    Expression,
    Field,
    Number,
    Operation,
    QueryError,
    Select,
    ShowMeasurements,
    ShowTagValues,
    Statement,
    calls,
)
from ingest.influxql.tokens import Kind, Token, tokens

MAX_DEPTH = 24
"""Brackets and subqueries within each other."""
_UNITS = {
    "ns": 1,
    "u": 1_000,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86_400 * 10**9,
    "w": 7 * 86_400 * 10**9,
}
_COMPARISONS = ("=", "!=", "<", "<=", ">", ">=")
_FAR = 2**62
"""Times beyond it, some 146 years from 1970, count as it [ns]."""


def parse(text: str) -> Statement:
    """The tree of a query.

    Raises
    ------
    QueryError
        It is none of the shapes that are answered; the message names what is not.

    """
    parser = _Parser(list(tokens(text)))
    statement = parser.statement()
    parser.take(";")
    parser.end()
    return statement


class _Parser:
    """Reads words from left to right."""

    def __init__(self, words: list[Token]) -> None:
        self._words = words
        self._at = 0
        self._depth = 0

    def statement(self) -> Statement:
        if self.take("select"):
            return self._select()
        self.need("show")
        if self.take("measurements"):
            return ShowMeasurements(self._whole() if self.take("limit") else None)
        self.need("tag")
        self.need("values")
        self.need("from")
        measurements = [self._name()]
        while self.take(","):
            measurements.append(self._name())
        self.need("with")
        self.need("key")
        self.need("=")
        key = self._name()
        where, low, high = self._where() if self.take("where") else (Every(()), None, None)
        if low is not None or high is not None:
            raise QueryError("SHOW TAG VALUES is not narrowed down by time here")
        return ShowTagValues(tuple(measurements), key, where)

    def end(self) -> None:
        if self._word.kind is not Kind.END:
            raise QueryError(f"{self._word} is not understood here; one statement is answered at a time")

    @property
    def _word(self) -> Token:
        return self._words[self._at]

    def take(self, word: str) -> bool:
        """Passes a keyword or sign if it stands here."""
        found = self._word.kind in {Kind.WORD, Kind.SIGN} and self._word.text == word
        self._at += found
        return found

    def need(self, word: str) -> None:
        if not self.take(word):
            raise QueryError(f"{word.upper()} is expected instead of {self._word}")

    def _of(self, kind: Kind) -> str:
        word = self._word
        if word.kind is not kind:
            raise QueryError(f"a {kind.value} is expected instead of {word}")
        self._at += 1
        return word.text

    def _name(self) -> str:
        return self._of(Kind.NAME)

    def _whole(self) -> int:
        text = self._of(Kind.NUMBER)
        if not text.isdigit():
            raise QueryError(f"a whole number is expected instead of {text}")
        return int(text)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise QueryError(f"more than {MAX_DEPTH} brackets within each other at {self._word}")

    def _select(self) -> Select:
        self._deeper()
        fields = [self._field()]
        while self.take(","):
            fields.append(self._field())
        self.need("from")
        sources = [self._source()]
        while self.take(","):
            sources.append(self._source())
        if len({isinstance(source, str) for source in sources}) > 1:
            raise QueryError("measurements and subqueries do not stand in one FROM")
        where, low, high = self._where() if self.take("where") else (Every(()), None, None)
        step, tags, filled = self._grouping() if self.take("group") else (None, (), False)
        newest_first = False
        if self.take("order"):
            self.need("by")
            self.need("time")
            newest_first = self.take("desc")
            if not newest_first:
                self.take("asc")
        limit = self._whole() if self.take("limit") else None
        self._depth -= 1
        select = Select(
            tuple(fields), tuple(sources), where, low, high, step, tags, filled, newest_first, limit
        )
        _check(select)
        return select

    def _source(self) -> str | Select:
        if not self.take("("):
            return self._name()
        self.need("select")
        select = self._select()
        self.need(")")
        return select

    def _field(self) -> Field:
        expression = self._sum()
        if self.take("as"):
            return Field(expression, self._name())
        match expression:
            case Column(name):
                return Field(expression, name)
            case Call(name, _):
                return Field(expression, name)
        raise QueryError(f"a formula needs AS and a name before {self._word}")

    def _sum(self) -> Expression:
        left = self._product()
        while (sign := self._word.text) in {"+", "-"} and self.take(sign):
            left = Operation(sign, left, self._product())
        return left

    def _product(self) -> Expression:
        left = self._factor()
        while (sign := self._word.text) in {"*", "/"} and self.take(sign):
            left = Operation(sign, left, self._factor())
        return left

    def _factor(self) -> Expression:
        if self.take("-"):
            return Number(-float(self._of(Kind.NUMBER)))
        if self._word.kind is Kind.NUMBER:
            return Number(float(self._of(Kind.NUMBER)))
        if self._word.kind is Kind.NAME:
            return Column(self._name())
        self._deeper()
        if self.take("("):
            found = self._sum()
        else:
            word = self._word
            name = self._of(Kind.WORD)
            if name not in {*AGGREGATES, *SELECTORS, *MATHS}:
                known = ", ".join((*AGGREGATES, *SELECTORS, *MATHS))
                raise QueryError(f"{word}: no such function here; there are {known}")
            self.need("(")
            found = Call(name, self._sum() if name in MATHS else Column(self._name()))
        self.need(")")
        self._depth -= 1
        return found

    def _where(self) -> tuple[Every, int | None, int | None]:
        """Conditions joined by AND; those on time become bounds."""
        low: int | None = None
        high: int | None = None
        parts: list[Condition] = []
        while True:
            if self._word.kind is Kind.WORD and self._word.text == "time":
                operator, instant = self._time()
                match operator:
                    case ">=" | ">":
                        bound = instant + (operator == ">")
                        low = bound if low is None else max(low, bound)
                    case _:
                        bound = instant - (operator == "<")
                        high = bound if high is None else min(high, bound)
            else:
                parts.append(self._condition())
            if not self.take("and"):
                return Every(tuple(parts)), low, high

    def _time(self) -> tuple[str, int]:
        self._at += 1
        operator = self._of(Kind.SIGN)
        if operator not in {"<", "<=", ">", ">="}:
            raise QueryError(f"time {operator} is not understood; use <, <=, > or >=")
        if self._word.kind is Kind.TEXT:
            return operator, _instant(self._of(Kind.TEXT))
        if self._word.kind is Kind.NUMBER:
            return operator, min(self._whole(), _FAR)
        return operator, min(self._duration(), _FAR)

    def _duration(self) -> int:
        text = self._of(Kind.DURATION)
        digits = text.rstrip("nsmuhdw")
        return int(digits) * _UNITS[text[len(digits) :]]

    def _condition(self) -> Condition:
        if self.take("("):
            self._deeper()
            parts = [self._condition()]
            while self.take("or"):
                parts.append(self._condition())
            self.need(")")
            self._depth -= 1
            return Either(tuple(parts))
        column = self._name()
        operator = self._of(Kind.SIGN)
        if operator == "=~":
            return Among(column, _alternatives(self._of(Kind.REGEX)))
        if operator not in _COMPARISONS:
            raise QueryError(f"{operator!r} after {column!r} is no comparison that is answered here")
        if self._word.kind is Kind.TEXT:
            if operator not in {"=", "!="}:
                raise QueryError(f"a text is compared by = or != only, not by {operator}")
            return Comparison(column, operator, self._of(Kind.TEXT))
        negative = self.take("-")
        value = float(self._of(Kind.NUMBER))
        return Comparison(column, operator, -value if negative else value)

    def _grouping(self) -> tuple[int | None, tuple[str, ...], bool]:
        self.need("by")
        step: int | None = None
        tags: list[str] = []
        while True:
            if self.take("time"):
                self.need("(")
                step = self._duration()
                self.need(")")
                if not 0 < step <= _FAR:
                    raise QueryError("the interval of GROUP BY time() is not above 0, or too long")
            else:
                tags.append(self._name())
            if not self.take(","):
                break
        filled = step is not None
        if self.take("fill"):
            self.need("(")
            filled = self.take("null")
            if not filled:
                self.need("none")
            self.need(")")
        return step, tuple(tags), filled and step is not None


def _check(select: Select) -> None:
    """Refuses mixtures of columns and functions that have no one meaning."""
    found = [call for field in select.fields for call in calls(field.expression)]
    selectors = [call for call in found if call.name in SELECTORS]
    plain = [field for field in select.fields if not [*calls(field.expression)]]
    if found and plain and not (len(found) == len(selectors) == 1):
        raise QueryError("beside columns stands exactly one of " + ", ".join(SELECTORS))
    if plain and found and any(not isinstance(field.expression, Column) for field in plain):
        raise QueryError(f"beside {found[0].name}() only columns are selected, no formulas")
    for field in select.fields:
        match field.expression:
            case Call(name, _) if name not in MATHS:
                continue
            case _ if [*calls(field.expression)] and _bare(field.expression):
                raise QueryError(f"{field.name!r} mixes columns with functions over many rows")
    if select.step is not None and not found:
        raise QueryError("GROUP BY time() needs a function such as mean()")
    names = [field.name for field in select.fields]
    if len(set(names)) < len(names) or "time" in names:
        raise QueryError("two columns of the answer have one name, or one is called time: use AS")


def _bare(expression: Expression) -> bool:
    """Whether a column stands outside of every aggregate."""
    match expression:
        case Column():
            return True
        case Call(name, argument):
            return name in MATHS and _bare(argument)
        case Operation(_, left, right):
            return _bare(left) or _bare(right)
    return False


def _instant(text: str) -> int:
    """An RFC 3339 time [ns, UTC]."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise QueryError(f"{text!r} is no time; write 2026-01-01T00:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    whole = moment - datetime(1970, 1, 1, tzinfo=UTC)
    instant = (whole.days * 86_400 + whole.seconds) * 10**9 + whole.microseconds * 1000
    return max(-_FAR, min(instant, _FAR))


def _alternatives(pattern: str) -> frozenset[str] | None:
    """Texts that ``^(a|b)$``, ``^a$`` or ``^.*$`` allows; None for any.

    No other regular expression is answered: a general one could take any time.
    """
    if not (pattern.startswith("^") and pattern.endswith("$")):
        raise QueryError(f"/{pattern}/ is not of the form /^(a|b)$/")
    inner = pattern[1:-1]
    if inner == ".*":
        return None
    if inner.startswith("(") and inner.endswith(")"):
        inner = inner[1:-1]
    texts, current, characters = [], "", iter(inner)
    for character in characters:
        if character == "\\":
            following = next(characters, "")
            if following.isalnum() or not following:
                raise QueryError(f"\\{following} in /{pattern}/ is not answered here")
            current += following
        elif character == "|":
            texts.append(current)
            current = ""
        elif character in r"^$*+?.()[]{}":
            raise QueryError(f"{character!r} in /{pattern}/ is not answered here; escape it")
        else:
            current += character
    return frozenset([*texts, current])
