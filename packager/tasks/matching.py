"""Which detections hit which true boxes, and how precise that is, as COCO decides; the packager's door to pycocotools.

Guarantees: matching is the library's own (``COCOeval.evaluate``), crowds and optional boxes included, and so is the
metric over all images (``COCOeval.accumulate``); nothing that comes from a file reaches it unchecked. The metric of
bootstrap draws is ``packager.tasks.average_precision``'s.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from packager.tasks.average_precision import CLASS, COLUMNS, IGNORED, RIGHT, SCORE
from packager.tasks.task import Scores
from packager.tasks.true_boxes import TrueBox

COCO_THRESHOLDS = tuple(float(value) for value in np.linspace(0.5, 0.95, 10))
"""Overlaps of the COCO metric (cocodataset.org/#detection-eval)."""
MAX_DETECTIONS = 100
"""Of one class in one image; COCO looks at no more, and at the best of them."""
_AREAS = [0.0, 1e10]  # pycocotools' own range "all"
_OPTIONAL_AREA = 2e10  # outside it: the library's way to say that a box need not be found


@dataclass(frozen=True)
class Detections:
    """What was found in one image.

    Attributes:
        edges: (n, 4) top, left, bottom, right in pixels.
        labels: (n,) classes.
        scores: (n,) finite.
    """

    edges: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]


def match(
    truths: Sequence[Sequence[TrueBox]],
    found: Sequence[Detections],
    classes: int,
    thresholds: Sequence[float],
    rows: int,
) -> Scores:
    """Match image by image and class by class.

    Args:
        truths: Of each image.
        found: In each image.
        classes: How many there are.
        thresholds: Overlaps that make a hit, each above 0 and up to 1.
        rows: How many detections an image has at most.

    Returns:
        (images, rows, 4), see ``packager.tasks.average_precision.CLASS``.
    """
    table = np.zeros((len(found), rows, COLUMNS))
    table[:, :, CLASS] = -1
    filled = [0] * len(found)
    for result in _evaluate(truths, found, classes, thresholds):
        image = result["image_id"]
        scores, count = result["dtScores"], len(result["dtScores"])
        ignored = np.asarray(result["dtIgnore"], bool)
        hits = (np.asarray(result["dtMatches"]) > 0) & ~ignored
        part = table[image, filled[image] : filled[image] + count]
        part[:, CLASS], part[:, SCORE] = result["category_id"], scores
        part[:, RIGHT], part[:, IGNORED] = _bits(hits), _bits(ignored)
        filled[image] += count
    return table


def accumulate(
    rows: Scores, true_boxes: npt.NDArray[np.float64], thresholds: Sequence[float]
) -> npt.NDArray[np.float64]:
    """The average precision of each class over all images.

    Args:
        rows: (images, rows, 4) of ``match``.
        true_boxes: (images, classes) how many true boxes of each class that must be found.
        thresholds: Overlaps that make a hit, as for ``match``.

    Returns:
        (classes,) 0 to 1; NaN for a class without a true box.
    """
    from pycocotools.cocoeval import COCOeval

    work = COCOeval(iouType="bbox")
    # The library chains the detections of all images before it looks at them, so they may come as those of one image,
    # of which no detection is left out: that was done when they were matched.
    work.params.imgIds, work.params.catIds = [0], list(range(true_boxes.shape[1]))
    work.params.iouThrs = np.array(thresholds)
    work.params.areaRng, work.params.areaRngLbl = [_AREAS], ["all"]
    work.params.maxDets = [rows.shape[0] * rows.shape[1]]
    work.evalImgs = [
        _of_class(rows[rows[:, :, CLASS] == label], int(wanted), len(thresholds))
        for label, wanted in enumerate(true_boxes.sum(axis=0))
    ]
    work._paramsEval = work.params  # noqa: SLF001 - evaluate() would set it
    with contextlib.redirect_stdout(io.StringIO()):
        work.accumulate()
    precision = work.eval["precision"][:, :, :, 0, 0]  # thresholds, recalls, classes; -1 without a true box
    mean: npt.NDArray[np.float64] = np.where(precision < 0, np.nan, precision).mean(axis=(0, 1))
    return mean


def _of_class(rows: npt.NDArray[np.float64], wanted: int, thresholds: int) -> dict[str, Any]:
    """A class's (n, 4) rows as ``COCOeval.evaluateImg`` gives them."""
    shifts = np.arange(thresholds)[:, np.newaxis]
    bits = rows[:, [RIGHT, IGNORED]].astype(np.int64)
    return {
        "dtScores": rows[:, SCORE],
        "dtMatches": bits[:, 0] >> shifts & 1,
        "dtIgnore": bits[:, 1] >> shifts & 1,
        "gtIgnore": np.zeros(wanted),
    }


def _bits(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """(thresholds, n) as n whole numbers, the first threshold in the lowest bit."""
    weights = np.int64(1) << np.arange(len(flags), dtype=np.int64)
    return weights @ flags.astype(np.int64)


def _evaluate(
    truths: Sequence[Sequence[TrueBox]],
    found: Sequence[Detections],
    classes: int,
    thresholds: Sequence[float],
) -> Iterator[dict[str, Any]]:
    from pycocotools.cocoeval import COCOeval

    work = COCOeval(
        _dataset(list(_true_records(truths)), len(found), classes),
        _dataset(list(_found_records(found)), len(found), classes),
        "bbox",
    )
    work.params.iouThrs = np.array(thresholds)
    work.params.areaRng, work.params.areaRngLbl = [_AREAS], ["all"]
    work.params.maxDets = [MAX_DETECTIONS]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints how long it took
        work.evaluate()
    return (result for result in work.evalImgs if result is not None and result["dtScores"])


def _dataset(records: list[dict[str, Any]], images: int, classes: int) -> Any:
    from pycocotools.coco import COCO

    made = COCO()
    made.dataset = {
        "images": [{"id": number} for number in range(images)],
        "categories": [{"id": number} for number in range(classes)],
        # Numbers from 1: in its tables 0 stands for no match.
        "annotations": [record | {"id": number} for number, record in enumerate(records, start=1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        made.createIndex()
    return made


def _true_records(truths: Sequence[Sequence[TrueBox]]) -> Iterator[dict[str, Any]]:
    for image, boxes in enumerate(truths):
        for box in boxes:
            top, left, bottom, right = box.edges
            area = _OPTIONAL_AREA if box.is_optional else (bottom - top) * (right - left)
            yield {
                "image_id": image,
                "category_id": box.label,
                "bbox": [left, top, right - left, bottom - top],
                "area": area,
                "iscrowd": int(box.is_crowd),
            }


def _found_records(found: Sequence[Detections]) -> Iterator[dict[str, Any]]:
    for image, one in enumerate(found):
        for edges, label, score in zip(one.edges, one.labels, one.scores, strict=True):
            top, left, bottom, right = (float(edge) for edge in edges)
            yield {
                "image_id": image,
                "category_id": int(label),
                "bbox": [left, top, right - left, bottom - top],
                "area": (bottom - top) * (right - left),
                "iscrowd": 0,
                "score": float(score),
            }
