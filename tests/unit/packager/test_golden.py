"""Which samples are golden, how far outputs may be off, and that the file is the same every time."""

from __future__ import annotations

import dataclasses
import io
import zipfile

import numpy as np
import pytest

from contract.profile import Precision
from packager.evaluate import Evaluation
from packager.golden import SAMPLES, TOLERANCE_SHARE, choose_golden, encode_golden
from tests.support.packager_builders import evaluation

STATIC = Precision.STATIC_INT8
OUTPUTS = ["probabilities"]


def classes(count: int, images: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.arange(images, dtype=np.int64) % count


def test_samples_are_spread_over_the_classes() -> None:
    labels = np.repeat(np.arange(10), 50)
    choice = choose_golden(labels, {"int8": (STATIC, evaluation([0.9] * 500))}, OUTPUTS)
    assert len(choice.positions) == SAMPLES
    assert set(labels[list(choice.positions)]) == set(range(10))
    assert list(choice.positions) == sorted(choice.positions)


def test_many_classes_are_covered_evenly_and_not_only_the_first_ones() -> None:
    choice = choose_golden(classes(64, 640), {"int8": (STATIC, evaluation([0.9] * 640))}, OUTPUTS)
    assert {position % 64 for position in choice.positions} == set(range(0, 64, 4))


def test_the_tolerance_is_a_share_of_the_spread_of_the_scores() -> None:
    choice = choose_golden(classes(2, 40), {"int8": (STATIC, evaluation([9.0] * 40, spread=20.0))}, OUTPUTS)
    assert choice.tolerance["int8"].max_abs_error == pytest.approx(TOLERANCE_SHARE[STATIC] * 20)
    assert choice.tolerance["int8"].min_top1_agreement == 1.0


def test_samples_whose_answer_rounding_could_turn_are_left_out() -> None:
    margins = [0.9, 0.01] * 50
    choice = choose_golden(classes(5, 100), {"int8": (STATIC, evaluation(margins))}, OUTPUTS)
    assert all(position % 2 == 0 for position in choice.positions)


def test_a_sample_must_be_clear_for_every_variant() -> None:
    variants = {
        "int8": (STATIC, evaluation([0.9] * 20 + [0.01] * 20)),
        "float": (Precision.FLOAT32, evaluation([0.0] * 4 + [0.9] * 36)),
    }
    choice = choose_golden(np.zeros(40, dtype=np.int64), variants, OUTPUTS)
    assert choice.positions == tuple(range(4, 20))


def test_where_too_few_are_clear_the_clearest_are_taken_and_less_agreement_is_asked_for() -> None:
    margins = [0.05, 0.9, 0.06, 0.9]
    choice = choose_golden(classes(2, 4), {"int8": (STATIC, evaluation(margins))}, OUTPUTS)
    assert choice.positions == (0, 1, 2, 3)
    assert choice.tolerance["int8"].min_top1_agreement == 0.5
    many = choose_golden(
        np.zeros(40, dtype=np.int64),
        {"int8": (STATIC, evaluation([n / 1000 for n in range(40)]))},
        OUTPUTS,
    )
    assert many.positions == tuple(range(24, 40))
    assert many.tolerance["int8"].min_top1_agreement == 0.0


def test_scores_that_are_all_the_same_ask_for_no_agreement() -> None:
    choice = choose_golden(classes(2, 4), {"int8": (STATIC, evaluation([0.0] * 4, spread=0.0))}, OUTPUTS)
    assert choice.tolerance["int8"].max_abs_error == 0.0
    assert choice.tolerance["int8"].min_top1_agreement == 0.0


def test_every_precision_has_a_tolerance_and_integers_a_wider_one() -> None:
    assert set(TOLERANCE_SHARE) == set(Precision)
    assert TOLERANCE_SHARE[STATIC] > TOLERANCE_SHARE[Precision.FLOAT32]


def test_the_file_holds_inputs_and_outputs_by_name_and_is_the_same_every_time() -> None:
    inputs = np.linspace(0, 1, 2 * 64, dtype=np.float32).reshape(2, 8, 8, 1)
    outputs = np.full((2, 10), 0.1, dtype=np.float32)
    first = encode_golden({"image": inputs}, [("static-int8", {"probabilities": outputs})])
    assert first == encode_golden(
        {"image": inputs.copy()}, [("static-int8", {"probabilities": outputs.copy()})]
    )
    with np.load(io.BytesIO(first), allow_pickle=False) as arrays:
        assert set(arrays.files) == {"input.image", "expected.static-int8.probabilities"}
        assert np.array_equal(arrays["input.image"], inputs)
        assert arrays["expected.static-int8.probabilities"].dtype == np.float32
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}


def test_every_output_has_a_limit_of_its_own_and_without_a_best_class_none_is_asked_for() -> None:
    found = dataclasses.replace(evaluation([np.inf] * 4), spread=(20.0, 1.0))
    choice = choose_golden(classes(2, 4), {"int8": (STATIC, found)}, ["boxes", "scores"])
    tolerance = choice.tolerance["int8"]
    assert tolerance.limit("boxes") == pytest.approx(TOLERANCE_SHARE[STATIC] * 20)
    assert tolerance.limit("scores") == pytest.approx(TOLERANCE_SHARE[STATIC])
    assert tolerance.min_top1_agreement == 0.0


def test_a_share_may_change_where_the_graph_chooses_and_less_where_it_scores_each_place() -> None:
    clear, dense = evaluation([9.0] * 4), evaluation([float("inf")] * 4)
    args = classes(2, 4), OUTPUTS

    def share(found: Evaluation, precision: Precision, *, are_choices: bool) -> float:
        choice = choose_golden(args[0], {"it": (precision, found)}, args[1], are_choices=are_choices)
        return choice.tolerance["it"].max_changed

    assert share(clear, STATIC, are_choices=False) == 0
    assert share(dense, Precision.FLOAT32, are_choices=False) == 0
    assert 0 < share(dense, STATIC, are_choices=False) < share(dense, STATIC, are_choices=True) < 0.5
    assert 0 < share(dense, Precision.FLOAT32, are_choices=True) < share(dense, STATIC, are_choices=True)
