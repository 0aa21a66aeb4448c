from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from telemetry.batch import Columns, ReadingBatch
from telemetry.errors import RegistryError
from telemetry.points import PointKey
from telemetry.quality import Quality, Validity, reason_of, usable, validity_of
from telemetry.registry import PointRegistry


def batch(point: ArrayLike = (1, 2), quality: ArrayLike = (0, 129)) -> ReadingBatch:
    return ReadingBatch.of("s", 1, 2, 3, point=point, t_source=[10, 20], value=[1.5, np.nan], quality=quality)


def test_columns_have_their_exact_types() -> None:
    made = batch()
    assert [column.dtype.str for column in (made.point, made.t_source, made.value, made.quality)] == [
        "<u4",
        "<i8",
        "<f8",
        "|u1",
    ]
    assert len(made) == 2
    assert len(ReadingBatch.of("s", 1, 2, 3, point=[], t_source=[], value=[], quality=[])) == 0


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"batch of s: columns differ in length \(3, 2, 2, 2\)"):
        batch(point=(1, 2, 3))
    with pytest.raises(ValueError, match="columns differ in length"):
        Columns.of([1], [2], [3.0], [])


@pytest.mark.parametrize("quality", [(0, 256), (-1, 0), (0, 0.5), (0, np.nan)])
def test_a_code_that_does_not_fit_is_refused_not_wrapped_into_good(quality: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="quality code"):
        batch(quality=quality)
    with pytest.raises(ValueError, match="quality code"):
        Columns.of([1, 2], [1, 2], [1, 2], quality)


def test_a_point_index_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="point index 4294967296"):
        batch(point=np.array([0, 2**32]))


def test_batches_are_the_same_when_every_column_and_label_is() -> None:
    assert batch().same_as(batch())
    assert not batch().same_as(batch(quality=(0, 130)))
    assert not batch().same_as(batch(point=(1, 3)))


def test_joined_and_selected() -> None:
    joined = Columns.joined([batch(), batch(point=(7, 8))])
    assert joined.point.tolist() == [1, 2, 7, 8]
    assert joined.where(joined.quality == 0).point.tolist() == [1, 7]
    assert joined.where(np.array([3, 0])).t_source.tolist() == [20, 10]
    assert len(Columns.joined([])) == 0


@given(st.integers(0, 255), st.integers(0, 255))
def test_the_worst_of_two_qualities_is_their_maximum(a: int, b: int) -> None:
    assert validity_of(max(a, b)) is max(validity_of(a), validity_of(b))


def test_quality_codes_keep_their_meaning() -> None:
    assert (Quality.GOOD.validity, Quality.GOOD.reason) == (Validity.GOOD, "good")
    assert (validity_of(64), validity_of(127)) == (Validity.UNCERTAIN, Validity.UNCERTAIN)
    assert (validity_of(128), validity_of(255)) == (Validity.BAD, Validity.BAD)
    assert (Quality.LINK_LOST, reason_of(130), reason_of(99)) == (130, "link_lost", "unknown_99")
    assert len({quality.reason for quality in Quality}) == len(Quality)


def test_uncertain_values_are_usable_bad_ones_are_not() -> None:
    assert usable(np.array([0, 65, 127, 128, 255], np.uint8)).tolist() == [True, True, True, False, False]


A, B, C = PointKey("a", "W", "MW"), PointKey("b", "W", "MW"), PointKey("a", "W", "kW")


def test_the_registry_gives_an_index_once() -> None:
    registry = PointRegistry([A])
    assert registry.missing([B, A, B, C]) == [B, C]
    registry.extend([B, C])
    assert [registry.index(key) for key in (A, B, C)] == [0, 1, 2]
    assert [registry.key(i) for i in range(len(registry))] == [A, B, C]
    assert B in registry
    assert PointKey("x", "W", "MW") not in registry


@pytest.mark.parametrize("keys", [[B, A], [B, B]])
def test_an_extension_is_taken_whole_or_not_at_all(keys: list[PointKey]) -> None:
    registry = PointRegistry([A])
    with pytest.raises(RegistryError, match="declared already"):
        registry.extend(keys)
    assert len(registry) == 1
    assert B not in registry


def test_what_the_registry_does_not_know() -> None:
    registry = PointRegistry([A])
    with pytest.raises(RegistryError, match="b/W/MW was never declared"):
        registry.index(B)
    for index in (-1, 1):
        with pytest.raises(RegistryError, match="was never given"):
            registry.key(index)
    with pytest.raises(RegistryError, match="a/W/MW is listed twice"):
        PointRegistry([A, B, A])
