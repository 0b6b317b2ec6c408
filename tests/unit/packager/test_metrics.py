"""Every task's metric against scikit-learn, which is asked here in its own words, plain and with weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import accuracy_score, r2_score, recall_score
from sklearn.metrics.pairwise import paired_cosine_distances
from sklearn.neighbors import NearestNeighbors

from packager.bootstrap import drop_interval, point_estimate
from packager.tasks.arrays import ArraySamples
from packager.tasks.embedding import Embedding
from packager.tasks.metrics import overlaps, r2_of_draws, retrieved
from packager.tasks.regression import Regression
from packager.tasks.top1 import Top1, lead

SAMPLES, DRAWS = 24, 6
Values = npt.NDArray[np.float64]


def nothing(count: int) -> ArraySamples:
    """Samples that no test looks at."""
    return ArraySamples((np.zeros((count, 1), dtype=np.float32),), "", "")


def counts_of(seed: int) -> Values:
    """(DRAWS, SAMPLES) how often each sample was drawn."""
    even = [1 / SAMPLES] * SAMPLES
    return np.random.default_rng(seed).multinomial(SAMPLES, even, size=DRAWS).astype(np.float64)


def regression(targets: object, kind: str = "r2", tolerance: float = 0.0) -> Regression:
    values = np.array(targets, dtype=np.float64)
    return Regression(nothing(len(values)), values, kind, tolerance)


def regressions() -> dict[str, tuple[Values, Values]]:
    """One and several values, good and bad answers, constant targets, and values far from 0."""
    draw = np.random.default_rng(20261121)
    near = draw.normal(5, 2, (SAMPLES, 1))
    three = draw.normal(0, 1, (2, SAMPLES, 3))
    two = near.repeat(2, axis=1)
    tenth = np.full((SAMPLES, 1), 0.1)
    return {
        "one value": (near, near + draw.normal(0, 0.5, near.shape)),
        "three values": (three[0], three[1]),
        "better than the mean": (two, near + draw.normal(0, 1, two.shape)),
        "constant target": (tenth + 3, tenth + 3.5),
        "constant target, exact": (tenth, tenth),
        "far from 0": (near + 1e6, near + 1e6 + draw.normal(0, 0.5, near.shape)),
    }


@pytest.mark.parametrize("name", regressions())
def test_r2_is_scikit_learns_plain_and_drawn(name: str) -> None:
    targets, answers = regressions()[name]
    task, counts = regression(targets), counts_of(1)
    scores = task.score([answers], range(SAMPLES))
    assert point_estimate(task, scores) == max(0.0, r2_score(targets, answers))
    weighted = [max(0.0, r2_score(targets, answers, sample_weight=row)) for row in counts]
    assert task.aggregate(scores, counts) == pytest.approx(weighted, rel=1e-9, abs=1e-9)


def test_answers_that_are_further_off_than_the_mean_have_r2_0_and_not_less() -> None:
    targets, answers = regressions()["three values"]
    assert r2_score(targets, answers) < 0
    task = regression(targets)
    assert point_estimate(task, task.score([answers], range(SAMPLES))) == 0.0


@pytest.mark.parametrize(("answer", "wanted"), [(2.0, 1.0), (2.1, 0.0)])
def test_one_sample_alone_is_explained_by_an_exact_answer_only(answer: float, wanted: float) -> None:
    task = regression([[2.0]])
    assert point_estimate(task, task.score([np.array([[answer]])], range(1))) == wanted


def test_r2_of_many_draws_does_not_depend_on_how_many_are_computed_at_once() -> None:
    draw = np.random.default_rng(2)
    targets = draw.normal(0, 1, (6000, 2))
    answers = targets + draw.normal(0, 0.3, targets.shape)
    draws = draw.integers(0, 6000, (100, 6000))  # more than one block
    expected = [r2_score(targets[row], answers[row]) for row in draws[[0, 50, 99]]]
    assert r2_of_draws(targets, answers, draws)[[0, 50, 99]] == pytest.approx(expected, rel=1e-12)


def test_one_answer_that_is_no_number_spoils_every_draw_that_holds_it() -> None:
    task = regression([[1.0], [2.0], [3.0]])
    scores = task.score([np.array([[1.0], [np.nan], [3.0]])], range(3))
    assert np.isfinite(scores).all()
    assert point_estimate(task, scores) == 0.0
    assert task.aggregate(scores, np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0]])).tolist() == [0.0, 1.0]


def test_within_counts_samples_of_which_every_value_is_near_enough() -> None:
    task = regression([[0.0, 0.0]] * 4, "within", 0.1)
    answers = np.array([[0.1, -0.1], [0.1, 0.11], [0.0, np.inf], [0.0, 0.0]])
    scores = task.score([answers], range(4))
    assert point_estimate(task, scores) == 0.5
    counts = np.array([[3.0, 0.0, 0.0, 1.0], [0.0, 2.0, 2.0, 0.0]])
    assert task.aggregate(scores, counts).tolist() == [1.0, 0.0]


def test_several_outputs_are_measured_side_by_side() -> None:
    task = regression([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])
    outputs = [np.array([[1.0], [2.0], [3.0]]), np.array([[4.0], [4.0], [4.0]])]
    assert point_estimate(task, task.score(outputs, range(3))) == 0.5  # 1 for the first, 0 for the second
    assert np.isinf(task.margin(outputs)).all()
    assert task.per_class(task.score(outputs, range(3))).size == 0
    assert (task.classes, task.strata.tolist()) == ((), [0, 0, 0])


def test_accuracy_is_scikit_learns_plain_drawn_and_by_class() -> None:
    draw, counts = np.random.default_rng(3), counts_of(4)
    truth, scores = draw.integers(0, 4, SAMPLES), draw.normal(0, 1, (SAMPLES, 4))
    scores[np.arange(SAMPLES), truth] += 1.0
    task = Top1(nothing(SAMPLES), truth, ("a", "b", "c", "d"))
    rows, answers = task.score([scores], range(SAMPLES)), scores.argmax(axis=1)
    assert 0 < point_estimate(task, rows) == accuracy_score(truth, answers) < 1
    weighted = [accuracy_score(truth, answers, sample_weight=row) for row in counts]
    assert task.aggregate(rows, counts) == pytest.approx(weighted, rel=1e-12)
    assert task.per_class(rows).tolist() == recall_score(truth, answers, average=None).tolist()


def test_a_score_that_is_no_number_is_a_wrong_answer() -> None:
    task = Top1(nothing(2), np.array([1, 1]), ("a", "b"))
    outputs = [np.array([[0.0, 1.0], [np.nan, 1.0]], dtype=np.float32)]
    rows = task.score(outputs, range(2))
    assert rows.tolist() == [1.0, -1.0]
    assert task.margin(outputs).tolist() == [1.0, 0.0]
    assert point_estimate(task, rows) == 0.5
    assert task.per_class(rows).tolist() == pytest.approx([np.nan, 0.5], nan_ok=True)


def test_a_class_without_a_sample_has_no_accuracy() -> None:
    task = Top1(nothing(3), np.array([0, 0, 2]), ("a", "b", "c"))
    assert task.per_class(np.array([0.0, 1.0, 2.0])).tolist() == pytest.approx(
        [0.5, np.nan, 1.0], nan_ok=True
    )


def test_one_output_value_means_class_1_above_the_threshold() -> None:
    task = Top1(nothing(3), np.array([1, 1, 0]), ("0", "1"), threshold=0.6)
    outputs = [np.array([[0.7], [0.6], [0.2]], dtype=np.float32)]
    assert task.score(outputs, range(3)).tolist() == [1.0, 0.0, 0.0]
    assert task.margin(outputs) == pytest.approx([0.2, 0.0, 0.8], abs=1e-6)
    assert "0.6" in task.scoring


def test_a_model_with_one_value_has_no_best_one() -> None:
    assert lead(np.array([[1.0], [2.0]])).tolist() == [np.inf, np.inf]


def test_overlaps_leave_out_classes_without_a_true_pixel() -> None:
    shared, missed, claimed = np.array([[0, 3e9, 0], [0, 1e9, 5], [2, 0, 0]])
    assert overlaps(shared, missed, claimed).tolist() == pytest.approx([np.nan, 0.75, 0.0], nan_ok=True)
    assert np.isnan(overlaps(shared * 0, missed * 0, claimed)).all()


def identities() -> tuple[npt.NDArray[np.int64], Values]:
    """Truth and embeddings of five identities that overlap."""
    draw = np.random.default_rng(5)
    truth = draw.permutation(np.arange(SAMPLES) % 5)
    return truth, draw.normal(0, 1, (SAMPLES, 6)) + 1.2 * draw.normal(0, 1, (5, 6))[truth]


@pytest.mark.parametrize("k", [1, 3, SAMPLES - 2, 100])
def test_what_retrieval_finds_is_what_scikit_learns_neighbours_are(k: int) -> None:
    truth, values = identities()
    task, counts = Embedding(nothing(SAMPLES), truth, tuple("01234"), k), counts_of(6)
    scores = task.score([values.astype(np.float32)], range(SAMPLES))
    index = NearestNeighbors(n_neighbors=min(k, SAMPLES - 1), metric="cosine").fit(values)
    found = (truth[index.kneighbors(return_distance=False)] == truth[:, np.newaxis]).any(axis=1)
    assert found.any()
    assert found.all() == (k >= 3)
    assert task.metric == f"retrieval@{k}"
    assert point_estimate(task, scores) == found.mean()
    assert task.per_class(scores) == pytest.approx([found[truth == one].mean() for one in range(5)])
    assert task.aggregate(scores, counts) == pytest.approx(counts @ found / SAMPLES)


def test_cosine_is_scikit_learns_to_the_float_models_embedding() -> None:
    _, values = identities()
    other = values + np.random.default_rng(7).normal(0, 0.7, values.shape)
    task = Embedding(nothing(SAMPLES), np.zeros(SAMPLES, dtype=np.int64), (), 0)
    floating, variant = (task.score([one], range(SAMPLES)) for one in (values, other))
    expected = np.mean(1 - paired_cosine_distances(values, other))
    assert point_estimate(task, floating) == 1.0
    bound = task.with_reference(floating)
    assert point_estimate(bound, variant) == pytest.approx(expected, rel=1e-12)
    assert point_estimate(bound, floating) == 1.0
    low, high = drop_interval(bound, variant, floating)
    assert 0 < low < 1 - expected < high


def test_an_embedding_that_is_no_number_has_no_cosine() -> None:
    task = Embedding(nothing(2), np.zeros(2, dtype=np.int64), (), 0)
    floating = task.score([np.array([[1.0, 0.0], [0.0, 1.0]])], range(2))
    broken = task.score([np.array([[1.0, 0.0], [np.nan, 1.0]])], range(2))
    assert point_estimate(task.with_reference(floating), broken) == 0.5


def test_a_model_that_answers_the_same_for_everything_finds_nothing() -> None:
    task = Embedding(nothing(40), np.arange(40) % 4, tuple("abcd"))
    assert point_estimate(task, task.score([np.full((40, 3), 0.3, dtype=np.float32)], range(40))) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_of_equally_near_ones_others_are_nearer(seed: int) -> None:
    """Few directions, so that many are equally near; compared with a rank that is counted one by one."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, 4, 60)
    values = np.eye(3)[draw.integers(0, 3, 60)] + np.eye(3)[draw.integers(0, 3, 60)]
    unit = values / np.linalg.norm(values, axis=1, keepdims=True)
    near = unit @ unit.T
    for k in (1, 2, 5):
        expected = []
        for one in range(60):
            own = [near[one, other] for other in range(60) if other != one and truth[other] == truth[one]]
            nearer = [other for other in range(60) if truth[other] != truth[one]]
            nearer = [other for other in nearer if own and near[one, other] >= max(own) - 1e-6]
            expected.append(bool(own) and len(nearer) < k)
        assert retrieved(unit, truth, k).tolist() == expected


def test_an_embedding_that_is_no_number_or_zero_finds_none_and_is_found_by_none() -> None:
    task = Embedding(nothing(5), np.array([0, 0, 0, 1, 1]), ("a", "b"))
    values = np.array([[1.0, 0.1], [1.0, 0.0], [np.nan, 1.0], [0.0, 1.0], [0.0, 0.0]], dtype=np.float32)
    scores = task.score([values], range(5))
    assert np.isfinite(scores).all()
    assert task.per_class(scores) == pytest.approx([2 / 3, 0.0])
    useless = task.score([np.zeros((5, 2))], range(5))
    assert point_estimate(task, useless) == 0.0


def test_an_image_alone_in_its_identity_is_searched_among_and_not_for() -> None:
    task = Embedding(nothing(3), np.array([0, 0, 1]), ("a", "alone"))
    scores = task.score([np.array([[1.0, 0.0], [0.9, 0.5], [1.0, 0.01]], dtype=np.float32)], range(3))
    assert point_estimate(task, scores) == 0.0  # the one alone is nearer to both
    assert np.isnan(task.per_class(scores)[1])
    only_the_one_alone = np.array([[0.0, 0.0, 3.0]])
    assert task.aggregate(scores, only_the_one_alone).tolist() == [0.0]


def test_two_thousand_draws_of_a_thousand_embeddings_take_seconds() -> None:
    draw = np.random.default_rng(1)
    truth = draw.integers(0, 50, 1000)
    task = Embedding(nothing(1000), truth, tuple(map(str, range(50))))
    rows = [task.score([draw.normal(0, 1, (1000, 64))], range(1000)) for _ in range(2)]
    low, high = drop_interval(task, rows[0], rows[1])
    assert low < 0 < high
