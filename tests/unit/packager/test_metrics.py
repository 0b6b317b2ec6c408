"""Our metrics against scikit-learn's, recorded by ``tests/data/make_metric_references.py``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from packager.bootstrap import drop_interval, point_estimate
from packager.tasks.arrays import ArraySamples
from packager.tasks.embedding import Embedding
from packager.tasks.regression import Regression
from packager.tasks.top1 import Top1, lead

REFERENCES = json.loads(
    (Path(__file__).resolve().parents[2] / "data" / "metric_references.json").read_bytes()
)
REGRESSIONS: list[dict[str, Any]] = REFERENCES["regressions"]
NOTHING = ArraySamples((np.zeros((24, 1), dtype=np.float32),), "", "")


def regression(targets: Any, **changes: Any) -> Regression:
    return Regression(NOTHING, np.array(targets, dtype=np.float64), **changes)


@pytest.mark.parametrize("case", REGRESSIONS, ids=lambda case: case["name"])
def test_r2_is_scikit_learns_plain_and_drawn(case: dict[str, Any]) -> None:
    task = regression(case["targets"])
    scores = task.score([np.array(case["answers"])], range(24))
    assert point_estimate(task, scores) == pytest.approx(max(0.0, case["plain"]), rel=1e-9, abs=1e-9)
    drawn = task.aggregate(scores, np.array(case["counts"], dtype=np.float64))
    assert drawn == pytest.approx(np.maximum(case["drawn"], 0.0), rel=1e-9, abs=1e-9)


def test_answers_that_are_further_off_than_the_mean_have_r2_0_and_not_less() -> None:
    worse = next(case for case in REGRESSIONS if case["name"] == "three values")
    assert worse["plain"] < 0
    task = regression(worse["targets"])
    assert point_estimate(task, task.score([np.array(worse["answers"])], range(24))) == 0.0


def test_one_answer_that_is_no_number_spoils_every_draw_that_holds_it() -> None:
    task = regression([[1.0], [2.0], [3.0]])
    scores = task.score([np.array([[1.0], [np.nan], [3.0]])], range(3))
    assert np.isfinite(scores).all()
    assert task.aggregate(scores, np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0]])).tolist() == [0.0, 1.0]


def test_within_counts_samples_of_which_every_value_is_near_enough() -> None:
    task = regression([[0.0, 0.0]] * 4, kind="within", tolerance=0.1)
    answers = np.array([[0.1, -0.1], [0.1, 0.11], [0.0, np.inf], [0.0, 0.0]])
    scores = task.score([answers], range(4))
    assert point_estimate(task, scores) == 0.5
    assert task.aggregate(scores, np.array([[3.0, 0.0, 0.0, 1.0], [0.0, 2.0, 2.0, 0.0]])).tolist() == [
        1.0,
        0.0,
    ]


def test_several_outputs_are_measured_side_by_side() -> None:
    task = regression([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])
    outputs = [np.array([[1.0], [2.0], [3.0]]), np.array([[4.0], [4.0], [4.0]])]
    assert point_estimate(task, task.score(outputs, range(3))) == 0.5  # 1 for the first, 0 for the second
    assert np.isinf(task.margin(outputs)).all()
    assert task.per_class(task.score(outputs, range(3))).size == 0
    assert (task.classes, task.strata.tolist()) == ((), [0, 0, 0])


def test_accuracy_is_scikit_learns_plain_and_drawn() -> None:
    case = REFERENCES["classification"]
    task = Top1(NOTHING, np.array(case["truth"]), ("a", "b", "c", "d"))
    scores = task.score([np.array(case["scores"])], range(24))
    assert point_estimate(task, scores) == case["plain"]
    counts = np.array(case["counts"], dtype=np.float64)
    assert task.aggregate(scores, counts) == pytest.approx(case["drawn"], rel=1e-12)


def test_a_score_that_is_no_number_is_a_wrong_answer() -> None:
    task = Top1(NOTHING, np.array([1, 1]), ("a", "b"))
    outputs = [np.array([[0.0, 1.0], [np.nan, 1.0]], dtype=np.float32)]
    assert task.score(outputs, range(2)).tolist() == [1.0, 0.0]
    assert task.margin(outputs).tolist() == [1.0, 0.0]


def test_a_class_without_a_sample_has_no_accuracy() -> None:
    task = Top1(NOTHING, np.array([0, 0, 2]), ("a", "b", "c"))
    assert task.per_class(np.array([1.0, 0.0, 1.0])).tolist() == pytest.approx(
        [0.5, np.nan, 1.0], nan_ok=True
    )


def test_one_output_value_means_class_1_above_the_threshold() -> None:
    task = Top1(NOTHING, np.array([1, 1, 0]), ("0", "1"), threshold=0.6)
    outputs = [np.array([[0.7], [0.6], [0.2]], dtype=np.float32)]
    assert task.score(outputs, range(3)).tolist() == [1.0, 0.0, 1.0]
    assert task.margin(outputs) == pytest.approx([0.2, 0.0, 0.8], abs=1e-6)
    assert "0.6" in task.scoring


def test_a_model_with_one_value_has_no_best_one() -> None:
    assert lead(np.array([[1.0], [2.0]])).tolist() == [np.inf, np.inf]


@pytest.mark.parametrize("k", [1, 3])
def test_what_retrieval_finds_is_what_scikit_learns_neighbours_are(k: int) -> None:
    case = REFERENCES["embedding"]
    truth = np.array(case["truth"])
    task = Embedding(NOTHING, truth, tuple("01234"), k)
    scores = task.score([np.array(case["values"], dtype=np.float32)], range(24))
    found = np.array(case["found"][str(k)])
    assert task.metric == f"retrieval@{k}"
    assert point_estimate(task, scores) == pytest.approx(found.mean())
    assert task.per_class(scores) == pytest.approx([found[truth == one].mean() for one in range(5)])
    counts = np.eye(24)[[3, 7]] + np.ones(24)
    assert task.aggregate(scores, counts) == pytest.approx(
        [(found.sum() + found[one]) / 25 for one in (3, 7)]
    )


def test_cosine_is_scikit_learns_to_the_float_models_embedding() -> None:
    case = REFERENCES["embedding"]
    task = Embedding(NOTHING, np.zeros(24, dtype=np.int64), (), 0)
    floating, variant = (
        task.score([np.array(case[key], dtype=np.float32)], range(24)) for key in ("values", "other")
    )
    assert point_estimate(task, floating) == pytest.approx(1.0)
    bound = task.with_reference(floating)
    assert point_estimate(bound, variant) == pytest.approx(np.mean(case["cosines"]), abs=1e-6)
    assert point_estimate(bound, floating) == pytest.approx(1.0)
    low, high = drop_interval(bound, variant, floating)
    assert 0 < low < 1 - np.mean(case["cosines"]) < high


def test_a_model_that_answers_the_same_for_everything_finds_nothing() -> None:
    task = Embedding(NOTHING, np.array([0, 0, 1, 1]), ("a", "b"))
    assert point_estimate(task, task.score([np.full((4, 3), 0.3, dtype=np.float32)], range(4))) == 0.0


def test_an_embedding_that_is_no_number_or_zero_finds_none_and_is_found_by_none() -> None:
    task = Embedding(NOTHING, np.array([0, 0, 0, 1, 1]), ("a", "b"))
    values = np.array([[1.0, 0.1], [1.0, 0.0], [np.nan, 1.0], [0.0, 1.0], [0.0, 0.0]], dtype=np.float32)
    scores = task.score([values], range(5))
    assert np.isfinite(scores).all()
    assert task.per_class(scores) == pytest.approx([2 / 3, 0.0])


def test_an_image_alone_in_its_identity_is_searched_among_and_not_for() -> None:
    task = Embedding(NOTHING, np.array([0, 0, 1]), ("a", "alone"))
    scores = task.score([np.array([[1.0, 0.0], [0.9, 0.5], [1.0, 0.01]], dtype=np.float32)], range(3))
    assert point_estimate(task, scores) == 0.0  # the one alone is nearer to both
    assert np.isnan(task.per_class(scores)[1])
    assert task.aggregate(scores, np.array([[0.0, 0.0, 3.0]])).tolist() == [
        0.0
    ]  # only the one alone was drawn


def test_two_thousand_draws_of_a_thousand_embeddings_take_seconds() -> None:
    draw = np.random.default_rng(1)
    truth = draw.integers(0, 50, 1000)
    task = Embedding(NOTHING, truth, tuple(map(str, range(50))))
    rows = [task.score([draw.normal(0, 1, (1000, 64))], range(1000)) for _ in range(2)]
    low, high = drop_interval(task, rows[0], rows[1])
    assert low < 0 < high
