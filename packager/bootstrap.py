"""How sure a measured drop is: percentile bootstrap over evaluation samples.

PURE. Rules:

1. Paired: in each draw, variant and float model are measured on the same drawn samples, so what both find hard cancels
   out.
2. The draws come from a fixed seed: the same scores give the same interval on every machine.
3. The interval says how far another sample of the same size may change the result. It knows nothing of how the samples
   were chosen, and where no answer changes at all its width is 0: few samples do not show in it (gate: minimum number).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from packager.tasks.task import Counts, Scores, Task

DRAWS = 2000
"""Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 14.3: at least 1,000 for percentile limits."""
SHOWN_CONFIDENCE = 0.95
_SEED = 20240229
_BLOCK_ELEMENTS = 4_000_000  # 32 MB of counts at once


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
    drops = np.concatenate(
        [
            (reference if isinstance(reference, float) else task.aggregate(reference, counts))
            - task.aggregate(scores, counts)
            for counts in _draws(len(scores))
        ]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(drops, (tail, 1 - tail))
    return float(low), float(high)


def point_estimate(task: Task, scores: Scores) -> float:
    """The metric over all samples, each counted once."""
    return float(task.aggregate(scores, np.ones((1, len(scores))))[0])


def _draws(samples: int, block_elements: int = _BLOCK_ELEMENTS) -> Iterator[Counts]:
    """All draws, in blocks that fit into memory; the same ones however large the blocks are."""
    generator = np.random.default_rng(_SEED)
    rows = max(1, min(DRAWS, block_elements // samples))
    for start in range(0, DRAWS, rows):
        yield _draw(generator, min(rows, DRAWS - start), samples)


def _draw(generator: np.random.Generator, rows: int, samples: int) -> Counts:
    chosen = generator.integers(0, samples, size=(rows, samples))
    chosen += np.arange(rows)[:, np.newaxis] * samples
    counts: Counts = (
        np.bincount(chosen.ravel(), minlength=rows * samples).reshape(rows, samples).astype(np.float64)
    )
    return counts
