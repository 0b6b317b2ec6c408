"""From the probabilities of several classifiers, or the numbers of several regressions, to one answer.

PURE. Rules:

1. What classifiers give is combined as probabilities: one whose scores are logits goes through its own softmax first.
2. ``mean``: the class with the highest mean probability. ``vote``: each member votes for its best class, of equal ones
   the lower index; the class with most votes wins, of equal ones the one with the higher mean.
3. What is still equal goes to the lower index, so that an answer depends on the values alone.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Method = Literal["mean", "vote"]


def mean_of(values: Floats) -> Floats:
    """Mean (...) over the members of (members, ...)."""
    result: Floats = values.mean(axis=0, dtype=np.float32)
    return result


def votes_of(probabilities: Floats) -> Floats:
    """Share of the votes (classes,), 0 to 1, of (members, classes)."""
    members, classes = probabilities.shape
    votes = np.bincount(probabilities.argmax(axis=1), minlength=classes)
    result: Floats = (votes / members).astype(np.float32)
    return result


def rank(probabilities: Floats, method: Method, count: int) -> list[tuple[int, float]]:
    """Index and score of the best classes: the mean probability, or the share of the votes.

    Args:
        probabilities: (members, classes) float32.
        method: How they are combined.
        count: How many classes, at most as many as there are.
    """
    mean = mean_of(probabilities)
    scores = mean if method == "mean" else votes_of(probabilities)
    order = np.lexsort((-mean, -scores))[:count]
    return [(int(index), float(scores[index])) for index in order]
