"""Collects what workers did: one collection, several readers.

Guarantees: every window that a worker tells reaches the telemetry exactly once, however often a trial looks meanwhile;
a trial sees everything from the moment before its version first answered; a window that has any time in common with one
in which the board was throttled is marked. Thread-safe: the runner, the pool's supervisor and the app come here.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone

from contract.messages import TelemetryWindow
from edge_agent.inference.workers import Crash, WorkerWindow
from edge_agent.overload import Cause, Totals, add_refusal
from edge_agent.telemetry.windows import Key, merge_windows, telemetry_window, window_key
from edge_agent.update.trial import Observation


class Health:
    """Windows and crashes of all workers.

    Args:
        take_windows: Asks the pool for what its workers did since it was last asked.
    """

    def __init__(self, take_windows: Callable[[], list[WorkerWindow]]) -> None:
        self._take_windows = take_windows
        self._lock = threading.Lock()
        self._pending: dict[Key, TelemetryWindow] = {}
        self._seen: dict[tuple[str, str], Observation] = {}
        self._refused: Totals = {}
        self._is_throttled = False
        self._throttled_until_s = -math.inf

    def drain(self) -> list[TelemetryWindow]:
        """What workers did since the last call, one window per model, version, variant and mark."""
        self._collect()
        with self._lock:
            windows, self._pending = list(self._pending.values()), {}
        return windows

    def refused(self) -> Totals:
        """How many attempts to connect were refused by each model's workers, of those that ``drain`` has seen."""
        with self._lock:
            return {model: dict(counts) for model, counts in self._refused.items()}

    def set_throttled(self, *, is_throttled: bool) -> None:
        """From now on the board is throttled, or is not any more; what workers did until now was while it was.

        It may have become so at any time since somebody last looked, so that what was not told yet counts as throttled.
        """
        with self._lock:
            if is_throttled is self._is_throttled:
                return
            self._is_throttled = True
            self._throttled_until_s = time.monotonic()
        self._collect()
        with self._lock:
            self._is_throttled = is_throttled

    def forget(self, model: str) -> None:
        """Count from zero, whatever version of the model."""
        with self._lock:
            self._seen = {key: seen for key, seen in self._seen.items() if key[0] != model}

    def seen(self, model: str, version: str) -> Observation:
        """What was seen of a version since ``forget``, or since the agent started, up to this moment."""
        self._collect()
        with self._lock:
            return self._seen.get((model, version), Observation())

    def note_crash(self, crash: Crash) -> None:
        """A worker died."""
        key = (crash.model, crash.version)
        with self._lock:
            seen = self._seen.get(key, Observation())
            self._seen[key] = dataclasses.replace(
                seen, crashes=seen.crashes + 1, last_crash=describe_crash(crash)
            )

    def _collect(self) -> None:
        windows = self._take_windows()
        now = datetime.now(timezone.utc)
        with self._lock:
            for worker in windows:
                self._count(worker, now)

    def _count(self, worker: WorkerWindow, now: datetime) -> None:
        began_s = time.monotonic() - worker.duration_s
        is_throttled = self._is_throttled or began_s < self._throttled_until_s
        window = telemetry_window(worker, now, is_throttled=is_throttled)
        held = self._pending.get(window_key(window))
        self._pending[window_key(window)] = window if held is None else merge_windows(held, window)
        if worker.refused:
            add_refusal(self._refused, worker.model, Cause.CLIENTS, worker.refused)
        key = (worker.model, worker.version)
        seen = self._seen.get(key, Observation())
        self._seen[key] = dataclasses.replace(
            seen, requests=seen.requests + worker.requests, errors=seen.errors + worker.errors
        )


def describe_crash(crash: Crash) -> str:
    """How a worker died, in a line for people."""
    how = crash.signal or f"exit code {crash.exit_code}"
    return " ".join(f"{how} {crash.detail}".split())[:500]
