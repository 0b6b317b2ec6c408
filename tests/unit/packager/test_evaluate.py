"""Running a model over a task's samples, and what classification makes of the scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from packager.evaluate import conclude, measure_latency_ms
from packager.record import Run, decode_run, encode_run
from packager.tasks.metrics import NO_ANSWER
from packager.tasks.prepared_images import PreparedImages
from packager.tasks.task import Array, Floats
from tests.support.packager_builders import classified, evaluate


class Fake:
    """A model that is any function from inputs to scores."""

    def __init__(self, scores: Callable[[Floats], Floats]) -> None:
        self._scores = scores

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        return (self._scores(inputs[0]),)

    def time_invocations(self, sample: Sequence[Array], *, runs: int, warm_up: int) -> list[float]:
        assert [values.shape for values in sample] == [(1, 1, 1)]
        return [2.0] * (runs - 1) + [900.0 + warm_up]


def one_hot(inputs: Floats) -> Floats:
    scores: Floats = np.eye(3, dtype=np.float32)[inputs.reshape(-1).astype(int)]
    return scores


def ignore(_: int) -> None:
    """Progress that nobody watches."""


def test_accuracy_is_the_share_of_best_classes_that_are_true() -> None:
    found = evaluate(Fake(one_hot), classified([0, 1, 2, 1], [0, 1, 2, 2]), ignore)
    assert found.value == 0.75
    assert found.scores.tolist() == [0, 1, 2, 1]
    assert found.margin.tolist() == [1.0] * 4
    assert (found.spread, found.useless) == ((1.0,), 0)


def test_each_class_has_its_own_accuracy_and_one_without_samples_none() -> None:
    found = evaluate(Fake(one_hot), classified([0, 1, 1], [0, 0, 1]), ignore)
    assert found.classes[:2] == (0.5, 1.0)
    assert np.isnan(found.classes[2])


def test_helpers_change_nothing_but_the_time() -> None:
    task = classified([position % 3 for position in range(300)], [1] * 300)
    alone = evaluate(Fake(one_hot), task, ignore)
    told: list[int] = []
    together = evaluate(Fake(one_hot), task, told.append, [Fake(one_hot), Fake(one_hot)])
    assert together.scores.tobytes() == alone.scores.tobytes()
    assert together.margin.tobytes() == alone.margin.tobytes()
    assert (together.value, together.spread, together.useless) == (alone.value, alone.spread, alone.useless)
    assert told == [64, 64, 64, 64, 44]


def test_many_samples_are_run_in_blocks_and_progress_is_told() -> None:
    told: list[int] = []
    found = evaluate(Fake(one_hot), classified([1] * 150, [1] * 150), told.append)
    assert found.value == 1.0
    assert told == [64, 64, 22]


def padded(width: int, last: int) -> Callable[[Floats], Floats]:
    """Scores with more columns, which are never best: ``width``, but ``last`` for a block that is not full."""

    def answer(inputs: Floats) -> Floats:
        columns = width if len(inputs) == 64 else last
        return np.pad(one_hot(inputs), ((0, 0), (0, columns - 3)))

    return answer


@pytest.mark.parametrize(("width", "last"), [(5000, 5000), (3, 5)])
def test_blocks_with_large_or_unlike_outputs_are_scored_apart_and_come_out_the_same(
    width: int, last: int
) -> None:
    numbers, truth = [position % 3 for position in range(150)], [position % 2 for position in range(150)]
    together = evaluate(Fake(one_hot), classified(numbers, truth), ignore)
    told: list[int] = []
    apart = evaluate(Fake(padded(width, last)), classified(numbers, truth), told.append)
    assert apart.scores.tobytes() == together.scores.tobytes()
    assert apart.margin.tobytes() == together.margin.tobytes()
    assert apart.value == together.value
    assert told == [64, 64, 22]


@pytest.mark.parametrize("useless", [np.nan, np.inf])
def test_an_answer_that_is_no_number_is_never_right_and_is_counted(useless: float) -> None:
    def broken(inputs: Floats) -> Floats:
        scores = one_hot(inputs)
        scores[1, 0] = useless
        return scores

    found = evaluate(Fake(broken), classified([0, 0], [0, 0]), ignore)
    assert found.scores.tolist() == [0, NO_ANSWER]
    assert found.margin.tolist() == [1.0, 0.0]
    assert (found.value, found.spread, found.useless) == (0.5, (1.0,), 1)


def test_a_model_that_answers_nothing_finite_has_no_spread() -> None:
    found = evaluate(Fake(lambda inputs: one_hot(inputs) * np.nan), classified([0], [0]), ignore)
    assert (found.value, found.spread, found.useless) == (0.0, (0.0,), 1)


def test_latency_is_the_median_so_that_one_slow_run_does_not_count() -> None:
    assert measure_latency_ms(Fake(one_hot), classified([0], [0])) == 2.0


def test_an_evaluation_comes_back_from_its_stored_form_bit_for_bit() -> None:
    task = classified([0, 1, 2], [0, 2, 2])
    found = evaluate(Fake(one_hot), task, ignore)
    again = decode_run(encode_run(Run(found, 1.5)))
    assert again.latency_ms_p50 == 1.5
    assert (again.answers.spread, again.answers.useless) == (found.spread, found.useless)
    assert again.answers.scores.tobytes() == found.scores.tobytes()
    assert again.answers.margin.tobytes() == found.margin.tobytes()
    assert conclude(task, again.answers).value == found.value


def test_classes_are_called_by_their_labels_or_by_number() -> None:
    task = classified([0], [0])
    assert task.classes == ("0", "1", "2")
    assert classified([0], [0], labels=("cat", "dog", "owl")).classes == ("cat", "dog", "owl")
    assert (task.metric, task.scoring) == ("accuracy", "best class of 3, one value above 0.5")


def test_calibration_images_give_inputs_in_the_same_way_as_evaluation_images() -> None:
    task = classified([1, 2], [0, 0])
    assert isinstance(task.samples, PreparedImages)
    calibration = PreparedImages(task.samples.images, task.samples.preprocessing)
    assert len(calibration) == len(task) == 2
    assert np.array_equal(calibration.inputs([1]), task.inputs([1]))
    assert calibration.preparation == task.preparation
    assert (calibration.sha256, calibration.digests) == (task.sha256, task.digests)
