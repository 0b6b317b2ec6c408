"""The latency histogram: adding up, estimating, refusing."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.histogram import (
    BUCKET_COUNT,
    UPPER_BOUNDS_S,
    LatencyHistogram,
    LatencyRecorder,
    bucket_index,
    bucket_middle_s,
)
from contract.scalars import COUNT_MAX

# Multiples of 2^-20 s below 64 s: their sums are exact in any order, so equality can be asserted.
durations = st.lists(st.integers(11, 64 << 20).map(lambda ticks: ticks / (1 << 20)), max_size=60)


def histogram(values: list[float]) -> LatencyHistogram:
    recorder = LatencyRecorder()
    for value in values:
        recorder.record(value)
    return recorder.snapshot()


@given(durations, durations, durations)
def test_merging_is_associative_and_commutative_and_the_same_as_recording_together(
    one: list[float], two: list[float], three: list[float]
) -> None:
    a, b, c = histogram(one), histogram(two), histogram(three)
    together = histogram(one + two + three)
    assert a.merged(b).merged(c) == a.merged(b.merged(c)) == c.merged(a).merged(b) == together
    assert a.merged(LatencyHistogram()) == a
    assert list(together.buckets) == sorted(together.buckets)
    assert together.faults() == []


@given(durations.filter(bool), st.floats(0, 1))
def test_a_quantile_is_within_half_a_bucket_of_the_true_one(values: list[float], quantile: float) -> None:
    true = sorted(values)[max(1, math.ceil(quantile * len(values))) - 1]
    half_bucket = 10 ** (1 / 20)
    assert true / half_bucket * 0.999 <= histogram(values).quantile_s(quantile) <= true * half_bucket * 1.001


@given(durations, st.floats(0, 1), st.floats(0, 1))
def test_quantiles_rise(values: list[float], one: float, other: float) -> None:
    found = histogram(values)
    assert found.quantile_s(min(one, other)) <= found.quantile_s(max(one, other))


@given(st.floats(0, 1000))
def test_a_duration_lies_within_its_bucket(duration_s: float) -> None:
    index = bucket_index(duration_s)
    assert 0 <= index < BUCKET_COUNT
    if index < len(UPPER_BOUNDS_S):
        assert duration_s <= UPPER_BOUNDS_S[index]
    if index > 0:
        assert duration_s > UPPER_BOUNDS_S[index - 1]


def test_the_bounds_are_ten_a_decade_from_ten_microseconds_to_a_hundred_seconds() -> None:
    assert BUCKET_COUNT == 72
    assert UPPER_BOUNDS_S[0] == 1e-5
    assert UPPER_BOUNDS_S[-1] == pytest.approx(100)
    assert UPPER_BOUNDS_S[10] == pytest.approx(1e-4)
    assert list(UPPER_BOUNDS_S) == sorted(UPPER_BOUNDS_S)


def test_the_middle_of_a_bucket_is_geometric_and_of_the_open_one_its_lower_bound() -> None:
    assert bucket_middle_s(10) == pytest.approx(math.sqrt(UPPER_BOUNDS_S[9] * UPPER_BOUNDS_S[10]))
    assert bucket_middle_s(BUCKET_COUNT - 1) == UPPER_BOUNDS_S[-1]
    assert histogram([5000.0]).quantile_s(0.5) == UPPER_BOUNDS_S[-1]


def test_an_empty_histogram_answers_zero() -> None:
    empty = LatencyRecorder().snapshot()
    assert (empty.count, empty.mean_s(), empty.quantile_s(0.99), empty.faults()) == (0, 0.0, 0.0, [])


def test_the_mean_is_exact() -> None:
    assert histogram([0.5, 1.0]).mean_s() == 0.75


def test_a_recorder_that_was_reset_begins_anew() -> None:
    recorder = LatencyRecorder()
    recorder.record(0.5)
    before = recorder.snapshot()
    recorder.reset()
    recorder.record(0.25)
    assert recorder.snapshot() == histogram([0.25])
    assert before == histogram([0.5])


@pytest.mark.parametrize(
    ("found", "fault"),
    [
        (LatencyHistogram(count=1, buckets={-1: 1}), "bucket index outside 0 to 71"),
        (LatencyHistogram(count=1, buckets={72: 1}), "bucket index outside 0 to 71"),
        (LatencyHistogram(count=1, buckets={2**70: 1}), "bucket index outside 0 to 71"),
        (LatencyHistogram(count=2, buckets={1: 1}), "bucket counts do not add up to count"),
        (LatencyHistogram(count=0, buckets={1: 1, 2: -1}), "bucket counts do not add up to count"),
        (LatencyHistogram(count=2**64, buckets={1: 2**64}), f"count is above {COUNT_MAX}"),
        (LatencyHistogram(sum_s=-0.1), "sum_s is not a finite, non-negative number"),
        (LatencyHistogram(sum_s=float("nan")), "sum_s is not a finite, non-negative number"),
        (LatencyHistogram(sum_s=float("inf")), "sum_s is not a finite, non-negative number"),
    ],
)
def test_an_inconsistency_is_named(found: LatencyHistogram, fault: str) -> None:
    assert found.faults() == [fault]


@given(
    st.builds(
        LatencyHistogram,
        count=st.integers(),
        sum_s=st.floats(),
        buckets=st.dictionaries(st.integers(), st.integers(), max_size=5),
    )
)
def test_any_histogram_is_judged_and_a_sound_one_can_be_asked(found: LatencyHistogram) -> None:
    if not found.faults():
        assert found.quantile_s(0.5) >= 0
        assert found.mean_s() >= 0


def test_only_buckets_that_are_not_empty_are_written() -> None:
    assert msgspec.json.encode(histogram([0.5])) == b'{"count":1,"sum_s":0.5,"buckets":{"47":1}}'
