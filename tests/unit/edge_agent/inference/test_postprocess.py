from __future__ import annotations

import numpy as np
import pytest

from contract.errors import InferenceError
from edge_agent.inference.postprocess import (
    Dequantizer,
    best_classes,
    best_numbers,
    check_numbers,
    dequantize,
    softmax,
)


def test_stored_values_become_real_ones() -> None:
    real = dequantize(np.array([[-128, 127]], np.int8), 1 / 256, -128)

    assert real.dtype == np.float32
    assert real.tolist() == [[0.0, 255 / 256]]


def test_an_output_with_nan_is_a_failure_that_names_it() -> None:
    with pytest.raises(InferenceError, match="'scores'"):
        check_numbers(np.array([0.1, np.nan], np.float32), "scores")


def test_infinite_outputs_are_numbers() -> None:
    check_numbers(np.array([-np.inf, 0.0], np.float32), "scores")


def test_softmax_of_large_logits_does_not_overflow() -> None:
    result = softmax(np.array([1000.0, 1000.0, -1000.0], np.float32))

    assert result.tolist() == [0.5, 0.5, 0.0]


def test_the_best_class() -> None:
    assert best_classes(np.array([0.25, 0.5, 0.25], np.float32), 1) == [(1, 0.5)]


def test_the_best_classes_in_order_and_the_lower_index_first_among_equals() -> None:
    scores = np.array([0.25, 0.5, 0.25, 0.0], np.float32)

    assert best_classes(scores, 3) == [(1, 0.5), (0, 0.25), (2, 0.25)]
    assert best_classes(np.array([0.5, 0.5], np.float32), 1) == [(0, 0.5)]


def test_more_classes_than_there_are_gives_all() -> None:
    assert len(best_classes(np.array([0.25, 0.5], np.float32), 9)) == 2


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("zero_point", [0, 3])
def test_values_that_are_looked_up_are_those_that_are_computed(
    dtype: type[np.generic], zero_point: int
) -> None:
    stored = np.arange(256, dtype=np.uint8).view(dtype).reshape(2, 128)

    real = Dequantizer(0.0235, zero_point, stored.dtype, stored.size).real(stored)

    assert real.dtype == np.float32
    assert np.array_equal(real, dequantize(stored, 0.0235, zero_point))


@pytest.mark.parametrize(("dtype", "size"), [(np.int8, 5000), (np.int16, 7)])
def test_many_values_and_wide_ones_are_computed(dtype: type[np.generic], size: int) -> None:
    stored = np.arange(size).astype(dtype)

    real = Dequantizer(0.5, 1, stored.dtype, size).real(stored)

    assert np.array_equal(real, dequantize(stored, 0.5, 1))


def test_few_and_many_best_classes_begin_alike() -> None:
    scores = np.random.default_rng(1).integers(0, 40, 1000).astype(np.float32)

    assert best_classes(scores, 8) == best_classes(scores, 100)[:8]


def test_finding_the_best_leaves_the_scores_as_they_are() -> None:
    scores = np.array([0.25, 0.5], np.float32)

    best_classes(scores, 2)

    assert scores.tolist() == [0.25, 0.5]


def test_finding_the_best_among_infinite_ones_leaves_the_scores_as_they_are() -> None:
    scores = np.array([-np.inf, 1.0, np.inf], np.float32)

    best_classes(scores, 3)

    assert scores.tolist() == [-np.inf, 1.0, np.inf]


def test_minus_infinity_has_its_place_among_the_best() -> None:
    scores = np.array([-np.inf, 1.0, -np.inf], np.float32)

    assert best_classes(scores, 3) == [(1, 1.0), (0, -np.inf), (2, -np.inf)]


def test_what_is_no_number_comes_last() -> None:
    found = best_classes(np.array([np.nan, 1.0, 2.0], np.float32), 2)

    assert found == [(2, 2.0), (1, 1.0)]


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("count", [0, 1, 3, 8, 40])
@pytest.mark.parametrize("values", [1, 2, 4, 40])
def test_the_best_are_the_same_found_as_stored_or_as_real_values(
    dtype: type[np.generic], count: int, values: int
) -> None:
    random = np.random.default_rng(values)
    for spread in (1, 2, 5, 256):  # from nothing but equals to hardly any
        for lowest in (0, 256 - spread):
            codes = random.integers(0, spread, values) + lowest + np.iinfo(np.dtype(dtype)).min
            stored = codes.astype(dtype).reshape(1, values)
            table = Dequantizer(0.0235, 3, stored.dtype, values)

            real = table.real(stored)

            assert table.keeps_order
            assert np.array_equal(real, dequantize(stored, 0.0235, 3))
            few = min(count, values)
            assert table.best(stored, few) == best_classes(real.reshape(-1), few)


@pytest.mark.parametrize(
    ("scale", "dtype", "size"),
    [(0.5, np.int8, 5000), (0.5, np.int16, 7), (1e-46, np.int8, 7), (np.nan, np.int8, 7)],
)
def test_many_values_wide_ones_and_a_scale_too_small_keep_no_order(
    scale: float, dtype: type[np.generic], size: int
) -> None:
    assert not Dequantizer(scale, 1, np.dtype(dtype), size).keeps_order


def test_one_value_without_dimensions_is_a_value_too() -> None:
    stored = np.array(5, np.int8)
    table = Dequantizer(0.5, 1, stored.dtype, 1)

    assert table.real(stored) == 2.0
    assert table.best(stored, 1) == [(0, 2.0)]


@pytest.mark.parametrize("place", [0, 1, 3])
def test_the_best_of_numbers_are_none_where_one_is_no_number(place: int) -> None:
    scores = np.array([0.25, np.inf, -np.inf, 0.5], np.float32)
    scores[place] = np.nan

    with pytest.raises(InferenceError, match="'scores'"):
        best_numbers(scores, 1, "scores")


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_the_best_of_numbers_are_the_best(count: int) -> None:
    for scores in ([0.25, 0.5, 0.5], [-np.inf, 1.0, np.inf], [-np.inf] * 3):
        real = np.array(scores, np.float32)

        assert best_numbers(real, count, "scores") == best_classes(real.copy(), count)
        assert real.tolist() == scores
