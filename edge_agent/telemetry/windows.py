"""Windows: what is worth sending, and how several become one.

PURE. Rules:

1. A window without requests says only that the worker lives. Idle windows of the same worker are merged until they
   cover IDLE_MAX_S, or until a window with requests takes them in; so every second is covered by exactly one window.
2. Merging loses resolution in time and nothing else: counts, sums and histograms add up, memory is the highest.
3. Only windows of the same model, version and variant that touch or follow each other are merged, and only such that
   are both marked as throttled, or both not.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

import msgspec

from contract.messages import TelemetryWindow
from edge_agent.inference.workers import WorkerWindow

IDLE_MAX_S = 300.0
"""An idle model is heard of every five minutes: often enough for a page, 30 times fewer rows than every 10 s."""

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
"""The earliest time a message may carry; a board without a clock starts here."""

Key = tuple[str, str, str, bool]


def window_key(window: TelemetryWindow) -> Key:
    """What windows must have in common to be merged: model, version, variant, and whether they are throttled."""
    return (window.model, window.version, window.variant, window.is_throttled)


def telemetry_window(
    worker: WorkerWindow, ended_at: datetime, *, is_throttled: bool = False
) -> TelemetryWindow:
    """What a worker told, as it is sent.

    Args:
        worker: Its window.
        ended_at: Wall clock at the window's end, UTC.
        is_throttled: Whether the board was at some time of it.
    """
    return TelemetryWindow(
        model=worker.model,
        version=worker.version,
        variant=worker.variant,
        start=max(EPOCH, ended_at - timedelta(seconds=worker.duration_s)),
        duration_s=worker.duration_s,
        requests=worker.requests,
        errors=worker.errors,
        latency=worker.latency,
        rss_bytes=worker.rss_bytes,
        delegate=worker.delegate,
        is_throttled=is_throttled,
    )


def merge_windows(first: TelemetryWindow, second: TelemetryWindow) -> TelemetryWindow:
    """Two windows of the same worker as one that begins with the first."""
    return msgspec.structs.replace(
        first,
        duration_s=first.duration_s + second.duration_s,
        requests=first.requests + second.requests,
        errors=first.errors + second.errors,
        latency=first.latency.merged(second.latency),
        rss_bytes=max(first.rss_bytes, second.rss_bytes),
        delegate=second.delegate or first.delegate,
    )


class IdleMerger:
    """Holds back idle windows. Not thread-safe, its owner is one thread."""

    def __init__(self) -> None:
        self._idle: dict[Key, TelemetryWindow] = {}

    def take(self, windows: Iterable[TelemetryWindow]) -> list[TelemetryWindow]:
        """Take the windows that ended now; give those that are to be sent.

        An idle window of a worker that is not heard of any more is given too.
        """
        ready: list[TelemetryWindow] = []
        before, self._idle = self._idle, {}
        for window in windows:
            held = before.pop(window_key(window), None) or self._idle.pop(window_key(window), None)
            whole = window if held is None else merge_windows(held, window)
            if whole.requests or whole.duration_s >= IDLE_MAX_S:
                ready.append(whole)
            else:
                self._idle[window_key(whole)] = whole
        return [*before.values(), *ready]

    def flush(self) -> list[TelemetryWindow]:
        """Everything that is held back."""
        return self.take([])
