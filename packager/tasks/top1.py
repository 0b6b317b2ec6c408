"""One true class a sample, measured as top-1 accuracy: what images, sounds and rows of tables have in common.

PURE. Rules:

1. The best score is the answer; of equal ones the first. A model with one output value answers class 1 where it is
   above a threshold, else class 0.
2. An answer with a value that is not finite is no answer, and wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from packager.tasks.metrics import NO_ANSWER, accuracy, recalls
from packager.tasks.sampled import SampledTask
from packager.tasks.task import Array, Counts, Floats, Scores

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


def best_classes(scores: Array) -> Scores:
    """(N,) the best of (N, classes) scores; ``NO_ANSWER`` where one is not finite."""
    is_finite = np.isfinite(scores).all(axis=1)
    found: Scores = np.where(is_finite, scores.argmax(axis=1), NO_ANSWER).astype(np.float64)
    return found


def weighted_share(scores: Array, counts: Counts) -> npt.NDArray[np.float64]:
    """(R,) mean of (N,) scores, each counted as often as it was drawn."""
    share: npt.NDArray[np.float64] = (counts @ scores) / counts.sum(axis=1)
    return share


def drawn(counts: Counts) -> npt.NDArray[np.int64]:
    """(R, draws) numbers of samples, each as often as (R, N) counts say."""
    numbers = np.broadcast_to(np.arange(counts.shape[1]), counts.shape).ravel()
    return numbers.repeat(counts.astype(np.int64).ravel()).reshape(len(counts), -1)


@dataclass(frozen=True)
class Top1(SampledTask):
    """Classified samples of any kind; implements ``packager.tasks.task.Task``.

    Attributes:
        truth: (N,) true classes.
        names: Of the classes, in the order of the scores.
        threshold: Above it one output value means class 1; looked at for such models only.
    """

    truth: npt.NDArray[np.int64]
    names: tuple[str, ...]
    threshold: float = HALF

    @property
    def metric(self) -> str:
        """Share of samples whose best score is the true class."""
        return METRIC

    @property
    def scoring(self) -> str:
        """Which answers are kept."""
        return f"best class of {len(self.names)}, one value above {self.threshold:g}"

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        return self.names

    @property
    def strata(self) -> npt.NDArray[np.int64]:
        """(N,) the true classes."""
        return self.truth

    def score(self, outputs: Sequence[Array], positions: Sequence[int]) -> Scores:  # noqa: ARG002 - judged by measure
        """(positions,) the class that was answered; ``NO_ANSWER`` for none."""
        return best_classes(self._scores(outputs))

    def margin(self, outputs: Sequence[Array]) -> Floats:
        """(positions,) the best score's lead; twice the distance from the threshold where there is one value."""
        return lead(self._scores(outputs))

    def measure(self, scores: Scores) -> float:
        """Share of right answers."""
        return accuracy(self.truth, scores.astype(np.int64))

    def aggregate(self, scores: Scores, counts: Counts) -> npt.NDArray[np.float64]:
        """(R,) share of right answers."""
        return weighted_share(scores == self.truth, counts)

    def per_class(self, scores: Scores) -> npt.NDArray[np.float64]:
        """(classes,) share of right answers among the samples of each class."""
        return recalls(self.truth, scores.astype(np.int64), len(self.names))

    def _scores(self, outputs: Sequence[Array]) -> Array:
        values = outputs[0].reshape(len(outputs[0]), -1)
        if values.shape[1] > 1:
            return values
        above = values - np.float32(self.threshold)
        return np.concatenate([-above, above], axis=1)
