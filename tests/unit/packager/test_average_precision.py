"""Our vectorised average precision against the library's own accumulation, and what a draw is."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from packager.bootstrap import drop_interval
from packager.tasks.average_precision import CLASS, IGNORED, RIGHT, SCORE, average_precisions, mean_of_classes
from packager.tasks.matching import COCO_THRESHOLDS, Detections, accumulate, match
from packager.tasks.true_boxes import TrueBox, count_wanted

CLASSES = 4
SIZE = 100.0


def random_set(seed: int, images: int = 40) -> tuple[list[list[TrueBox]], list[Detections]]:
    """Scenes with crowds and optional boxes, and detections that hit some of them; equal scores occur."""
    random = np.random.default_rng(seed)
    truths: list[list[TrueBox]] = []
    found: list[Detections] = []
    for _ in range(images):
        boxes: list[TrueBox] = []
        rows: list[tuple[float, ...]] = []
        for _ in range(int(random.integers(0, 6))):
            top, left = random.uniform(0, SIZE * 0.6, 2)
            tall, wide = random.uniform(8, 40, 2)
            label = int(random.integers(0, CLASSES - 1))  # the last class is in no image
            boxes.append(
                TrueBox(
                    (top, left, top + tall, left + wide),
                    label,
                    is_crowd=bool(random.random() < 0.1),
                    is_optional=bool(random.random() < 0.1),
                )
            )
            for _ in range(int(random.integers(0, 3))):
                moved = np.array([top, left, top + tall, left + wide]) + random.normal(0, 2.5, 4)
                kind = label if random.random() < 0.85 else int(random.integers(0, CLASSES))
                rows.append((*moved, kind, round(float(random.random()), 2)))
        for _ in range(int(random.integers(0, 4))):
            top, left = random.uniform(0, SIZE * 0.8, 2)
            rows.append((top, left, top + 15, left + 15, int(random.integers(0, CLASSES)), random.random()))
        table = np.array(rows, np.float64).reshape(-1, 6)
        truths.append(boxes)
        found.append(Detections(table[:, :4], table[:, 4].astype(np.int64), table[:, 5]))
    return truths, found


def library(truths: Sequence[Sequence[TrueBox]], found: Sequence[Detections]) -> npt.NDArray[np.float64]:
    """(classes,) of pycocotools alone, from its own files' form to its own ``accumulate``; NaN where it says -1."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def dataset(records: list[dict[str, Any]]) -> Any:
        made = COCO()
        made.dataset = {
            "images": [{"id": n} for n in range(len(truths))],
            "categories": [{"id": n} for n in range(CLASSES)],
            "annotations": [record | {"id": number + 1} for number, record in enumerate(records)],
        }
        made.createIndex()
        return made

    def box(edges: Any) -> dict[str, Any]:
        top, left, bottom, right = (float(edge) for edge in edges)
        return {"bbox": [left, top, right - left, bottom - top], "area": (right - left) * (bottom - top)}

    true = [
        {"image_id": n, "category_id": one.label, "iscrowd": int(one.is_crowd)}
        | box(one.edges)
        | ({"area": 1e11} if one.is_optional else {})
        for n, boxes in enumerate(truths)
        for one in boxes
    ]
    seen = [
        {"image_id": n, "category_id": int(label), "score": float(score), "iscrowd": 0} | box(edges)
        for n, one in enumerate(found)
        for edges, label, score in zip(one.edges, one.labels, one.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        work = COCOeval(dataset(true), dataset(seen), "bbox")
        work.evaluate()
        work.accumulate()
    precision = work.eval["precision"][
        :, :, :, 0, -1
    ]  # thresholds, recalls, classes; all areas, 100 detections
    values: npt.NDArray[np.float64] = precision.mean(axis=(0, 1))
    return np.where(values < 0, np.nan, values)


@pytest.mark.parametrize("seed", range(6))
def test_average_precision_is_the_librarys_to_twelve_digits(seed: int) -> None:
    truths, found = random_set(seed)
    rows = match(truths, found, CLASSES, COCO_THRESHOLDS, 100)

    (ours,) = average_precisions(rows, count_wanted(truths, CLASSES), np.ones((1, 40)), 10)

    expected = library(truths, found)
    assert ours == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert np.array_equal(
        accumulate(rows, count_wanted(truths, CLASSES), COCO_THRESHOLDS), expected, equal_nan=True
    )
    assert np.isnan(ours[-1])
    assert 0.05 < np.nanmean(ours) < 0.95


@pytest.mark.parametrize("seed", range(3))
def test_a_sample_that_counts_k_times_is_k_samples_to_the_library(seed: int) -> None:
    truths, found = random_set(seed, 12)
    random = np.random.default_rng(seed)
    # No two equal scores: among those the copies of a sample and other samples would stand in another order.
    found = [Detections(one.edges, one.labels, random.random(len(one.scores))) for one in found]
    drawn = random.integers(0, 12, (5, 12))
    counts = np.array([np.bincount(row, minlength=12) for row in drawn], np.float64)

    ours = average_precisions(
        match(truths, found, CLASSES, COCO_THRESHOLDS, 100), count_wanted(truths, CLASSES), counts, 10
    )

    for row, values in zip(np.sort(drawn), ours, strict=True):
        expected = library([truths[n] for n in row], [found[n] for n in row])
        assert values == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_more_draws_than_fit_at_once_give_the_same_values() -> None:
    truths, found = random_set(1)
    rows, wanted = match(truths, found, CLASSES, (0.5,), 100), count_wanted(truths, CLASSES)
    counts = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40), 70_000).astype(np.float64)

    together = average_precisions(rows, wanted, counts, 1)

    alone = [average_precisions(rows, wanted, counts[[n]], 1)[0] for n in (0, 35_000, 69_999)]
    assert np.array_equal(together[[0, 35_000, 69_999]], np.array(alone), equal_nan=True)


def test_the_mean_leaves_out_classes_that_a_draw_has_not_and_is_zero_without_any() -> None:
    values = np.array([[0.2, np.nan, 0.6], [np.nan, np.nan, np.nan]])
    assert mean_of_classes(values).tolist() == pytest.approx([0.4, 0.0])


def test_without_a_detection_the_value_is_zero_and_a_perfect_answer_is_one() -> None:
    truths = [[TrueBox((10, 10, 30, 30), 0)], [TrueBox((5, 5, 20, 40), 0)]]
    wanted = count_wanted(truths, 1)
    nothing = Detections(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))
    exact = [
        Detections(np.array([box.edges]), np.array([box.label]), np.array([0.9]))
        for boxes in truths
        for box in boxes
    ]

    empty = match(truths, [nothing, nothing], 1, COCO_THRESHOLDS, 5)
    assert (empty[:, :, CLASS] == -1).all()
    assert average_precisions(empty, wanted, np.ones((1, 2)), 10) == pytest.approx(0)
    assert accumulate(empty, wanted, COCO_THRESHOLDS).tolist() == [0.0]
    full = match(truths, exact, 1, COCO_THRESHOLDS, 5)
    assert average_precisions(full, wanted, np.ones((1, 2)), 10) == pytest.approx(1)


def test_a_hit_on_a_crowd_or_an_optional_box_counts_neither_way() -> None:
    truth = [
        TrueBox((0, 0, 20, 20), 0),
        TrueBox((40, 40, 90, 90), 0, is_crowd=True),
        TrueBox((0, 40, 20, 60), 0, is_optional=True),
    ]
    # Two hits on the crowd, one on the optional box, one on the true one with the lowest score.
    edges = np.array([[45, 45, 60, 60], [60, 60, 75, 75], [0, 40, 20, 60], [0, 0, 20, 20]], np.float64)
    found = [Detections(edges, np.zeros(4, np.int64), np.array([0.9, 0.8, 0.7, 0.3]))]

    (rows,) = match([truth], found, 1, (0.5,), 4)

    assert rows[:, SCORE].tolist() == [0.9, 0.8, 0.7, 0.3]
    assert rows[:, RIGHT].tolist() == [0, 0, 0, 1]
    assert rows[:, IGNORED].tolist() == [1, 1, 1, 0]
    assert count_wanted([truth], 1).tolist() == [[1]]
    assert average_precisions(
        rows[np.newaxis], count_wanted([truth], 1), np.ones((1, 1)), 1
    ) == pytest.approx(1)


def test_a_second_hit_on_the_same_box_is_wrong() -> None:
    found = [
        Detections(
            np.array([[0, 0, 20, 20], [0, 0, 20, 19]], float), np.zeros(2, np.int64), np.array([0.9, 0.8])
        )
    ]
    (rows,) = match([[TrueBox((0, 0, 20, 20), 0)]], found, 1, (0.5,), 2)
    assert rows[:, RIGHT].tolist() == [1, 0]


def test_the_interval_of_a_drop_is_found_with_all_draws_in_one_call() -> None:
    truths, found = random_set(9, 300)
    rows, wanted = match(truths, found, CLASSES, COCO_THRESHOLDS, 100), count_wanted(truths, CLASSES)
    task = _Boxes(wanted)
    worse = rows.copy()
    worse[::7, :, RIGHT] = 0

    low, high = drop_interval(task, worse, rows)  # type: ignore[arg-type]  # all that it needs of a task

    assert 0 < low < high < 0.3


class _Boxes:
    def __init__(self, wanted: npt.NDArray[np.float64]) -> None:
        self._wanted = wanted

    def aggregate(
        self, scores: npt.NDArray[np.float64], counts: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        return mean_of_classes(average_precisions(scores, self._wanted, counts, 10))
