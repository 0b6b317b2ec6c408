"""What a batch of telemetry windows weighs on the wire."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone

import msgspec

from contract.histogram import LatencyRecorder
from contract.messages import SequencedWindow, Telemetry, TelemetryWindow, encode_message
from tests.benchmarks.harness import Row, at_most, versions_of

WINDOWS = 20
REQUESTS = 600


def a_batch() -> Telemetry:
    """Twenty windows of ten seconds with 600 requests each, latencies log-normal around 20 ms."""
    chance = random.Random(7)
    begun = datetime(2026, 1, 1, tzinfo=timezone.utc)
    windows = []
    for index in range(WINDOWS):
        recorder = LatencyRecorder()
        for _ in range(REQUESTS):
            recorder.record(0.02 * chance.lognormvariate(0.0, 0.3))
        window = TelemetryWindow(
            model="digits",
            version="1.0.0",
            variant="static-int8",
            start=begun + timedelta(seconds=10 * index),
            duration_s=10.0,
            requests=REQUESTS,
            errors=0,
            latency=recorder.snapshot(),
            rss_bytes=52_000_000 + chance.randrange(100_000),
        )
        windows.append(SequencedWindow(seq=index + 1, window=window))
    return Telemetry(v=1, boot="0123456789abcdef", windows=tuple(windows))


def rows() -> list[Row]:
    """Bytes of a batch as sent, over its plain JSON."""
    batch = a_batch()
    sent, plain = len(encode_message(batch)), len(msgspec.json.encode(batch))
    return [
        Row(
            name="batch of 20 windows as sent / plain JSON",
            value=sent / plain,
            unit="ratio",
            samples=1,
            goal=at_most(0.5),
            baseline=1.0,
            versions=versions_of("litefleet", "msgspec"),
        ),
        Row(
            name="bytes a window as sent",
            value=sent / WINDOWS,
            unit="bytes",
            samples=WINDOWS,
            baseline=plain / WINDOWS,
            versions=versions_of("litefleet", "msgspec"),
        ),
    ]
