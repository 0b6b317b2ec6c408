"""How sure a measured drop is: percentile bootstrap over evaluation samples.

PURE. Rules:

1. Paired: in each draw, variant and float model are measured on the same drawn samples, so what both find hard cancels
   out.
2. Drawing and interval are scipy's (``scipy.stats.bootstrap``), from a fixed seed: the same scores give the same
   interval on every machine.
3. The interval says how far another sample of the same size may change the result. It knows nothing of how the samples
   were chosen, and where no answer changes at all its width is 0: few samples do not show in it (gate: minimum number).
4. What a task says of draws is held to its library's own value: where each sample counts once they are equal, or
   nothing is said.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from contract.errors import RejectedError
from packager.tasks.task import Counts, Scores, Task

DRAWS = 2000
"""Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 14.3: at least 1,000 for percentile limits."""
SHOWN_CONFIDENCE = 0.95
_SEED = 20240229
_BLOCK_ELEMENTS = 2_000_000  # 16 MB of counts at once
_NOISE = 1e-9  # by which two orders of summation may differ


def drop_interval(
    task: Task, scores: Scores, reference: Scores | float, confidence: float = SHOWN_CONFIDENCE
) -> tuple[float, float]:
    """Two-sided interval of the drop.

    Args:
        task: Computes the metric of each draw.
        scores: (N, ...) of the variant.
        reference: (N, ...) of the float model on the same samples; or a fixed value, where only that is known.
        confidence: Above 0, below 1.

    Returns:
        Lower and upper end of reference less variant.
    """
    return _interval(task, scores, reference, confidence, _BLOCK_ELEMENTS)


def _interval(
    task: Task, scores: Scores, reference: Scores | float, confidence: float, block_elements: int
) -> tuple[float, float]:
    """The interval, with at most so many counts in memory at once; it does not depend on how many."""
    from scipy.stats import bootstrap

    samples = len(scores)

    def drop(draws: npt.NDArray[np.int64], axis: int) -> npt.NDArray[np.float64]:  # noqa: ARG001 - scipy's protocol
        counts = _counts(draws, samples)
        fixed = reference if isinstance(reference, float) else task.aggregate(reference, counts)
        return np.asarray(fixed - task.aggregate(scores, counts))

    if samples == 1:  # of which scipy refuses to draw
        (only,) = drop(np.zeros((1, 1), np.int64), axis=-1)
        return float(only), float(only)
    found = bootstrap(
        (np.arange(samples),),
        drop,
        n_resamples=DRAWS,
        batch=max(1, min(DRAWS, block_elements // samples)),
        vectorized=True,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def point_estimate(task: Task, scores: Scores) -> float:
    """The metric over all samples, each counted once, as the task's library says.

    Raises:
        RejectedError: What the task says of draws is not the same for one that holds every sample once.
    """
    value = task.measure(scores)
    drawn = float(task.aggregate(scores, np.ones((1, len(scores))))[0])
    if not abs(value - drawn) <= _NOISE:
        raise RejectedError(
            f"{task.metric} is {value!r} by its library and {drawn!r} as the bootstrap computes it",
            remedy="the gate would rest on two metrics: report it, with the versions of scikit-learn and pycocotools",
        )
    return value


def _counts(draws: npt.NDArray[np.int64], samples: int) -> Counts:
    """(R, N) how often each of N samples is in each of (R, draws) draws."""
    rows = len(draws)
    places = draws + np.arange(rows)[:, np.newaxis] * samples
    counts: Counts = (
        np.bincount(places.ravel(), minlength=rows * samples).reshape(rows, samples).astype(np.float64)
    )
    return counts
