"""Average precision of detections that were matched with the truth, for many bootstrap draws at once.

PURE. Rules:

1. It is COCO's: precision is made non-increasing from the right and read at 101 recalls from 0 to 1; a class's value is
   the mean over them and over the thresholds of overlap (cocodataset.org/#detection-eval; ``COCOeval.accumulate`` of
   pycocotools, which tests compare with to 1e-12, and every run for the draw that holds each sample once).
2. A sample that counts k times is k samples: all its detections and true boxes count k times.
3. Detections stand best score first; of equal scores those of the earlier sample first, as COCO has it.
4. A class without a true box in a draw has no value there and is left out of the draw's mean; a draw without any true
   box has the value 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from packager.tasks.task import Counts, Scores

RECALLS = np.linspace(0.0, 1.0, 101)
CLASS, SCORE, RIGHT, IGNORED = range(4)
"""Columns of a detection's row: class, -1 for an empty row; score; and as bits, the lowest for the lowest threshold of
overlap: where it hits a true box, and where it counts neither way."""
COLUMNS = 4
_BLOCK_ELEMENTS = 2_000_000  # 16 MB of float64 for each of a few arrays at once


@dataclass(frozen=True)
class _ClassRows:
    """All detections of one class, best first: their samples, and their bits."""

    samples: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    ignored: npt.NDArray[np.int64]


def average_precisions(
    rows: Scores, true_boxes: npt.NDArray[np.float64], counts: Counts, thresholds: int
) -> npt.NDArray[np.float64]:
    """The average precision of each class in each draw.

    Args:
        rows: (N, detections, 4), see ``CLASS``.
        true_boxes: (N, classes) how many true boxes of each class that must be found.
        counts: (R, N) how often each sample counts.
        thresholds: How many thresholds of overlap the bits stand for.

    Returns:
        (R, classes) 0 to 1; NaN where a class has no true box in a draw.
    """
    classes = true_boxes.shape[1]
    found = np.full((len(counts), classes), np.nan)
    wanted = counts @ true_boxes
    for label in range(classes):
        chosen = _of_class(rows, label)
        step = max(1, _BLOCK_ELEMENTS // max(1, len(chosen.samples)))
        for start in range(0, len(counts), step):
            part = slice(start, start + step)
            found[part, label] = _of_draws(chosen, counts[part], wanted[part, label], thresholds)
    return found


def mean_of_classes(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(R,) mean of (R, classes) over the classes that have a value; 0 where none has."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=1)
    mean: npt.NDArray[np.float64] = total / np.maximum(known.sum(axis=1), 1)
    return mean


def _of_class(rows: Scores, label: int) -> _ClassRows:
    samples, places = np.nonzero(rows[:, :, CLASS] == label)
    chosen = rows[samples, places]
    order = np.argsort(-chosen[:, SCORE], kind="stable")
    bits = chosen[order][:, [RIGHT, IGNORED]].astype(np.int64)
    return _ClassRows(samples[order], bits[:, 0], bits[:, 1])


def _of_draws(
    rows: _ClassRows, counts: Counts, wanted: npt.NDArray[np.float64], thresholds: int
) -> npt.NDArray[np.float64]:
    """(R,) average precision of one class; NaN where nothing is wanted."""
    total = np.zeros(len(counts))
    for right, seen in _hits(rows, counts, thresholds):
        total += _area(right, seen, np.maximum(wanted, 1)[:, np.newaxis])
    value: npt.NDArray[np.float64] = np.where(wanted > 0, total / thresholds, np.nan)
    return value


def _hits(
    rows: _ClassRows, counts: Counts, thresholds: int
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """For each threshold, at each hit: how many hits (R, hits) and how many detections (R, hits) up to it.

    Only hits are looked at: what stands between two of them lowers precision and raises no recall.
    """
    weights = counts[:, rows.samples]
    everything = weights.cumsum(axis=1)
    for threshold in range(thresholds):
        is_hit, is_ignored = ((bits >> threshold & 1).astype(bool) for bits in (rows.right, rows.ignored))
        counted = is_hit & ~is_ignored
        seen = everything if not is_ignored.any() else (weights * ~is_ignored).cumsum(axis=1)
        yield weights[:, counted].cumsum(axis=1), seen[:, counted]


def _area(
    right: npt.NDArray[np.float64], seen: npt.NDArray[np.float64], wanted: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(R,) mean of the envelope of precision over the recalls."""
    precision = right / (seen + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # How many of the recalls are reached at each hit; each is read at the first hit that reaches it.
    reached = np.searchsorted(RECALLS, right / wanted, side="right")
    new = np.diff(reached, axis=1, prepend=0)
    area: npt.NDArray[np.float64] = (envelope * new).sum(axis=1) / len(RECALLS)
    return area
