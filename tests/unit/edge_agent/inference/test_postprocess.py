from __future__ import annotations

import numpy as np
import pytest

from contract.errors import InferenceError
from edge_agent.inference.postprocess import best_classes, check_numbers, dequantize, softmax


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
