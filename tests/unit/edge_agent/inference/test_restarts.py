from __future__ import annotations

from edge_agent.inference.restarts import LONGEST_PAUSE_S, restart_pause_s, restarts_in_a_row


def test_the_first_restart_comes_at_once() -> None:
    assert restarts_in_a_row(0, lived_s=1.0) == 1
    assert restart_pause_s(1) == 0.0


def test_pauses_double_up_to_a_cap() -> None:
    assert [restart_pause_s(number) for number in (2, 3, 4)] == [0.1, 0.2, 0.4]
    assert restart_pause_s(12) == LONGEST_PAUSE_S
    assert restart_pause_s(10**9) == LONGEST_PAUSE_S


def test_a_worker_that_keeps_dying_is_counted() -> None:
    assert restarts_in_a_row(3, lived_s=59.0) == 4


def test_a_worker_that_lived_a_minute_starts_the_count_again() -> None:
    assert restarts_in_a_row(3, lived_s=60.0) == 1
