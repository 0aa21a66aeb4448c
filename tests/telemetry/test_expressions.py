"""Expressions: what they mean, what their quality is, and what is refused, with the place and the fix."""

from __future__ import annotations

import math
import operator
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.expressions import MAX_LENGTH, Column, ExpressionError, parse
from telemetry.points import Unit
from telemetry.quality import Quality

UNITS = {
    "a/TotW": Unit.MW,
    "b/TotW": Unit.MW,
    "a/PPV": Unit.KV,
    "a/St": Unit.COUNT,
    "a/Tmp": Unit.DEG_C,
}
GOOD, STALE = int(Quality.GOOD), int(Quality.STALE)


def columns(**quality: int) -> dict[str, Column]:
    """One row of each point; qualities by the first letters of the path."""
    values = {"a/TotW": 30.0, "b/TotW": -20.0, "a/PPV": 500.0, "a/St": 4.0, "a/Tmp": 21.0}
    return {
        path: Column(np.array([value]), np.array([quality.get(path.replace("/", "_"), GOOD)], np.uint8))
        for path, value in values.items()
    }


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("{a/TotW} + {b/TotW}", 10.0, Unit.MW),
        ("{a/TotW} - {b/TotW} - 5 MW", 45.0, Unit.MW),
        ("-{a/TotW}", -30.0, Unit.MW),
        ("--{a/TotW}", 30.0, Unit.MW),
        ("2 * {a/TotW} / 4", 15.0, Unit.MW),
        ("1 + 2 * 3", 7.0, Unit.COUNT),
        ("(1 + 2) * 3", 9.0, Unit.COUNT),
        ("8 / 4 / 2", 1.0, Unit.COUNT),
        ("500 kW + 0.5 MW + 1e6 W", 2.0, Unit.MW),
        ("{a/TotW} / {b/TotW}", -1.5, Unit.COUNT),
        ("as(100 * {a/TotW} / 60 MW, %)", 50.0, Unit.PERCENT),
        ("{a/TotW} * {a/PPV}", 15000.0, None),
        ("{a/TotW} * {a/PPV} / {a/PPV}", 30.0, Unit.MW),
        ("abs({b/TotW})", 20.0, Unit.MW),
        ("min({a/TotW}, {b/TotW}, 0 MW)", -20.0, Unit.MW),
        ("max({a/TotW}, {b/TotW})", 30.0, Unit.MW),
        ("sum({a/TotW}, {b/TotW}, 1 GW)", 1010.0, Unit.MW),
        ("mean({a/TotW}, {b/TotW})", 5.0, Unit.MW),
        ("if({a/St} == 4, {a/TotW}, 0 MW)", 30.0, Unit.MW),
        ("if(not {a/St} == 4, {a/TotW}, {b/TotW})", -20.0, Unit.MW),
        ("{a/Tmp} - 20 degC", 1.0, Unit.DEG_C),
        ("{a/Tmp} > 300 K", False, None),
        ("{a/TotW} > 15 MW and {b/TotW} < 0 MW", True, None),
        ("{a/TotW} < 15 MW or {b/TotW} < 0 MW and {a/PPV} >= 500 kV", True, None),
        ("not not {a/TotW} != 30 MW", False, None),
    ],
)
def test_values_and_units(text: str, value: float | bool, unit: Unit | None) -> None:
    expression = parse(text, UNITS)
    found = expression.evaluate(columns())
    assert found.value.tolist() == [pytest.approx(value)]
    assert found.quality.tolist() == [GOOD]
    assert expression.unit is unit


@pytest.mark.parametrize(
    ("text", "bad", "quality"),
    [
        ("{a/TotW} + {b/TotW}", "b_TotW", STALE),
        ("max({a/TotW}, {b/TotW})", "b_TotW", STALE),
        ("if({a/St} == 4, {a/TotW}, {b/TotW})", "b_TotW", GOOD),
        ("if({a/St} == 4, {a/TotW}, {b/TotW})", "a_TotW", STALE),
        ("if({a/St} == 4, {a/TotW}, {b/TotW})", "a_St", STALE),
        ("{a/TotW} < 0 MW and {b/TotW} < 0 MW", "b_TotW", GOOD),
        ("{a/TotW} > 0 MW and {b/TotW} < 0 MW", "b_TotW", STALE),
        ("{a/TotW} > 0 MW or {b/TotW} < 0 MW", "b_TotW", GOOD),
        ("{b/TotW} > 0 MW or {a/TotW} > 0 MW", "b_TotW", GOOD),
        ("{a/TotW} < 0 MW or {b/TotW} < 0 MW", "b_TotW", STALE),
        ("{a/TotW} + 0 * {b/TotW}", "b_TotW", STALE),
    ],
)
def test_a_result_is_as_good_as_what_it_used(text: str, bad: str, quality: int) -> None:
    found = parse(text, UNITS).evaluate(columns(**{bad: STALE}))
    assert found.quality.tolist() == [quality]
    if quality == STALE and found.value.dtype != bool:
        assert np.isnan(found.value).all(), "a value that is not known is not given"


@pytest.mark.parametrize("text", ["{a/TotW} / (1 - 1)", "0 / 0", "1e308 * 10 * {a/TotW}"])
def test_what_is_not_finite_is_bad(text: str) -> None:
    found = parse(text, UNITS).evaluate(columns())
    assert found.quality.tolist() == [Quality.NOT_A_NUMBER]
    assert np.isnan(found.value).all()


def test_uncertain_inputs_make_it_uncertain_and_the_worst_reason_wins() -> None:
    inputs = columns(a_TotW=int(Quality.CLOCK_SUSPECT), b_TotW=int(Quality.RETAINED))
    found = parse("{a/TotW} + {b/TotW}", UNITS).evaluate(inputs)
    assert (found.value.tolist(), found.quality.tolist()) == ([10.0], [Quality.RETAINED])


def test_many_rows_are_evaluated_at_once() -> None:
    rows = {
        "a/TotW": Column(np.array([1.0, 2.0, np.nan]), np.array([GOOD, GOOD, STALE], np.uint8)),
        "b/TotW": Column(np.array([10.0, -20.0, 30.0]), np.zeros(3, np.uint8)),
    }
    found = parse("if({b/TotW} > 0 MW, {a/TotW}, 7 MW)", UNITS).evaluate(rows)
    assert found.quality.tolist() == [GOOD, GOOD, STALE]
    assert found.value.tolist()[:2] == [1.0, 7.0]


@pytest.mark.parametrize(
    ("text", "position", "reason", "fix"),
    [
        ("", 0, "something is missing", "a point in braces"),
        ("{a/TotW} +", 10, "something is missing", ""),
        ("{a/TotV}", 0, "there is no point 'a/TotV'", 'did you mean "a/TotW"?'),
        ("{a/TotW} + {a/PPV}", 11, "kV cannot be put together with MW", "as(x, unit)"),
        ("{a/TotW} + 5", 11, "a plain number cannot be put together with MW", ""),
        ("{a/TotW} > 5 kV", 11, "kV cannot be put together with MW", ""),
        ("({a/TotW} > 5 MW) + 1", 0, "a value is needed", "if("),
        ("not {a/TotW}", 4, "a condition is needed", "compare"),
        ("{a/TotW} and {b/TotW}", 0, "a condition is needed", ""),
        ("if({a/TotW}, 1, 2)", 3, "a condition is needed", ""),
        ("if({a/TotW} > 1 MW, 1)", 22, "if needs a condition and two values", ""),
        ("abs(1, 2)", 9, "abs needs one value", ""),
        ("as({a/TotW}, kW)", 12, "not a unit in which values are stored", ""),
        ("as({a/TotW})", 11, "',' is missing", ""),
        ("mni(1, 2)", 0, "'mni' is not known here", 'did you mean "min"?'),
        ("__import__('os')", 0, "'_' has no meaning", ""),
        ("(1 + 2", 6, "')' is missing", ""),
        ("1 2", 1, "'2' is not expected here", "join"),
        ("1 < 2 < 3", 5, "'<' is not expected here", ""),
        ("(" * 60 + "1" + ")" * 60, 40, "nested more than", ""),
        ("+".join(["1"] * 300), 0, "more than 200 points and numbers", ""),
        ("1" * (MAX_LENGTH + 1), 0, "longer than", ""),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_a_fix(
    text: str, position: int, reason: str, fix: str
) -> None:
    with pytest.raises(ExpressionError) as refused:
        parse(text, UNITS)
    assert reason in refused.value.reason
    assert fix in refused.value.fix
    if position and len(text) < 100:
        assert refused.value.position == position


@given(st.text(alphabet="{}a/TotW()+-*<>=!,.0123456789 MWkVandorif%", max_size=60))
def test_no_text_does_anything_but_parse_or_be_refused(text: str) -> None:
    with suppress(ExpressionError):
        parse(text, UNITS).evaluate(columns())


LEAVES = st.one_of(
    st.floats(-100, 100, allow_nan=False).map(
        lambda x: (f"{x:.3f}" if x >= 0 else f"(0 - {-x:.3f})", round(x, 3))
    ),
    st.just(("{a/St}", 4.0)),
)
OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def _joined(inner: st.SearchStrategy[tuple[str, float]]) -> st.SearchStrategy[tuple[str, float]]:
    return st.tuples(inner, st.sampled_from(sorted(OPERATORS)), inner).map(
        lambda x: (f"({x[0][0]} {x[1]} {x[2][0]})", OPERATORS[x[1]](x[0][1], x[2][1]))
    )


@given(st.recursive(LEAVES, _joined, max_leaves=12))
def test_arithmetic_is_that_of_python(sample: tuple[str, float]) -> None:
    text, value = sample
    found = parse(text, UNITS).evaluate(columns())
    assert math.isclose(found.value[0], value, rel_tol=1e-9, abs_tol=1e-9)
