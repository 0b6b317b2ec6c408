"""Telemetry windows to start from."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import msgspec

from contract.histogram import LatencyHistogram
from contract.messages import TelemetryWindow

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)


def a_window(requests: int = 0, *, at_s: float = 0.0, **changes: object) -> TelemetryWindow:
    """A window of ten seconds that begins ``at_s`` seconds after noon."""
    latency = LatencyHistogram(
        count=requests, sum_s=0.01 * requests, buckets={30: requests} if requests else {}
    )
    window = TelemetryWindow(
        model="digits",
        version="1.0.0",
        variant="int8",
        start=NOON + timedelta(seconds=at_s),
        duration_s=10.0,
        requests=requests,
        errors=0,
        latency=latency,
        rss_bytes=50_000_000,
    )
    return msgspec.structs.replace(window, **changes)
