"""What metrics are of answers and truth; the packager's door to scikit-learn.

PURE. Rules:

1. Every value is the library's own. Of bootstrap draws it is too (``r2_of_draws``), or a mean over what is right by the
   library's value of all samples: ``packager.bootstrap`` compares the two.
2. Where the library says nothing or leaves something open, the rule stands at the function.
3. The library is imported when the first metric is computed, since that takes longer than all else that starts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

NO_ANSWER = -1
"""In place of a class: none was answered."""
_TIE = 1e-6  # float32 embeddings: what two orders of summation differ by
_WORKING_MIB = 64  # memory for distances; the library's own default is 1 GiB
_BLOCK_ELEMENTS = 500_000  # 4 MB for each of the library's few temporary arrays


def accuracy(truth: Integers, answers: Integers) -> float:
    """Share of (N,) answers that are the true class."""
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(truth, answers))


def recalls(truth: Integers, answers: Integers, classes: int) -> Values:
    """(classes,) share of right answers among the samples of each class; NaN for a class without a sample."""
    from sklearn.metrics import recall_score

    found: Values = recall_score(
        truth, answers, labels=np.arange(classes), average=None, zero_division=np.nan
    )
    return found


def share(is_right: Flags) -> float:
    """Share of (N,) samples that are right, where being right is more than being of a class."""
    return accuracy(np.ones(len(is_right), np.int64), is_right.astype(np.int64))


def r2(targets: Values, answers: Values) -> float:
    """Coefficient of determination of (N, values) answers, the mean over the values; 0 where it is below.

    A value that never changes counts 1 where every answer is exact, else 0 (the library's ``force_finite``). One
    sample alone, of which the library says nothing, is such a value.
    """
    from sklearn.metrics import r2_score

    if len(targets) == 1:
        targets, answers = targets.repeat(2, axis=0), answers.repeat(2, axis=0)
    return max(0.0, float(r2_score(targets, answers)))


def r2_of_draws(targets: Values, answers: Values, draws: Integers) -> Values:
    """``r2`` of each of (R, N) draws, which hold the numbers of samples; (R,).

    The library takes many columns at once: here each draw is one.
    """
    from sklearn.metrics import r2_score

    if draws.shape[1] == 1:
        draws = draws.repeat(2, axis=1)
    found: Values = np.empty((len(draws), targets.shape[1]))
    step = max(1, _BLOCK_ELEMENTS // draws.shape[1])
    for start in range(0, len(draws), step):
        rows = draws[start : start + step].T
        for column in range(targets.shape[1]):
            found[start : start + step, column] = r2_score(
                targets[:, column][rows], answers[:, column][rows], multioutput="raw_values"
            )
    mean: Values = found.mean(axis=1)
    return mean.clip(0.0)


def overlaps(shared: Values, missed: Values, claimed: Values) -> Values:
    """Intersection over union of each class.

    Args:
        shared: (classes,) pixels that are of the class and were answered so.
        missed: (classes,) pixels of the class that were answered otherwise.
        claimed: (classes,) pixels that were answered so and are of another class.

    Returns:
        (classes,) 0 to 1; NaN for a class without a true pixel.
    """
    from sklearn.metrics import jaccard_score

    known = np.flatnonzero(shared + missed > 0)
    found = np.full(len(shared), np.nan)
    if not known.size:
        return found
    other = np.full(known.size, NO_ANSWER)
    # The pixels of a kind count as often as there are of it, which is what the library's weights are.
    found[known] = jaccard_score(
        np.concatenate([known, known, other]),
        np.concatenate([known, other, known]),
        labels=known,
        average=None,
        sample_weight=np.concatenate([part[known] for part in (shared, missed, claimed)]),
    )
    return found


def cosines(one: Values, other: Values) -> Values:
    """(N,) cosine of each of (N, values) vectors with its partner; 0 where one of them is zero."""
    from sklearn.metrics.pairwise import paired_cosine_distances

    is_useful = one.any(axis=1) & other.any(axis=1)
    found: Values = np.where(is_useful, 1.0 - paired_cosine_distances(one, other), 0.0)
    return found


def retrieved(embeddings: Values, truth: Integers, k: int) -> Flags:
    """(N,) whether one of the k nearest others, by cosine, is of the same identity.

    Who is nearest of equally near ones the library leaves open: here others count as nearer than one's own identity.
    A vector that is zero is found by none and finds none.

    Args:
        embeddings: (N, values).
        truth: (N,) identities.
        k: How many neighbours count.
    """
    import sklearn
    from sklearn.neighbors import NearestNeighbors

    found = np.zeros(len(embeddings), np.bool_)
    useful = np.flatnonzero(embeddings.any(axis=1))
    if len(useful) < 2:
        return found
    vectors, identities = embeddings[useful], truth[useful]
    looked_at = min(k + 1, len(useful) - 1)
    with sklearn.config_context(working_memory=_WORKING_MIB):
        index = NearestNeighbors(n_neighbors=looked_at, metric="cosine", algorithm="brute").fit(vectors)
        distances, places = index.kneighbors()
    is_same = identities[places] == identities[:, np.newaxis]
    is_hit = is_same[:, :k].any(axis=1)
    reach = np.where(is_same, distances, np.inf).min(axis=1) + _TIE
    strangers = np.count_nonzero(~is_same & (distances <= reach[:, np.newaxis]), axis=1)
    # Where the last one looked at is as near as the best of one's own, there may be more of them behind it.
    unsure = np.flatnonzero(is_hit & (distances[:, -1] <= reach))
    strangers[unsure] = _strangers_within(vectors, identities, unsure, reach[unsure])
    found[useful] = is_hit & (strangers < k)
    return found


def _strangers_within(vectors: Values, identities: Integers, chosen: Integers, reach: Values) -> Integers:
    """(chosen,) how many vectors of other identities are at most so far from each."""
    from sklearn.metrics.pairwise import cosine_distances

    counts = np.zeros(len(chosen), np.int64)
    step = max(1, _BLOCK_ELEMENTS // len(vectors))
    for start in range(0, len(chosen), step):
        part = slice(start, start + step)
        is_near = cosine_distances(vectors[chosen[part]], vectors) <= reach[part, np.newaxis]
        is_other = identities[chosen[part], np.newaxis] != identities
        counts[part] = np.count_nonzero(is_near & is_other, axis=1)
    return counts
