"""Magnitude pruning and clustering of one weight tensor.

PURE. Rules:

1. Pruning sets the smallest magnitudes to 0, exactly the wanted share; of equal ones the first in memory go first.
   Weights that are 0 already count, so pruning twice is pruning once.
2. Weights are clustered as shares of their output channel's largest magnitude, not as they are. Per-channel symmetric
   int8 stores round(127 * share): equal shares become equal bytes in every channel, so the clusters survive it. Values
   that are equal over the whole tensor do not: each channel has another scale.
3. -1, 0 and 1 are always among the clusters. So every channel keeps its largest weight, and with it its int8 scale, and
   what was pruned stays 0.
4. The other centres follow Lloyd's k-means on the sorted shares, in which each weight counts with the square of its
   channel's largest: what is made small is the squared error of the weights themselves. They start evenly spread
   between the smallest magnitude and the largest (the best of three starts in Han et al., Deep Compression, 2016,
   section 3.2, because the few large weights matter). Sorting once makes a step a search and a difference of running
   sums, so a million weights take about a second, and the same weights give the same centres.
5. A weight goes to its nearest centre; from the middle between two it goes to the higher.
6. Weights that have no more values than wanted keep them, to ``_SAME``: clustering twice is clustering once, also when
   a batch normalisation was folded into them in between, which scales channels.

It is among the converters because fine-tuning runs in their environment and must shrink exactly as the packager does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Weights = npt.NDArray[np.float32]
Reals = npt.NDArray[np.float64]
STEPS_MOST = 300
"""Lloyd's steps; on the weights of real layers centres stand still after 30 to 150, and later ones move little."""

_SAME = 2.0**-20
"""Shares this near are the same: float32 keeps 24 bits, and int8 tells shares apart that differ by 2 ** -7."""


@dataclass(frozen=True)
class Clustering:
    """Weights that share values.

    Attributes:
        centres: (k,) float64 ascending, -1 to 1, shares of a channel's largest magnitude; -1, 0 and 1 are among them.
        members: As the weights, int64: the centre of each.
        scales: (channels, 1, ...) float64, each channel's largest magnitude; 1 where a channel is all 0.
    """

    centres: Reals
    members: npt.NDArray[np.int64]
    scales: Reals

    def weights(self) -> Weights:
        """The weights that they stand for."""
        found: Weights = (self.centres[self.members] * self.scales).astype(np.float32)
        return found


def prune(weights: Weights, share: float) -> Weights:
    """Set the smallest magnitudes to 0.

    Args:
        weights: Any shape.
        share: Of the elements, 0 to 1.
    """
    order = np.argsort(np.abs(weights).ravel(), kind="stable")
    pruned = weights.ravel().copy()
    pruned[order[: round(share * weights.size)]] = 0
    return pruned.reshape(weights.shape)


def cluster(weights: Weights, count: int) -> Clustering:
    """Bring weights to few values.

    Args:
        weights: (channels, ...) finite, the output channels first.
        count: How many centres, 4 at least.
    """
    exact = weights.astype(np.float64)
    largest = np.abs(exact).max(axis=tuple(range(1, exact.ndim)), keepdims=True)
    scales = np.where(largest > 0, largest, 1.0)
    shares = exact / scales
    centres = _distinct(shares)
    if len(centres) > count:
        centres = find_centres(shares.ravel(), np.broadcast_to(scales**2, shares.shape).ravel(), count)
    members = np.searchsorted(_borders(centres), shares.ravel(), side="right").reshape(weights.shape)
    return Clustering(centres, members.astype(np.int64), scales)


def _distinct(shares: Reals) -> Reals:
    """-1, 0, 1 and the values that there are, ascending, those that are the same once."""
    found = np.unique(shares)
    is_first = np.concatenate(([True], np.diff(found) > _SAME))
    is_pinned = np.abs(found - np.clip(np.rint(found), -1, 1)) <= _SAME
    return np.union1d(found[is_first & ~is_pinned], (-1.0, 0.0, 1.0))


def find_centres(shares: Reals, masses: Reals, count: int, steps: int = STEPS_MOST) -> Reals:
    """The centres of weighted values from -1 to 1: -1, 0, 1, and by k-means the rest.

    Args:
        shares: (N,) -1 to 1.
        masses: (N,) above 0, how much each counts.
        count: How many centres, 4 at least.
        steps: Of Lloyd's, at most.

    Returns:
        (count,) ascending.
    """
    order = np.argsort(shares, kind="stable")
    ordered, weight = shares[order], masses[order]
    mass = np.concatenate(([0.0], np.cumsum(weight)))
    moment = np.concatenate(([0.0], np.cumsum(weight * ordered)))
    low, high = count // 2 - 1, count - 2 - count // 2
    centres = np.concatenate((-_spread(ordered, low)[::-1], [0.0], _spread(ordered, high)))
    is_fixed = np.zeros(count, dtype=bool)
    is_fixed[[0, low + 1, count - 1]] = True
    ends = np.zeros(0, dtype=np.int64)
    for _ in range(steps):
        places = np.searchsorted(ordered, _borders(centres), side="left")
        if np.array_equal(places, ends):
            break
        ends = places
        limits = np.concatenate(([0], places, [len(ordered)]))
        masses_in, moments_in = np.diff(mass[limits]), np.diff(moment[limits])
        is_free = (masses_in > 0) & ~is_fixed
        centres[is_free] = moments_in[is_free] / masses_in[is_free]
    return centres


def _spread(ordered: Reals, count: int) -> Reals:
    """Centres of one sign: ``count`` evenly above the smallest magnitude, then 1."""
    magnitudes = np.abs(ordered)
    smallest = float(magnitudes.min(initial=1.0, where=magnitudes > 0))
    return np.linspace(smallest, 1.0, count + 2)[1:] if count else np.ones(1)


def _borders(centres: Reals) -> Reals:
    middle: Reals = (centres[1:] + centres[:-1]) / 2
    return middle
