from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from contract.errors import SelfTestError
from contract.manifest import Tolerance
from edge_agent.inference.selftest import golden_cases, judge

EXPECTED = np.tile(np.eye(4, dtype=np.float32), (2, 1))
TOLERANCE = Tolerance(max_abs_error=0.1, min_top1_agreement=0.75)


def judge_one(actual: npt.NDArray[Any], tolerance: Tolerance = TOLERANCE) -> Any:
    return judge({"scores": EXPECTED}, {"scores": actual.astype(np.float32)}, tolerance)


def test_the_same_answers_pass() -> None:
    verdict = judge_one(EXPECTED)

    assert (verdict.worst_abs_error, verdict.top1_agreement) == (0.0, 1.0)


def test_an_answer_at_the_limit_passes() -> None:
    verdict = judge_one(EXPECTED + 0.0625, Tolerance(max_abs_error=0.0625))

    assert verdict.worst_abs_error == 0.0625


def test_an_answer_beyond_the_limit_fails_and_names_samples_error_and_limit() -> None:
    actual = EXPECTED.copy()
    actual[2, 0] += 0.5
    actual[5, 1] -= 0.25

    with pytest.raises(SelfTestError) as caught:
        judge_one(actual)

    assert caught.value.faults == (
        "output 'scores': samples 2, 5 of 8 off by up to 0.5, at most 0.1 is allowed",
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_answer_that_is_no_number_fails(value: float) -> None:
    actual = EXPECTED.copy()
    actual[1, 3] = value

    with pytest.raises(SelfTestError, match="as expected") as caught:
        judge_one(actual)
    assert "off by up to inf" in caught.value.faults[0]


def test_infinite_where_infinite_was_expected_passes() -> None:
    expected = np.array([[-np.inf, 0.0]], np.float32)

    assert judge({"logs": expected}, {"logs": expected.copy()}, TOLERANCE).worst_abs_error == 0.0


def test_too_many_other_best_classes_fail() -> None:
    loose = Tolerance(max_abs_error=9.0, min_top1_agreement=0.75)
    actual = np.roll(EXPECTED, 1, axis=1)
    actual[:2] = EXPECTED[:2]

    with pytest.raises(SelfTestError) as caught:
        judge_one(actual, loose)

    assert len(caught.value.faults) == 1
    assert "agreement 0.250" in caught.value.faults[0]
    assert "at least 0.75" in caught.value.faults[0]


def test_a_few_other_best_classes_are_within_the_tolerance() -> None:
    actual = EXPECTED.copy()
    actual[0] = [0.0, 1.0, 0.0, 0.0]

    assert judge_one(actual, Tolerance(max_abs_error=9.0, min_top1_agreement=0.75)).top1_agreement == 0.875


def test_many_bad_samples_are_named_in_short() -> None:
    with pytest.raises(SelfTestError) as caught:
        judge_one(EXPECTED + 1.0)

    assert "samples 0, 1, 2, 3, 4 and 3 more of 8" in caught.value.faults[0]


def pick(arrays: dict[str, npt.NDArray[Any]]) -> Any:
    return golden_cases(
        arrays,
        variant="int8",
        inputs=[("image", 4, np.dtype(np.float32))],
        outputs=[("scores", 2)],
        samples=3,
    )


def golden() -> dict[str, npt.NDArray[Any]]:
    return {
        "input.image": np.zeros((3, 2, 2), np.float32),
        "expected.int8.scores": np.zeros((3, 2), np.float32),
        "expected.float32.scores": np.ones((3, 2), np.float32),
    }


def test_the_cases_of_a_variant_are_picked() -> None:
    cases = pick(golden())

    assert cases.samples == 3
    assert cases.inputs[0].shape == (3, 2, 2)
    assert (cases.expected["scores"] == 0).all()


def test_a_batch_dimension_of_one_makes_no_difference() -> None:
    arrays = golden() | {"input.image": np.zeros((3, 1, 2, 2), np.float32)}

    assert pick(arrays).inputs[0].shape == (3, 1, 2, 2)


def test_golden_data_that_does_not_fit_is_refused_with_every_fault() -> None:
    arrays: dict[str, npt.NDArray[Any]] = {
        "input.image": np.zeros((3, 2, 2), np.int8),
        "expected.float32.scores": np.ones((3, 2), np.float32),
    }

    with pytest.raises(SelfTestError) as caught:
        pick(arrays)

    assert caught.value.faults == (
        "input.image: int8, must be float32",
        "expected.int8.scores: missing",
    )


@pytest.mark.parametrize("shape", [(), (2, 2, 2), (3, 5)])
def test_golden_inputs_of_another_number_or_size_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SelfTestError, match="do not fit"):
        pick(golden() | {"input.image": np.zeros(shape, np.float32)})


def test_a_share_of_the_elements_may_change_and_zeros_on_both_sides_do_not_thin_it() -> None:
    expected = np.zeros((2, 50), np.float32)
    expected[:, :5] = 7.0
    actual = expected.copy()
    actual[0, :2] = 0.0
    loose = Tolerance(max_abs_error=0.1, min_top1_agreement=0.0, max_changed=0.2)

    assert judge({"out": expected}, {"out": actual}, loose).worst_abs_error == 7.0
    actual[0, 2] = np.nan
    with pytest.raises(SelfTestError, match="does not answer"):
        judge({"out": expected}, {"out": actual}, loose)
