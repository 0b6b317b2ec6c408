"""How sure a measured drop is."""

from __future__ import annotations

import numpy as np
import pytest

from packager.bootstrap import _draws, drop_interval, point_estimate
from packager.tasks.classification import Classification
from packager.tasks.task import Scores
from tests.support.packager_builders import classified


def task(samples: int) -> Classification:
    return classified([0] * samples, [0] * samples)


def answers(right: int, samples: int, start: int = 0) -> Scores:
    scores = np.zeros(samples)
    scores[start : start + right] = 1
    return scores


def test_the_point_estimate_counts_every_sample_once() -> None:
    assert point_estimate(task(4), answers(3, 4)) == 0.75


def test_the_interval_holds_the_drop_and_narrows_with_more_samples() -> None:
    low, high = drop_interval(task(100), answers(90, 100), answers(100, 100))
    assert low < 0.1 < high
    # Normal approximation of a share of 0.1 over 100: 1.96 * sqrt(0.1 * 0.9 / 100) = 0.059.
    assert high - 0.1 == pytest.approx(0.059, abs=0.015)
    _, narrow = drop_interval(task(10_000), answers(9_000, 10_000), answers(10_000, 10_000))
    assert narrow - 0.1 == pytest.approx(0.0059, abs=0.0015)


def test_samples_that_both_find_hard_cancel_out() -> None:
    hard = answers(50, 100)
    assert drop_interval(task(100), hard, hard) == (0.0, 0.0)
    low, high = drop_interval(task(100), hard, 0.5)
    assert low < 0 < high


def test_more_confidence_is_a_wider_interval() -> None:
    narrow = drop_interval(task(200), answers(190, 200), answers(200, 200), 0.8)
    wide = drop_interval(task(200), answers(190, 200), answers(200, 200), 0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_the_interval_is_the_same_every_time() -> None:
    scores = answers(950, 1000), answers(990, 1000, start=10)
    assert drop_interval(task(1000), *scores) == drop_interval(task(1000), *scores)


def test_the_draws_do_not_depend_on_how_much_memory_they_are_made_in() -> None:
    whole, pieces = list(_draws(50)), list(_draws(50, block_elements=333))
    assert (len(whole), len(pieces)) == (1, 334)
    assert np.array_equal(np.concatenate(whole), np.concatenate(pieces))
    assert set(whole[0].sum(axis=1)) == {50.0}
