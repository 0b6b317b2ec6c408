"""What is normalised, how signatures are named, and when two models answer the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from packager.normalize.plan import Changes, pinned_shape, signature_names
from packager.normalize.proof import (
    TOLERANCE,
    draw_inputs,
    find_difference,
    largest_difference,
    largest_share,
)

FLOAT = np.dtype(np.float32)


@pytest.mark.parametrize(
    ("shape", "free", "wanted"),
    [
        ((1, 8, 8, 1), (-1, 8, 8, 1), (1, 8, 8, 1)),
        ((4, 8), (-1, 8), (1, 8)),
        ((1, 8, 8, 1), (), None),
        ((1, 8, 8, 1), (1, 8, 8, 1), None),
        ((1, 1, 8, 1), (-1, -1, 8, 1), None),
        ((1, 1, 8, 1), (1, -1, 8, 1), None),
        ((1,), (-1,), None),
        ((1, 8), (-1, 8, 8), None),
    ],
)
def test_only_a_free_first_dimension_before_fixed_ones_is_the_batch(
    shape: tuple[int, ...], free: tuple[int, ...], wanted: tuple[int, ...] | None
) -> None:
    assert pinned_shape(shape, free, 1) == wanted


@pytest.mark.parametrize(
    ("tensors", "wanted"),
    [
        (["input_1"], ("input_1",)),
        (["serving_default_image:0"], ("image",)),
        (["", "b", ""], ("input_0", "b", "input_2")),
        (["a", "a", "a_1", "a"], ("a", "a_1", "a_1_1", "a_2")),
        (["x" * 1000], ("x" * 200,)),
        ([], ()),
    ],
)
def test_a_signature_takes_its_tensors_names_and_makes_each_unique(
    tensors: list[str], wanted: tuple[str, ...]
) -> None:
    assert signature_names(tensors, "input") == wanted


def test_each_change_is_told_in_a_few_words() -> None:
    changes = Changes(codes=5, half=10, sparse=1, batch=1, shapes=3, signature=(1, 2))
    assert changes.texts() == (
        "signature made from 1 input and 2 outputs",
        "10 float16 constants unfolded to float32",
        "1 sparse constant made dense",
        "free batch pinned to 1",
        "3 operators on shapes made constant",
        "5 operator codes of the old form renewed",
    )
    assert Changes().texts() == ()


def test_the_same_generator_draws_the_same_inputs_of_the_right_shape_and_type() -> None:
    ports: list[tuple[tuple[int, ...], np.dtype[Any]]] = [
        ((2, 3), FLOAT),
        ((4,), np.dtype(np.int64)),
        ((1,), np.dtype(np.bool_)),
        ((1,), np.dtype(object)),
    ]
    first = draw_inputs(ports, 0, np.random.default_rng(1))
    again = draw_inputs(ports, 0, np.random.default_rng(1))
    assert [(one.shape, one.dtype) for one in first] == ports
    for left, right in zip(first, again, strict=True):
        assert np.array_equal(left, right)
    assert 0 <= first[0].min() <= first[0].max() < 1
    assert set(first[1].tolist()) <= {0, 1}
    assert draw_inputs([((1000,), FLOAT)], 1, np.random.default_rng(1))[0].min() < 0


def real(*values: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32)


@pytest.mark.parametrize(
    ("wanted", "found", "text"),
    [
        (real(1, 2), real(1, 2), ""),
        (real(1, 2), real(1, 2 * (1 + TOLERANCE / 2)), ""),
        (real(1, 2), real(1, 2.1), "output y is off by 0.05 of its largest value"),
        (real(1, np.nan, np.inf), real(1, np.nan, np.inf), ""),
        (real(1, np.nan), real(1, 0), "output y is off by inf of its largest value"),
        (real(1, np.inf), real(1, -np.inf), "output y is off by inf of its largest value"),
        (real(np.nan), real(np.nan), ""),
        (real(), real(), ""),
        (real(1, 2), real(1), "output y is float32 (1,) instead of float32 (2,)"),
        (real(1), np.array([1]), "output y is int64 (1,) instead of float32 (1,)"),
        (np.array([1]), np.array([1]), ""),
        (np.array([1]), np.array([2]), "output y has other values"),
    ],
)
def test_outputs_are_the_same_within_rounding_or_the_difference_is_named(
    wanted: np.ndarray[Any, Any], found: np.ndarray[Any, Any], text: str
) -> None:
    said = find_difference(["y"], [wanted], [found])
    assert said.startswith(text)
    assert bool(said) == bool(text)


def test_the_largest_difference_counts_every_real_output() -> None:
    assert largest_difference([np.array([1])], [np.array([2])]) == 0
    assert largest_difference([real(1), real(2)], [real(1), real(1)]) == pytest.approx(0.5)
    assert largest_share(real(0), real(0)) == 0
