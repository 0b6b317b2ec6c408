"""Labels, evaluation images, and counting right answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from contract.errors import ManifestError
from packager.evaluate import (
    EvaluationSet,
    Floats,
    evaluate,
    load_evaluation,
    load_labels,
    measure_latency_ms,
)
from packager.images import ImageSet
from packager.preprocess import plan_preprocessing
from tests.support.packager_builders import write_image

PREPROCESSING = plan_preprocessing((1, 1, 1), (0.0,), (1.0,))
SHAPE = (8, 8, 1)


class Fake:
    """A model that is any function from inputs to scores."""

    def __init__(self, scores: Callable[[Floats], Floats]) -> None:
        self._scores = scores

    def run(self, samples: Floats) -> Floats:
        return self._scores(samples)

    def time_invocations(self, sample: Floats, *, runs: int, warm_up: int) -> list[float]:
        assert sample.shape == (1, 1, 1)
        return [2.0] * (runs - 1) + [900.0 + warm_up]


def samples(values: list[int], classes: list[int]) -> EvaluationSet:
    pixels = np.array(values, dtype=np.uint8).reshape(-1, 1, 1, 1)
    return EvaluationSet(
        ImageSet(pixels, ("",) * len(values), "0" * 64), np.array(classes, dtype=np.int64), ()
    )


def one_hot(inputs: Floats) -> Floats:
    scores: Floats = np.eye(3, dtype=np.float32)[inputs.reshape(-1).astype(int)]
    return scores


def test_accuracy_is_the_share_of_best_classes_that_are_true() -> None:
    found = evaluate(Fake(one_hot), samples([0, 1, 2, 1], [0, 1, 2, 2]), PREPROCESSING, lambda _: None)
    assert (found.right, found.samples, found.accuracy) == (3, 4, 0.75)
    assert found.best.tolist() == [0, 1, 2, 1]
    assert found.margin.tolist() == [1.0] * 4
    assert found.spread == 1.0


def test_many_images_are_counted_in_blocks_and_progress_is_told() -> None:
    told: list[int] = []
    found = evaluate(Fake(one_hot), samples([1] * 150, [1] * 150), PREPROCESSING, told.append)
    assert found.accuracy == 1.0
    assert told == [64, 64, 22]


def test_scores_that_are_not_finite_are_never_right_and_do_not_spoil_the_spread() -> None:
    def broken(inputs: Floats) -> Floats:
        scores = one_hot(inputs)
        scores[1] = np.nan
        return scores

    found = evaluate(Fake(broken), samples([0, 0], [0, 0]), PREPROCESSING, lambda _: None)
    assert found.best.tolist() == [0, -1]
    assert found.margin.tolist() == [1.0, 0.0]
    assert found.accuracy == 0.5
    assert found.spread == 1.0


def test_a_model_that_answers_nothing_finite_has_no_spread() -> None:
    found = evaluate(Fake(lambda x: one_hot(x) * np.nan), samples([0], [0]), PREPROCESSING, lambda _: None)
    assert (found.accuracy, found.spread) == (0.0, 0.0)


def test_latency_is_the_median_so_that_one_slow_run_does_not_count() -> None:
    assert measure_latency_ms(Fake(one_hot), samples([0], [0]), PREPROCESSING) == 2.0


def test_labels_are_read_in_order_without_blanks_around(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat \n dog\r\n")
    assert load_labels(tmp_path / "labels.txt", 2) == ("cat", "dog")


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"cat\n", "1 lines, the model has 2 classes"),
        (b"cat\n\n", "line 2 is empty"),
        (b"cat\ncat\n", "'cat' stands there twice"),
        (b"\xff\xfe", "is no UTF-8 text"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, content: bytes, wanted: str) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(ManifestError) as refused:
        load_labels(tmp_path / "labels.txt", 2)
    assert wanted in refused.value.summary()


def test_a_missing_labels_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"labels.txt cannot be read: No such file"):
        load_labels(tmp_path / "labels.txt", 2)


def test_class_folders_become_the_labels_positions(tmp_path: Path) -> None:
    write_image(tmp_path / "dog" / "1.png")
    write_image(tmp_path / "cat" / "1.png")
    found = load_evaluation(tmp_path, SHAPE, 3, ("dog", "bird", "cat"))
    assert found.classes.tolist() == [2, 0]
    assert found.labels == ("dog", "bird", "cat")


def test_without_labels_class_folders_are_numbers(tmp_path: Path) -> None:
    write_image(tmp_path / "10" / "1.png")
    write_image(tmp_path / "2" / "1.png")
    found = load_evaluation(tmp_path, SHAPE, 11, ())
    assert found.classes.tolist() == [10, 2]
    assert found.labels == ()


def test_an_image_outside_a_class_folder_is_refused_because_its_class_is_unknown(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png")
    with pytest.raises(ManifestError, match=r"1.png stands outside a class folder"):
        load_evaluation(tmp_path, SHAPE, 10, ())


def test_a_class_folder_that_no_label_names_is_refused_with_the_nearest_label(tmp_path: Path) -> None:
    write_image(tmp_path / "dgo" / "1.png")
    with pytest.raises(ManifestError, match="'dgo' is not in the labels") as refused:
        load_evaluation(tmp_path, SHAPE, 2, ("cat", "dog"))
    assert "'dog'" in refused.value.remedy


def test_a_class_folder_that_is_no_class_number_is_refused_and_told_of_labels(tmp_path: Path) -> None:
    write_image(tmp_path / "10" / "1.png")
    with pytest.raises(ManifestError, match="'10' is not a class number from 0 to 9") as refused:
        load_evaluation(tmp_path, SHAPE, 10, ())
    assert "--labels" in refused.value.remedy
