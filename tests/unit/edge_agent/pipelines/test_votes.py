from __future__ import annotations

import numpy as np
import pytest

from edge_agent.pipelines.votes import mean_of, rank, votes_of

THREE = np.array([[0.6, 0.4, 0.0], [0.0, 0.45, 0.55], [0.1, 0.5, 0.4]], np.float32)


def test_the_mean_may_prefer_a_class_that_is_nobodys_favourite() -> None:
    two = THREE[:2]
    assert mean_of(two) == pytest.approx([0.3, 0.425, 0.275])
    assert rank(two, "mean", 1)[0] == (1, float(mean_of(two)[1]))
    assert votes_of(two).tolist() == [0.5, 0.0, 0.5]
    assert rank(two, "vote", 1) == [(0, 0.5)]


def test_votes_that_are_equal_go_to_the_higher_mean_and_then_to_the_lower_index() -> None:
    assert [index for index, _ in rank(THREE, "vote", 3)] == [1, 2, 0]
    same = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], np.float32)
    assert [index for index, _ in rank(same, "vote", 3)] == [1, 2, 0]
    assert [index for index, _ in rank(same, "mean", 2)] == [1, 2]


def test_the_majority_wins_over_the_mean() -> None:
    three = np.array([[0.51, 0.49], [0.51, 0.49], [0.0, 1.0]], np.float32)
    assert rank(three, "vote", 1)[0] == (0, float(np.float32(2 / 3)))
    assert rank(three, "mean", 1)[0][0] == 1
