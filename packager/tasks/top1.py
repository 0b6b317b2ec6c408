"""One true class a sample, measured as top-1 accuracy: what images, sounds and rows of tables have in common.

PURE. Rules:

1. The best score is the answer; of equal ones the first. A model with one output value answers class 1 where it is
   above a threshold, else class 0.
2. An answer with a value that is not finite is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from packager.tasks.task import Array, Counts, Floats, Inputs, Scores

METRIC = "accuracy"
HALF = 0.5


def lead(output: Array) -> Floats:
    """By how much the best value of each (N, ...) output leads the second; 0 where one is not finite.

    Infinite where there is one value. A device's self-test compares the best value's place, whatever the task is.
    """
    values = output.reshape(len(output), -1).astype(np.float32)
    if values.shape[1] < 2:
        return np.full(len(values), np.inf, dtype=np.float32)
    is_finite = np.isfinite(values).all(axis=1, keepdims=True)
    top = np.sort(np.where(is_finite, values, 0), axis=1)[:, -2:]
    found: Floats = (top[:, 1] - top[:, 0]).astype(np.float32)
    return found


def right_answers(scores: Array, truth: npt.NDArray[np.int64]) -> Scores:
    """(N,) 1 where the best of (N, classes) scores is the true class; else, or not finite, 0."""
    is_finite = np.isfinite(scores).all(axis=1)
    right: Scores = np.logical_and(is_finite, scores.argmax(axis=1) == truth).astype(np.float64)
    return right


def weighted_share(scores: Scores, counts: Counts) -> npt.NDArray[np.float64]:
    """(R,) mean of (N,) scores, each counted as often as it was drawn."""
    share: npt.NDArray[np.float64] = (counts @ scores) / counts.sum(axis=1)
    return share


def share_per_class(scores: Scores, truth: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.float64]:
    """(count,) mean of (N,) scores over the samples of each class; NaN where there is none."""
    of_class = np.bincount(truth, minlength=count).astype(np.float64)
    right = np.bincount(truth, weights=scores, minlength=count)
    share: npt.NDArray[np.float64] = np.full(count, np.nan)
    np.divide(right, of_class, out=share, where=of_class > 0)
    return share


@dataclass(frozen=True)
class Top1:
    """Classified samples of any kind; implements ``packager.tasks.task.Task``.

    Attributes:
        samples: What the model is fed with.
        truth: (N,) true classes.
        names: Of the classes, in the order of the scores.
        threshold: Above it one output value means class 1; looked at for such models only.
    """

    samples: Inputs
    truth: npt.NDArray[np.int64]
    names: tuple[str, ...]
    threshold: float = HALF

    @property
    def metric(self) -> str:
        """Share of samples whose best score is the true class."""
        return METRIC

    @property
    def sha256(self) -> str:
        """Digest over samples and true classes."""
        return self.samples.sha256

    @property
    def preparation(self) -> str:
        """How inputs are made."""
        return self.samples.preparation

    @property
    def scoring(self) -> str:
        """Top-1 over so many classes."""
        return f"top-1 of {len(self.names)}, one value above {self.threshold:g}"

    @property
    def digests(self) -> Sequence[bytes]:
        """N digests over the samples."""
        return self.samples.digests

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        return self.names

    @property
    def strata(self) -> npt.NDArray[np.int64]:
        """(N,) the true classes."""
        return self.truth

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.truth)

    def inputs(self, positions: Sequence[int]) -> tuple[Array, ...]:
        """(positions, ...) of each input."""
        return self.samples.inputs(positions)

    def score(self, outputs: Sequence[Array], positions: Sequence[int]) -> Scores:
        """(positions,) 1 for right, 0 for wrong."""
        return right_answers(self._scores(outputs), self.truth[list(positions)])

    def margin(self, outputs: Sequence[Array]) -> Floats:
        """(positions,) the best score's lead; twice the distance from the threshold where there is one value."""
        return lead(self._scores(outputs))

    def aggregate(self, scores: Scores, counts: Counts) -> npt.NDArray[np.float64]:
        """(R,) share of right answers."""
        return weighted_share(scores, counts)

    def per_class(self, scores: Scores) -> npt.NDArray[np.float64]:
        """(classes,) share of right answers among the samples of each class."""
        return share_per_class(scores, self.truth, len(self.names))

    def _scores(self, outputs: Sequence[Array]) -> Array:
        values = outputs[0].reshape(len(outputs[0]), -1)
        if values.shape[1] > 1:
            return values
        above = values - np.float32(self.threshold)
        return np.concatenate([-above, above], axis=1)
