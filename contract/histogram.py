"""Mergeable latency histogram with fixed, log-spaced buckets.

PURE. Rules:

1. Ten buckets a decade from 10 microseconds to 100 seconds, then one for all above: every device, worker and
   server uses the same bounds, so histograms add up by adding counts. Error of a quantile: at most 26 %
   (one bucket, 10^(1/10)), half of that with the geometric middle that ``quantile_s`` returns.
2. Sums and counts are exact; only quantiles are estimates.
"""

from __future__ import annotations

import bisect
import math

import msgspec

from contract.scalars import COUNT_MAX

BUCKETS_PER_DECADE = 10
LOWEST_S = 1e-5
DECADES = 7
UPPER_BOUNDS_S: tuple[float, ...] = tuple(
    LOWEST_S * 10 ** (step / BUCKETS_PER_DECADE) for step in range(DECADES * BUCKETS_PER_DECADE + 1)
)
"""Inclusive upper bound of each bucket in seconds; one more bucket holds everything above the last."""
BUCKET_COUNT = len(UPPER_BOUNDS_S) + 1


class LatencyHistogram(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of durations. On the wire only buckets that are not empty appear.

    Attributes:
        count: Number of durations.
        sum_s: Their sum in seconds.
        buckets: Bucket index (0 to 71) to count.
    """

    count: int = 0
    sum_s: float = 0.0
    buckets: dict[int, int] = msgspec.field(default_factory=dict)

    def merged(self, other: LatencyHistogram) -> LatencyHistogram:
        """The histogram of both sets of durations."""
        buckets = dict(self.buckets)
        for index, count in other.buckets.items():
            buckets[index] = buckets.get(index, 0) + count
        return LatencyHistogram(
            count=self.count + other.count,
            sum_s=self.sum_s + other.sum_s,
            buckets=dict(sorted(buckets.items())),
        )

    def mean_s(self) -> float:
        """Mean duration in seconds; 0 when empty."""
        return self.sum_s / self.count if self.count else 0.0

    def quantile_s(self, quantile: float) -> float:
        """Estimated duration in seconds below which ``quantile`` (0 to 1) of all lie; 0 when empty."""
        total = sum(self.buckets.values())
        rank = max(1, math.ceil(quantile * total))
        seen = 0
        for index in sorted(self.buckets):
            seen += self.buckets[index]
            if seen >= rank:
                return bucket_middle_s(index)
        return 0.0

    def faults(self) -> list[str]:
        """Every inconsistency; empty when sound."""
        found: list[str] = []
        if any(not 0 <= index < BUCKET_COUNT for index in self.buckets):
            found.append(f"bucket index outside 0 to {BUCKET_COUNT - 1}")
        if self.count > COUNT_MAX:
            found.append(f"count is above {COUNT_MAX}")
        if any(count < 0 for count in self.buckets.values()) or sum(self.buckets.values()) != self.count:
            found.append("bucket counts do not add up to count")
        if not (math.isfinite(self.sum_s) and self.sum_s >= 0):
            found.append("sum_s is not a finite, non-negative number")
        return found


def bucket_index(duration_s: float) -> int:
    """Index of the bucket that holds a duration in seconds."""
    return bisect.bisect_left(UPPER_BOUNDS_S, duration_s)


def bucket_middle_s(index: int) -> float:
    """Geometric middle of a bucket in seconds; the last bound for the open bucket above it."""
    if index >= len(UPPER_BOUNDS_S):
        return UPPER_BOUNDS_S[-1]
    return UPPER_BOUNDS_S[index] / math.sqrt(10 ** (1 / BUCKETS_PER_DECADE))


class LatencyRecorder:
    """Collects durations one by one; not thread-safe, its owner is one thread."""

    __slots__ = ("_counts", "_sum_s")

    def __init__(self) -> None:
        self._counts = [0] * BUCKET_COUNT
        self._sum_s = 0.0

    def record(self, duration_s: float) -> None:
        """Count one duration in seconds."""
        self._counts[bucket_index(duration_s)] += 1
        self._sum_s += duration_s

    def snapshot(self) -> LatencyHistogram:
        """What was recorded so far, as an immutable histogram."""
        buckets = {index: count for index, count in enumerate(self._counts) if count}
        return LatencyHistogram(count=sum(buckets.values()), sum_s=self._sum_s, buckets=buckets)

    def reset(self) -> None:
        """Forget everything; the next window starts."""
        self._counts = [0] * BUCKET_COUNT
        self._sum_s = 0.0
