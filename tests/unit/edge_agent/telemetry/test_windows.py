from __future__ import annotations

from datetime import timedelta

from contract.histogram import LatencyHistogram
from edge_agent.inference.workers import WorkerWindow
from edge_agent.telemetry.windows import EPOCH, IDLE_MAX_S, IdleMerger, merge_windows, telemetry_window
from tests.support.agent_windows import NOON, a_window


def test_a_workers_window_begins_its_length_before_it_was_taken() -> None:
    worker = WorkerWindow(
        model="digits",
        version="1.0.0",
        variant="int8",
        duration_s=10.0,
        requests=3,
        errors=1,
        latency=LatencyHistogram(count=2, sum_s=0.5, buckets={30: 2}),
        rss_bytes=7,
    )
    window = telemetry_window(worker, NOON)
    assert window.start == NOON - timedelta(seconds=10)
    assert (window.requests, window.errors, window.latency, window.rss_bytes) == (3, 1, worker.latency, 7)


def test_a_board_without_a_clock_sends_no_time_before_1970() -> None:
    worker = WorkerWindow("digits", "1.0.0", "int8", 10.0, 0, 0, LatencyHistogram(), 7)
    assert telemetry_window(worker, EPOCH + timedelta(seconds=3)).start == EPOCH


def test_merged_windows_add_up_and_begin_with_the_first() -> None:
    merged = merge_windows(a_window(2, rss_bytes=9), a_window(3, at_s=10, errors=1, rss_bytes=5))
    assert (merged.start, merged.duration_s) == (NOON, 20.0)
    assert (merged.requests, merged.errors, merged.rss_bytes) == (5, 1, 9)
    assert merged.latency.count == 5


def test_a_window_with_requests_is_sent_at_once() -> None:
    assert IdleMerger().take([a_window(1)]) == [a_window(1)]


def test_idle_windows_wait_and_go_with_the_next_request() -> None:
    idle = IdleMerger()
    assert idle.take([a_window()]) == []
    assert idle.take([a_window(at_s=10)]) == []
    assert idle.take([a_window(4, at_s=20)]) == [
        merge_windows(merge_windows(a_window(), a_window(at_s=10)), a_window(4, at_s=20))
    ]


def test_an_idle_worker_is_heard_of_every_five_minutes() -> None:
    idle = IdleMerger()
    sent = [window for step in range(60) for window in idle.take([a_window(at_s=10.0 * step)])]
    assert [window.duration_s for window in sent] == [IDLE_MAX_S, IDLE_MAX_S]


def test_the_idle_window_of_a_worker_that_is_gone_is_sent() -> None:
    idle = IdleMerger()
    idle.take([a_window(), a_window(version="1.1.0")])
    assert idle.take([a_window(at_s=10, version="1.1.0")]) == [a_window()]
    assert [window.version for window in idle.flush()] == ["1.1.0"]
    assert idle.flush() == []


def test_two_idle_windows_of_one_worker_at_once_become_one() -> None:
    idle = IdleMerger()
    idle.take([a_window(), a_window(at_s=10)])
    assert idle.flush() == [merge_windows(a_window(), a_window(at_s=10))]


def test_windows_that_are_throttled_and_others_are_not_merged() -> None:
    idle = IdleMerger()
    idle.take([a_window()])
    assert idle.take([a_window(at_s=10, is_throttled=True)]) == [a_window()]
    assert idle.take([a_window(at_s=20, is_throttled=True)]) == []
    (held,) = idle.flush()
    assert (held.duration_s, held.is_throttled) == (20.0, True)
