from __future__ import annotations

import math

import pytest
from numpy import array, float64, int64, uint8

from console.trends import TrendView, step_for, trend
from ingest.ports import Series
from telemetry.quality import Quality

S = 1_000_000_000


def draw(
    rows: list[tuple[int, float, int, int]],
    step_s: int = 1,
    period_s: float = 1.0,
    *,
    start_s: int = 0,
    by_exception: bool = False,
    silence_s: float = 0.0,
    newest: tuple[int, float, int] | None = None,
) -> TrendView:
    """Rows of second, value, count and worst quality."""
    t, value, count, worst = zip(*rows, strict=True) if rows else ((), (), (), ())
    values = array(value, float64)
    series = Series(
        array(t, int64) * S, values - 1, values + 1, values, values, array(count, int64), array(worst, uint8)
    )
    return trend(
        series,
        point=7,
        path="a/TotW",
        title="P",
        unit="MW",
        period_s=period_s,
        start=start_s * S,
        end=100 * S,
        step=step_s * S,
        by_exception=by_exception,
        silence_s=silence_s,
        newest=newest,
    )


def test_a_steady_line_has_no_breaks() -> None:
    view = draw([(t, 5.0, 1, 0) for t in range(10)])
    assert view.t == [t * 1000 for t in range(10)]
    assert view.low == [4.0] * 10
    assert view.high == [6.0] * 10


@pytest.mark.parametrize(("second", "broken"), [(4, False), (5, True), (60, True)])
def test_a_gap_of_more_than_three_periods_breaks_the_line(second: int, broken: bool) -> None:
    view = draw([(0, 5.0, 1, 0), (second, 5.0, 1, 0)])
    assert view.mean == ([5.0, None, 5.0] if broken else [5.0, 5.0])
    assert view.t == sorted(view.t)


def test_a_slow_point_does_not_break_between_its_readings() -> None:
    view = draw([(t, 5.0, 1, 0) for t in range(0, 50, 10)], period_s=10.0)
    assert None not in view.mean


def test_an_interval_of_bad_readings_has_no_number_but_a_reason() -> None:
    view = draw([(0, 5.0, 1, 0), (1, math.nan, 0, Quality.LINK_LOST), (2, 5.0, 1, Quality.RECEIPT_STAMPED)])
    assert view.mean == [5.0, None, 5.0]
    assert view.count == [1, 0, 1]
    assert view.reasons == {Quality.LINK_LOST: "link_lost", Quality.RECEIPT_STAMPED: "receipt_stamped"}


def test_no_readings_are_no_rows() -> None:
    assert draw([]).t == []


@pytest.mark.parametrize(
    ("span_s", "intervals", "step_s"),
    [(300, 600, 1), (3600, 600, 10), (21600, 600, 60), (86400 * 400, 1, 86400 * 400), (1, 2000, 1)],
)
def test_steps_are_round_and_short_enough(span_s: int, intervals: int, step_s: int) -> None:
    assert step_for(span_s * S, intervals) == step_s * S


def quiet(rows: list[tuple[int, float, int, int]], newest: tuple[int, float, int] | None) -> TrendView:
    """The trend of a point that is reported by exception, from 10 s to 100 s."""
    return draw(rows, by_exception=True, newest=newest, start_s=10)


def test_a_point_that_reports_changes_is_drawn_as_it_was_until_the_next_one() -> None:
    view = quiet([(10, 5.0, 1, 0), (60, 7.0, 1, 0)], (60 * S, 7.0, 0))
    assert list(zip(view.t, view.mean, view.count, strict=True)) == [
        (10_000, 5.0, 1),
        (59_000, 5.0, 0),
        (60_000, 7.0, 1),
        (99_000, 7.0, 0),
    ]


def test_nothing_is_drawn_on_from_a_fault() -> None:
    dead = int(Quality.STALE)
    view = quiet([(10, 5.0, 1, 0), (30, math.nan, 0, dead), (60, 7.0, 1, 0)], (60 * S, 7.0, 0))
    assert list(zip(view.t, view.mean, strict=True)) == [
        (10_000, 5.0),
        (29_000, 5.0),
        (30_000, None),
        (31_000, None),
        (60_000, 7.0),
        (99_000, 7.0),
    ]


@pytest.mark.parametrize(
    ("newest", "drawn"),
    [
        ((0, 5.0, 0), [(10_000, 5.0), (99_000, 5.0)]),
        ((0, 5.0, Quality.CLOCK_SUSPECT), [(10_000, 5.0), (99_000, 5.0)]),
        ((0, 5.0, Quality.STALE), []),
        ((0, 5.0, Quality.LINK_LOST), []),
        ((200 * S, 5.0, 0), []),
        (None, []),
    ],
)
def test_a_point_that_has_not_changed_since_before_the_picture(
    newest: tuple[int, float, int] | None, drawn: list[tuple[int, float]]
) -> None:
    view = quiet([], newest)
    assert list(zip(view.t, view.mean, strict=True)) == drawn


def test_a_point_that_is_lost_by_now_is_not_drawn_to_the_end() -> None:
    view = quiet([(10, 5.0, 1, 0)], (10 * S, 5.0, int(Quality.LINK_LOST)))
    assert view.t == [10_000]


@pytest.mark.parametrize(("second", "broken"), [(64, False), (65, True)])
def test_a_deadband_leaves_no_hole_up_to_its_silence(second: int, broken: bool) -> None:
    view = draw([(0, 5.0, 1, 0), (second, 7.0, 1, 0)], silence_s=60.0)
    if broken:
        assert view.mean == [5.0, None, 7.0]
    else:
        assert list(zip(view.t, view.mean, strict=True)) == [(0, 5.0), (63_000, 5.0), (64_000, 7.0)]


def test_a_deadband_does_not_hide_that_a_link_was_lost() -> None:
    view = draw([(0, math.nan, 0, Quality.LINK_LOST), (30, 7.0, 1, 0)], silence_s=60.0)
    assert view.mean == [None, None, 7.0]
