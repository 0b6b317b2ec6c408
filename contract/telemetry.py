"""What a device measures, as it travels in a batch.

PURE. Rules:

1. A window tells counts and a histogram, never an average alone, so that windows add up.
2. ``seq`` rises within a batch; what the server has seen it recognises by boot and ``seq``.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from contract.delegation import DelegateReport
from contract.histogram import LatencyHistogram
from contract.scalars import Count, ModelStr, Seconds, Utc, VersionStr, time_faults


class TelemetryWindow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one model did in one span of time.

    Attributes:
        model: Model name.
        version: Version.
        variant: Variant.
        start: Wall clock at the window's begin.
        duration_s: Length, monotonic.
        requests: Requests answered, errors included.
        errors: Requests answered with an error.
        latency: Service time in the worker, of requests without error.
        rss_bytes: Resident memory of the worker at the window's end.
        delegate: Asked for and got at the window's end; None when no worker said.
        is_throttled: Whether heat or power slowed the board at some time of it, or the agent held it back because of
            them: its latencies do not show what the board can do.
    """

    model: ModelStr
    version: VersionStr
    variant: ModelStr
    start: Utc
    duration_s: Seconds
    requests: Count
    errors: Count
    latency: LatencyHistogram
    rss_bytes: Count
    delegate: DelegateReport | None = None
    is_throttled: bool = False


class SequencedWindow(msgspec.Struct, frozen=True, kw_only=True):
    """A window with its place in the outbox.

    Attributes:
        seq: Grows with every window, and never starts again within a ``boot``.
        window: The window.
    """

    seq: Count
    window: TelemetryWindow


def batch_faults(windows: Sequence[SequencedWindow]) -> list[str]:
    """List everything that makes a batch unusable: times, histograms, and an order that does not rise."""
    faults: list[str] = []
    for entry in windows:
        faults += time_faults(entry.window.start) + entry.window.latency.faults()
    order = [entry.seq for entry in windows]
    if order != sorted(set(order)):
        faults.append("seq does not rise")
    return faults
