"""Which operators are blamed for an error, and which go to float together."""

from __future__ import annotations

import numpy as np
import pytest

from contract.profile import Precision
from packager.coverage.graph import Graph, Node, Tensor
from packager.selective import Step, lost_share, next_floats, rank, read_steps

STATIC, DYNAMIC = Precision.STATIC_INT8, Precision.DYNAMIC_INT8
CHAIN = [
    Step("image;", "INPUT", (), ("image",)),
    Step("a;", "CONV_2D", ("image",), ("a",)),
    Step("b;", "CONV_2D", ("a",), ("b",)),
    Step("c;", "ADD", ("a", "b"), ("c",)),
    Step("scores;", "SOFTMAX", ("c",), ("scores",)),
]
ERRORS = {"image": 0.0, "a": 0.5, "b": 0.52, "c": 0.53, "scores": 0.95}


def test_an_exact_copy_loses_nothing_and_one_that_is_zero_counts_a_half() -> None:
    values = np.array([[1.0, -2.0], [0.0, 4.0]])
    assert lost_share(values, values) == 0.0
    assert lost_share(np.zeros((2, 2)), values) == 0.5


def test_one_giant_channel_does_not_hide_that_the_others_are_gone() -> None:
    wanted = np.array([1e6] + [1.0] * 99)
    found = np.array([1e6] + [0.0] * 99)
    assert lost_share(found, wanted) == pytest.approx(0.495)


def test_zeros_are_not_counted_and_answers_that_are_no_numbers_are_a_whole_loss() -> None:
    assert lost_share(np.array([5.0, 1.0]), np.array([0.0, 1.0])) == 0.0
    assert lost_share(np.array([5.0]), np.array([0.0])) == 0.0
    assert lost_share(np.array([np.nan, np.inf]), np.array([1.0, 1.0])) == 1.0


def test_the_operator_that_adds_most_is_blamed_and_not_the_last_one() -> None:
    ranking = rank(CHAIN, ERRORS, STATIC)
    assert [blame.step.name for blame in ranking] == ["a;", "b;", "c;", "image;"]
    assert ranking[0].added == 0.5


def test_with_quantized_activations_a_tensors_readers_go_to_float_too() -> None:
    assert rank(CHAIN, ERRORS, STATIC)[0].group == ("a;", "b;", "c;")
    assert rank(CHAIN, ERRORS, DYNAMIC)[0].group == ("a;",)


def test_each_step_adds_the_worst_group_that_is_not_in_float_yet() -> None:
    ranking = rank(CHAIN, ERRORS, DYNAMIC)
    assert next_floats(ranking, set()) == ("a;",)
    assert next_floats(ranking, {"a;"}) == ("a;", "b;")
    assert next_floats(ranking, {"a;", "b;"}) == ("a;", "b;", "c;")


def test_rounding_is_no_reason_and_nothing_left_ends_it() -> None:
    assert next_floats(rank(CHAIN, dict.fromkeys(ERRORS, 0.009), STATIC), set()) == ()
    assert next_floats([], set()) == ()


def test_an_operator_that_was_not_compared_is_not_blamed() -> None:
    assert [blame.step.name for blame in rank(CHAIN, {"b": 0.4}, DYNAMIC)] == ["b;"]


def test_steps_are_named_as_the_quantizer_names_them_and_leave_constants_out() -> None:
    graph = Graph(
        tensors=[
            Tensor("image", "float32", (1, 2)),
            Tensor("weights", "float32", (2, 2), constant_bytes=16),
            Tensor("left", "float32", (1, 1)),
            Tensor("right", "float32", (1, 1)),
        ],
        nodes=[Node("SPLIT", (0, 1, -1), (2, 3))],
        inputs=(0,),
        outputs=(2, 3),
        graphs=1,
    )
    assert read_steps(graph) == [
        Step("image;", "INPUT", (), ("image",)),
        Step("left;right;", "SPLIT", ("image",), ("left", "right")),
    ]
