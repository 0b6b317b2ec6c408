"""Whether what a model sees today is what it saw when it was made.

PURE. Rules:

1. A running fingerprint takes constant memory, however much it counts: one histogram a channel, with the edges of the
   reference. It needs nothing but Python; who has numpy adds whole blocks that were summed up there.
2. Two measures, over bins with the same edges. PSI, the population stability index, is the sum over bins of
   (q - p) ln(q / p); below 0.1 nothing has changed, above 0.25 much has (N. Siddiqi, Credit Risk Scorecards, 2006,
   chapter 6). KS, the Kolmogorov-Smirnov distance, is the largest difference of the cumulated shares, 0 to 1; known at
   the edges only, so it is a lower bound.
3. Half a value is added to each bin (the Krichevsky-Trofimov estimate), so that an empty bin costs much, and not
   infinitely much.
4. Few values differ by chance. Without any drift the PSI of B bins is (1/M + 1/N)(B - 1) on average, for M and N
   independent values (B. Yurdakul and J. Naranjo, Statistical properties of the population stability index, 2020).
   ``Drift.psi_by_chance`` tells it. Pixels of one image are not independent: count images, not pixels, there.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Sequence

import msgspec

from contract.fingerprint import AnswerFingerprint, ChannelFingerprint, Fingerprint, TensorFingerprint

PSI_SOME = 0.1
PSI_MUCH = 0.25
_PRIOR = 0.5


class ChannelSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What a block of values comes down to.

    Attributes:
        mean: Of the block.
        squares: Sum of squared distances from that mean.
        low: Lowest value.
        high: Highest value.
        counts: Values per bin, by the edges of whom it is added to; their sum is the number of values.
    """

    mean: float
    squares: float
    low: float
    high: float
    counts: tuple[int, ...]


class RunningChannel:
    """Counts the values of one channel; not thread-safe, its owner is one thread."""

    __slots__ = ("_counts", "_edges", "_high", "_low", "_mean", "_seen", "_squares")

    def __init__(self, edges: Sequence[float]) -> None:
        """Nothing is counted yet.

        Args:
            edges: Upper bounds of all bins but the last, inclusive and rising.
        """
        self._edges = tuple(edges)
        self._counts = [0] * (len(self._edges) + 1)
        self._seen = 0
        self._mean = self._squares = 0.0
        self._low, self._high = math.inf, -math.inf

    def add(self, value: float) -> None:
        """Count one value; one that is not finite is left out."""
        if math.isfinite(value):
            # Welford's update (Technometrics 4, 1962): no sum that grows until small steps are lost in it.
            self._seen += 1
            step = value - self._mean
            self._mean += step / self._seen
            self._squares += step * (value - self._mean)
            self._low, self._high = min(self._low, value), max(self._high, value)
            self._counts[bisect.bisect_left(self._edges, value)] += 1

    def add_summary(self, block: ChannelSummary) -> None:
        """Count a block of finite values that was summed up elsewhere; an empty one changes nothing."""
        added = sum(block.counts)
        if not added:
            return
        # Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm, 1979.
        step, total = block.mean - self._mean, self._seen + added
        self._squares += block.squares + step * step * self._seen * added / total
        self._mean += step * added / total
        self._seen = total
        self._low, self._high = min(self._low, block.low), max(self._high, block.high)
        self._counts = [mine + more for mine, more in zip(self._counts, block.counts, strict=True)]

    def snapshot(self) -> ChannelFingerprint | None:
        """What was counted so far; None where that is nothing."""
        if not self._seen:
            return None
        return ChannelFingerprint(
            mean=self._mean,
            std=math.sqrt(max(0.0, self._squares) / self._seen),
            low=self._low,
            high=self._high,
            edges=self._edges,
            counts=tuple(self._counts),
        )


class RunningTensor:
    """Counts the values of an input or output, with the edges of a reference."""

    def __init__(self, reference: TensorFingerprint) -> None:
        """Nothing is counted yet."""
        self._name = reference.name
        self._is_pooled = reference.is_pooled
        self.channels = tuple(RunningChannel(channel.edges) for channel in reference.channels)

    def add(self, values: Iterable[float]) -> None:
        """Count values in the tensor's order, the channel running fastest."""
        for channel, value in zip(itertools.cycle(self.channels), values, strict=False):
            channel.add(value)

    def snapshot(self) -> TensorFingerprint | None:
        """What was counted so far; None where a channel has nothing."""
        found = [channel.snapshot() for channel in self.channels]
        known = tuple(channel for channel in found if channel is not None)
        if len(known) < len(found):
            return None
        return TensorFingerprint(name=self._name, channels=known, is_pooled=self._is_pooled)


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """How far one thing is from its reference.

    Attributes:
        where: What was compared: ``inputs image[2]``, ``outputs scores[0]``, ``best score``, ``classes``.
        psi: Population stability index; 0 and up.
        ks: Kolmogorov-Smirnov distance, 0 to 1; for classes, which have no order, half the sum of the differences of
            shares (total variation), which is 0 to 1 too.
        mean_shift: By how many of the reference's standard deviations the mean moved; 0 for classes.
        psi_by_chance: The PSI to expect of so many independent values without any drift.
    """

    where: str
    psi: float
    ks: float
    mean_shift: float
    psi_by_chance: float


def psi(reference: Sequence[int], observed: Sequence[int]) -> float:
    """Population stability index of two histograms with the same bins.

    Raises:
        ValueError: They have not as many bins, or none.
    """
    expected, found = _shares(reference), _shares(observed)
    if not expected:
        raise ValueError("a histogram needs a bin")
    return sum((q - p) * math.log(q / p) for p, q in zip(expected, found, strict=True))


def ks(reference: Sequence[int], observed: Sequence[int]) -> float:
    """Largest difference of the cumulated shares of two histograms with the same bins, 0 to 1.

    Raises:
        ValueError: They have not as many bins, or one of them is empty.
    """
    if not sum(reference) or not sum(observed):
        raise ValueError("a histogram needs a value")
    mine = (count / sum(reference) for count in itertools.accumulate(reference))
    theirs = (count / sum(observed) for count in itertools.accumulate(observed))
    return max(abs(one - other) for one, other in zip(mine, theirs, strict=True))


def compare(reference: Fingerprint, observed: Fingerprint) -> list[Drift]:
    """Compare whatever both fingerprints tell of, with the same bins; the furthest from its reference first."""
    drifts: list[Drift] = []
    for what, mine, theirs in (
        ("inputs", reference.inputs, observed.inputs),
        ("outputs", reference.outputs, observed.outputs),
    ):
        others = {tensor.name: tensor for tensor in theirs}
        for tensor in mine:
            drifts += _compare_tensor(what, tensor, others.get(tensor.name))
    drifts += _compare_answers(reference.answers, observed.answers)
    return sorted(drifts, key=lambda drift: -drift.psi)


def _compare_tensor(what: str, mine: TensorFingerprint, theirs: TensorFingerprint | None) -> list[Drift]:
    if theirs is None or len(mine.channels) != len(theirs.channels):
        return []
    pairs = zip(mine.channels, theirs.channels, strict=True)
    return [
        _compare_channel(f"{what} {mine.name}[{at}]", one, other)
        for at, (one, other) in enumerate(pairs)
        if one.edges == other.edges
    ]


def _compare_answers(mine: AnswerFingerprint | None, theirs: AnswerFingerprint | None) -> list[Drift]:
    if mine is None or theirs is None:
        return []
    drifts: list[Drift] = []
    if mine.best_score.edges == theirs.best_score.edges:
        drifts.append(_compare_channel("best score", mine.best_score, theirs.best_score))
    if len(mine.classes) == len(theirs.classes) and min(sum(mine.classes), sum(theirs.classes)) > 0:
        drifts.append(
            Drift(
                where="classes",
                psi=psi(mine.classes, theirs.classes),
                ks=_variation(mine.classes, theirs.classes),
                mean_shift=0.0,
                psi_by_chance=_chance(mine.classes, theirs.classes),
            )
        )
    return drifts


def _compare_channel(where: str, mine: ChannelFingerprint, theirs: ChannelFingerprint) -> Drift:
    moved = abs(theirs.mean - mine.mean)
    return Drift(
        where=where,
        psi=psi(mine.counts, theirs.counts),
        ks=ks(mine.counts, theirs.counts),
        # A constant channel has no deviation to count in; whatever moves there has moved far.
        mean_shift=moved / mine.std if mine.std else (math.inf if moved else 0.0),
        psi_by_chance=_chance(mine.counts, theirs.counts),
    )


def _shares(counts: Sequence[int]) -> list[float]:
    total = sum(counts) + _PRIOR * len(counts)
    return [(count + _PRIOR) / total for count in counts]


def _variation(mine: Sequence[int], theirs: Sequence[int]) -> float:
    mass, other = sum(mine), sum(theirs)
    return sum(abs(p / mass - q / other) for p, q in zip(mine, theirs, strict=True)) / 2


def _chance(mine: Sequence[int], theirs: Sequence[int]) -> float:
    return (1 / sum(mine) + 1 / sum(theirs)) * (len(mine) - 1)
