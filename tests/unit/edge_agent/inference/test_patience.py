"""When a side of a conversation stays awake, and when it sleeps instead."""

from __future__ import annotations

import pytest

from edge_agent.inference.patience import Patience, worth_awake_s


def _sleeps(patience: Patience) -> int:
    """How often it sleeps before the next attempt to stay awake."""
    count = 0
    while not patience.try_awake():
        count += 1
    return count


def test_on_one_core_nobody_stays_awake() -> None:
    assert not Patience(1).try_awake()


def test_while_words_come_it_stays_awake_every_time() -> None:
    patience = Patience(2)

    for _ in range(100):
        assert patience.try_awake()
        patience.note(has_come=True)


def test_a_single_attempt_in_vain_changes_nothing() -> None:
    patience = Patience(2)

    for _ in range(10):
        patience.note(has_come=False)
        assert patience.try_awake()
        patience.note(has_come=True)
        assert patience.try_awake()


def test_attempts_in_vain_become_rare() -> None:
    patience = Patience(4)
    sleeps = []

    for _ in range(6):
        sleeps.append(_sleeps(patience))
        patience.note(has_come=False)

    assert sleeps == [0, 0, 4, 16, 64, 64]


def test_one_word_that_comes_in_time_begins_anew() -> None:
    patience = Patience(2)
    for _ in range(4):
        patience.note(has_come=False)
    assert _sleeps(patience) == 64

    patience.note(has_come=True)
    patience.note(has_come=False)

    assert _sleeps(patience) == 0


def test_beside_a_worker_that_uses_every_core_nobody_stays_awake() -> None:
    assert not Patience(4, threads=4).try_awake()
    assert Patience(4, threads=3).try_awake()


@pytest.mark.parametrize(
    ("took_s", "awake_s"), [(0.0, 300e-6), (1e-3, 300e-6), (4e-3, 1e-3), (6e-3, 1.5e-3), (1.0, 1.5e-3)]
)
def test_a_worker_stays_awake_for_longer_after_a_longer_request(took_s: float, awake_s: float) -> None:
    assert worth_awake_s(took_s) == awake_s
