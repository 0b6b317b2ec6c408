"""Collects what workers did: one collection, several readers.

Guarantees: every window that a worker tells reaches the telemetry exactly once, however often a trial looks meanwhile;
what a trial sees counts from the moment it began. Thread-safe: the runner, the pool's supervisor and the app come here.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from datetime import datetime, timezone

from contract.messages import TelemetryWindow
from edge_agent.inference.workers import Crash, WorkerWindow
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
        self._watched: tuple[str, str] | None = None
        self._seen = Observation()

    def drain(self) -> list[TelemetryWindow]:
        """What workers did since the last call, one window per model, version and variant."""
        self._collect()
        with self._lock:
            windows, self._pending = list(self._pending.values()), {}
        return windows

    def begin(self, model: str, version: str) -> None:
        """Watch a version from now on; one at a time."""
        self._collect()
        with self._lock:
            self._watched, self._seen = (model, version), Observation()

    def seen(self, model: str, version: str) -> Observation:
        """What was seen of a version since ``begin``, up to this moment."""
        self._collect()
        with self._lock:
            return self._seen if self._watched == (model, version) else Observation()

    def note_crash(self, crash: Crash) -> None:
        """A worker died."""
        with self._lock:
            if self._watched == (crash.model, crash.version):
                self._seen = dataclasses.replace(
                    self._seen, crashes=self._seen.crashes + 1, last_crash=describe_crash(crash)
                )

    def _collect(self) -> None:
        windows = self._take_windows()
        now = datetime.now(timezone.utc)
        with self._lock:
            for worker in windows:
                window = telemetry_window(worker, now)
                key = window_key(window)
                held = self._pending.get(key)
                self._pending[key] = window if held is None else merge_windows(held, window)
                if self._watched == (worker.model, worker.version):
                    self._seen = dataclasses.replace(
                        self._seen,
                        requests=self._seen.requests + worker.requests,
                        errors=self._seen.errors + worker.errors,
                    )


def describe_crash(crash: Crash) -> str:
    """How a worker died, in a line for people."""
    how = crash.signal or f"exit code {crash.exit_code}"
    return " ".join(f"{how} {crash.detail}".split())[:500]
