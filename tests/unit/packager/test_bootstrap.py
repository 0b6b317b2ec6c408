"""How sure a measured drop is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from contract.errors import RejectedError
from packager.bootstrap import _interval, drop_interval, point_estimate
from packager.tasks.task import Counts, Scores
from packager.tasks.top1 import Top1
from tests.support.packager_builders import classified


def task(samples: int) -> Top1:
    return classified([0] * samples, [0] * samples)


def answers(right: int, samples: int, start: int = 0) -> Scores:
    scores = np.ones(samples)  # the true class is 0
    scores[start : start + right] = 0
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


def test_the_interval_does_not_depend_on_how_much_memory_it_is_made_in() -> None:
    scores = answers(40, 50), answers(48, 50, start=1)
    whole, pieces = (_interval(task(50), *scores, 0.95, block) for block in (2_000_000, 333))
    assert whole == pieces


def test_of_one_sample_the_interval_is_the_drop() -> None:
    assert drop_interval(task(1), answers(0, 1), answers(1, 1)) == (1.0, 1.0)
    assert drop_interval(task(1), answers(1, 1), 0.75) == (-0.25, -0.25)


class Astray(Top1):
    """Computes another metric of draws than its library of all samples."""

    def aggregate(self, scores: Scores, counts: Counts) -> npt.NDArray[np.float64]:
        return super().aggregate(scores, counts) - 1e-6


def test_a_task_that_computes_another_metric_of_draws_is_refused() -> None:
    sound = task(4)
    astray = Astray(sound.samples, sound.truth, sound.names)
    with pytest.raises(RejectedError, match=r"accuracy is 0\.75 by its library and 0\.74999"):
        point_estimate(astray, answers(3, 4))
