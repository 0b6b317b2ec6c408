"""Counting what a model sees, and how far it is from what it saw when it was made."""

from __future__ import annotations

import math
import random
import statistics
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.drift import (
    PSI_MUCH,
    PSI_SOME,
    ChannelSummary,
    RunningChannel,
    RunningTensor,
    compare,
    ks,
    psi,
)
from contract.fingerprint import AnswerFingerprint, Basis, ChannelFingerprint, Fingerprint, TensorFingerprint

EDGES = (-1.0, 0.0, 1.0)
VALUES = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60)


def counted(values: list[float], edges: tuple[float, ...] = EDGES) -> ChannelFingerprint:
    running = RunningChannel(edges)
    for value in values:
        running.add(value)
    found = running.snapshot()
    assert found is not None
    return found


def summed(values: list[float]) -> ChannelSummary:
    mean = statistics.fmean(values)
    return ChannelSummary(
        mean=mean,
        squares=sum((value - mean) ** 2 for value in values),
        low=min(values),
        high=max(values),
        counts=counted(values).counts,
    )


# Counting


@given(VALUES)
def test_one_value_after_the_other_gives_mean_and_deviation(values: list[float]) -> None:
    found = counted(values)
    scale = max(map(abs, values)) + 1
    assert found.mean == pytest.approx(statistics.fmean(values), abs=1e-9 * scale)
    assert found.std == pytest.approx(statistics.pstdev(values), abs=1e-6 * scale)
    assert (found.low, found.high, found.count) == (min(values), max(values), len(values))


@given(VALUES, VALUES)
def test_blocks_add_up_to_what_single_values_give(first: list[float], second: list[float]) -> None:
    running = RunningChannel(EDGES)
    for block in (first, second):
        running.add_summary(summed(block))
    found, wanted = running.snapshot(), counted(first + second)
    assert found is not None
    scale = max(map(abs, first + second)) + 1
    assert found.counts == wanted.counts
    assert (found.low, found.high) == (wanted.low, wanted.high)
    assert found.mean == pytest.approx(wanted.mean, abs=1e-9 * scale)
    assert found.std == pytest.approx(wanted.std, abs=1e-6 * scale)


def test_a_value_on_an_edge_belongs_to_the_bin_below_it() -> None:
    assert counted([-1.0, -0.5, 0.0, 1.0, 1.5]).counts == (1, 2, 1, 1)


def test_values_that_are_not_finite_are_left_out() -> None:
    assert counted([math.nan, math.inf, -math.inf, 0.5]).counts == (0, 0, 1, 0)


def test_nothing_counted_is_no_fingerprint() -> None:
    running = RunningChannel(EDGES)
    running.add_summary(ChannelSummary(mean=0, squares=0, low=0, high=0, counts=(0, 0, 0, 0)))
    assert running.snapshot() is None


def test_a_channel_without_edges_has_one_bin() -> None:
    assert counted([1.0, 2.0], edges=()).counts == (2,)


def test_memory_does_not_grow_with_what_was_counted() -> None:
    running = RunningChannel(EDGES)
    running.add(0.0)
    tracemalloc.start()
    try:
        for step in range(20_000):
            running.add(step / 1000)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 32_768  # 20,000 numbers would take 480,000


def tensor(name: str, *channels: ChannelFingerprint) -> TensorFingerprint:
    return TensorFingerprint(name=name, channels=channels)


def test_channels_of_a_tensor_are_counted_apart() -> None:
    running = RunningTensor(tensor("image", counted([0.0]), counted([0.0], edges=(10.0,))))
    running.add([-5.0, 5.0, 5.0, 20.0])
    found = running.snapshot()
    assert found is not None
    assert found.name == "image"
    assert [channel.counts for channel in found.channels] == [(1, 0, 0, 1), (1, 1)]
    assert [channel.mean for channel in found.channels] == [0.0, 12.5]


def test_a_tensor_with_a_channel_that_saw_nothing_is_no_fingerprint() -> None:
    running = RunningTensor(tensor("image", counted([0.0]), counted([0.0])))
    running.add([1.0, math.nan])
    assert running.snapshot() is None


# Comparing


def test_psi_and_ks_of_a_known_case() -> None:
    """By hand: shares with half a value a bin are 0.3, 0.7 and 0.5, 0.5 of five."""
    assert psi([1, 3], [2, 2]) == pytest.approx(0.2 * math.log(0.5 / 0.3) - 0.2 * math.log(0.5 / 0.7))
    assert ks([1, 3], [2, 2]) == pytest.approx(0.25)
    assert ks([4, 0], [0, 4]) == 1


HISTOGRAMS = st.integers(1, 12).flatmap(
    lambda bins: st.tuples(*[st.lists(st.integers(0, 10_000), min_size=bins, max_size=bins)] * 2)
)


@given(HISTOGRAMS)
def test_distances_are_finite_symmetric_and_zero_for_the_same(pair: tuple[list[int], list[int]]) -> None:
    one, other = pair
    assert psi(one, one) == 0
    assert 0 <= psi(one, other) < math.inf
    assert psi(one, other) == pytest.approx(psi(other, one))
    if sum(one) and sum(other):
        assert 0 <= ks(one, other) <= 1
        assert ks(one, other) == pytest.approx(ks(other, one))
        assert ks(one, one) == 0


@pytest.mark.parametrize(("one", "other"), [([], []), ([1], [1, 2])])
def test_histograms_that_cannot_be_compared_are_refused(one: list[int], other: list[int]) -> None:
    with pytest.raises(ValueError, match=r"needs a bin|zip|argument"):
        psi(one, other)


def test_an_empty_histogram_has_no_distribution() -> None:
    with pytest.raises(ValueError, match="needs a value"):
        ks([0, 0], [1, 2])


def drawn(shift: float, count: int = 4000, seed: int = 1) -> ChannelFingerprint:
    source = random.Random(seed)
    deciles = (-1.28, -0.84, -0.52, -0.25, 0.0, 0.25, 0.52, 0.84, 1.28)
    return counted([source.gauss(shift, 1) for _ in range(count)], edges=deciles)


def a_fingerprint(channel: ChannelFingerprint, classes: tuple[int, ...] = (50, 50)) -> Fingerprint:
    return Fingerprint(
        basis=Basis.CALIBRATION,
        samples=100,
        inputs=(tensor("image", channel),),
        outputs=(tensor("scores", channel),),
        answers=AnswerFingerprint(best_score=channel, classes=classes),
    )


def test_the_same_distribution_drawn_again_is_no_drift() -> None:
    found = compare(a_fingerprint(drawn(0)), a_fingerprint(drawn(0, seed=2), classes=(52, 48)))
    assert {drift.where for drift in found} == {
        "inputs image[0]",
        "outputs scores[0]",
        "best score",
        "classes",
    }
    for drift in found:
        assert drift.psi < PSI_SOME
        assert drift.ks < 0.05
        assert drift.mean_shift < 0.1
    assert 0.2 < found[0].psi / found[0].psi_by_chance < 5


def test_a_shifted_mean_is_drift_and_stands_first() -> None:
    moved = msgspec.structs.replace(a_fingerprint(drawn(0)), inputs=(tensor("image", drawn(1, seed=2)),))
    worst = compare(a_fingerprint(drawn(0)), moved)[0]
    assert worst.where == "inputs image[0]"
    assert worst.psi > PSI_MUCH
    # Two normal distributions a standard deviation apart: 2 * Phi(1/2) - 1 = 0.383.
    assert worst.ks == pytest.approx(0.383, abs=0.03)
    assert worst.mean_shift == pytest.approx(1, abs=0.05)


def test_answers_of_one_class_only_are_drift() -> None:
    found = compare(a_fingerprint(drawn(0)), a_fingerprint(drawn(0), classes=(100, 0)))[0]
    assert (found.where, found.ks, found.mean_shift) == ("classes", 0.5, 0.0)
    assert found.psi > PSI_MUCH


@pytest.mark.parametrize(("now", "shift"), [(3.0, 0.0), (4.0, math.inf)])
def test_a_constant_channel_that_moves_has_moved_far(now: float, shift: float) -> None:
    reference, observed = (counted([value] * 5, edges=(3.0,)) for value in (3.0, now))
    assert compare(a_fingerprint(reference), a_fingerprint(observed))[0].mean_shift == shift


@pytest.mark.parametrize(
    "observed",
    [
        a_fingerprint(counted([0.0], edges=(7.0,)), classes=(1, 2, 3)),
        a_fingerprint(counted([0.0], edges=(7.0,)), classes=(0, 0)),
        msgspec.structs.replace(a_fingerprint(drawn(0)), inputs=(), outputs=(), answers=None),
        msgspec.structs.replace(
            a_fingerprint(drawn(0)), inputs=(tensor("image", drawn(0), drawn(0)),), outputs=(), answers=None
        ),
    ],
    ids=["other bins", "no answers yet", "nothing in common", "another number of channels"],
)
def test_what_cannot_be_compared_is_left_out(observed: Fingerprint) -> None:
    assert compare(a_fingerprint(drawn(0)), observed) == []
