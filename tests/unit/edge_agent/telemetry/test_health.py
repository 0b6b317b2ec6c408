from __future__ import annotations

import dataclasses

from contract.histogram import LatencyHistogram
from edge_agent.inference.workers import Crash, WorkerWindow
from edge_agent.telemetry.health import Health, describe_crash
from edge_agent.update.trial import Observation


def told(requests: int, errors: int = 0, version: str = "1.1.0") -> WorkerWindow:
    return WorkerWindow(
        model="digits",
        version=version,
        variant="int8",
        duration_s=1.0,
        requests=requests,
        errors=errors,
        latency=LatencyHistogram(),
        rss_bytes=1,
    )


def a_crash(version: str = "1.1.0", signal: str = "SIGSEGV") -> Crash:
    return Crash(
        model="digits",
        version=version,
        signal=signal,
        exit_code=None if signal else 3,
        restarts=1,
        detail="last\nwords",
    )


class Workers:
    """A pool's windows."""

    def __init__(self) -> None:
        self.windows: list[WorkerWindow] = []

    def take(self) -> list[WorkerWindow]:
        windows, self.windows = self.windows, []
        return windows


def test_looking_at_a_trial_takes_nothing_from_the_telemetry() -> None:
    workers = Workers()
    health = Health(workers.take)
    for _ in range(3):
        workers.windows = [told(2), told(5, version="1.0.0")]
        health.seen("digits", "1.1.0")
    windows = health.drain()
    assert [(window.version, window.requests, window.duration_s) for window in windows] == [
        ("1.1.0", 6, 3.0),
        ("1.0.0", 15, 3.0),
    ]
    assert health.drain() == []


def test_a_trial_sees_what_happened_since_before_its_version_answered() -> None:
    workers = Workers()
    health = Health(workers.take)
    workers.windows = [told(100, 50)]
    health.drain()
    health.note_crash(a_crash())
    health.forget("digits")
    assert health.seen("digits", "1.1.0") == Observation()
    workers.windows = [told(7, 2), told(9, version="1.0.0")]
    health.note_crash(a_crash("1.0.0"))
    health.note_crash(a_crash())
    assert health.seen("digits", "1.1.0") == Observation(
        requests=7, errors=2, crashes=1, last_crash="SIGSEGV last words"
    )
    health.forget("zebras")
    assert health.seen("digits", "1.0.0").requests == 9


def test_windows_that_the_telemetry_took_still_count_in_the_trial() -> None:
    workers = Workers()
    health = Health(workers.take)
    workers.windows = [told(7, 2)]
    health.drain()
    assert health.seen("digits", "1.1.0").requests == 7


def test_a_crash_is_described_in_a_line() -> None:
    assert describe_crash(a_crash(signal="")) == "exit code 3 last words"


def marks(health: Health) -> list[tuple[int, bool]]:
    return [(window.requests, window.is_throttled) for window in health.drain()]


def test_windows_are_marked_while_the_board_is_throttled_and_never_mixed_with_others() -> None:
    workers = Workers()
    health = Health(workers.take)
    workers.windows = [told(1)]
    health.seen("digits", "1.1.0")
    workers.windows = [told(2)]  # it may have been throttled for a while before somebody looked
    health.set_throttled(is_throttled=True)
    workers.windows = [told(4)]
    assert marks(health) == [(1, False), (6, True)]
    workers.windows = [told(8)]
    health.set_throttled(is_throttled=True)
    health.set_throttled(is_throttled=False)
    assert marks(health) == [(8, True)]


def test_a_window_that_reaches_back_into_throttled_time_is_marked() -> None:
    workers = Workers()
    health = Health(workers.take)
    health.set_throttled(is_throttled=True)
    health.set_throttled(is_throttled=False)
    workers.windows = [told(1), dataclasses.replace(told(2), duration_s=0.0)]
    assert marks(health) == [(1, True), (2, False)]
