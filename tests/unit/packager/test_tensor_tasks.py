"""Regression and classification of tables: what is read, what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.errors import ConfigError, ManifestError
from contract.manifest import Resize, Task
from contract.tensor import DType
from packager.bootstrap import point_estimate
from packager.preprocess import Fitting
from packager.tasks import regression, tabular
from tests.support.task_builders import load, source, spec
from tests.support.task_data import (
    FEATURES,
    STATES,
    machine,
    pump,
    write_csv,
    write_labels,
    write_machine,
    write_pump,
)

PUMP = source([spec("sensors", 1, 4), spec("setting", 1, 2)], [spec("power", 1, 1)])
MACHINE = source([spec("measurements", 1, 5)], [spec("state", 1, 4)], gives_probabilities=True)
COLUMNS = {"features": list(FEATURES), "target": "state"}


@pytest.mark.parametrize("ending", ["npz", "csv"])
def test_true_values_of_a_file_are_perfect_answers(tmp_path: Path, ending: str) -> None:
    path = write_pump(tmp_path / f"pump.{ending}", 50, 1)
    found = load(regression.KIND, PUMP, path, {"target": "power"}, calibration=path)
    power = pump(50, 1)["power"]
    assert point_estimate(found.task, found.task.score([power], range(50))) == pytest.approx(1.0)
    assert found.task.inputs([3])[1].tolist() == pump(50, 1)["setting"][3:4].tolist()
    assert found.presentation.task is Task.REGRESSION
    assert found.calibration is not None
    assert len(found.calibration) == len(found.task) == 50
    assert set(found.calibration.digests) == set(found.task.digests)
    assert found.task.metric == "r2"
    assert found.task.preparation == "by name"


def test_two_outputs_need_an_npz_with_an_array_for_each(tmp_path: Path) -> None:
    model = source([spec("x", 1, 1)], [spec("low", 1, 1), spec("high", 1, 2)])
    path = tmp_path / "both.npz"
    np.savez(path, x=np.zeros((3, 1)), low=np.zeros(3), high=np.ones((3, 2)))
    found = load(regression.KIND, model, path, {})
    assert point_estimate(found.task, found.task.score([np.zeros((3, 1)), np.ones((3, 2))], range(3))) == 1.0
    np.savez(path, x=np.zeros((3, 1)), low=np.zeros(3), high=np.ones((2, 2)))
    with pytest.raises(ManifestError, match="3 samples and 2 targets"):
        load(regression.KIND, model, path, {})
    table = write_csv(tmp_path / "both.csv", ["x", "low"], [[0, 0]])
    with pytest.raises(ConfigError, match="2 outputs"):
        load(regression.KIND, model, table, {})


@pytest.mark.parametrize(
    ("options", "error", "wanted"),
    [
        ({"metric": "rmse"}, ConfigError, "no metric 'rmse'"),
        ({"metric": "within", "tolerance": -1}, ConfigError, "tolerance"),
        ({"tolerance": 0.1}, ConfigError, "tolerance is how far off an answer may be for metric within"),
        ({"metric": "within", "tolerance": "nan"}, ConfigError, "tolerance"),
        ({"target": "power,heat"}, ManifestError, "output power has 1 values, 2 target columns are named"),
        ({"target": "pwr"}, ManifestError, "no column 'pwr'"),
        ({"k": 3}, ConfigError, "unknown"),
    ],
)
def test_options_of_regression_that_cannot_be_meant_are_refused(
    tmp_path: Path, options: dict[str, Any], error: type[Exception], wanted: str
) -> None:
    path = write_pump(tmp_path / "pump.csv", 5, 1)
    with pytest.raises(error, match=wanted):
        load(regression.KIND, PUMP, path, options)


@pytest.mark.parametrize(
    "changes",
    [
        {"mean": (127.5,)},
        {"std": (1.0,)},
        {"fitting": Fitting(Resize.STRETCH)},
        {"labels": Path("labels.txt")},
    ],
)
def test_settings_of_images_are_not_silently_ignored(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"are no images|are for tasks with classes"):
        load(regression.KIND, PUMP, write_pump(tmp_path / "pump.csv", 5, 1), {"target": "power"}, **changes)


def test_regression_takes_any_numbers_and_no_flags() -> None:
    assert regression.KIND.borders(PUMP, None) == []
    assert regression.KIND.borders(source([], [spec("on", 1, dtype=DType.BOOL)]), None) != []


def test_the_class_of_a_row_is_its_label(tmp_path: Path) -> None:
    path = write_machine(tmp_path / "machine.csv", 40, 1)
    labels = write_labels(tmp_path / "states.txt", STATES)
    found = load(tabular.KIND, MACHINE, path, COLUMNS, labels=labels, calibration=path)
    assert found.task.classes == STATES
    scores = np.eye(4, dtype=np.float32)[found.task.strata]
    assert point_estimate(found.task, found.task.score([scores], range(40))) == 1.0
    assert found.presentation.task is Task.CLASSIFICATION
    assert found.presentation.labels == STATES
    assert found.presentation.postprocessing is not None
    assert not found.presentation.postprocessing.softmax
    assert found.presentation.preprocessing is None
    assert "best class of 4" in found.task.scoring
    assert (found.task.metric, found.task.sha256) == (
        "accuracy",
        hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    assert found.task.inputs([7])[0].tolist() == [machine(40, 1)[0][7].tolist()]


def test_a_class_that_the_model_does_not_know_is_refused(tmp_path: Path) -> None:
    path = write_machine(tmp_path / "machine.csv", 40, 1)
    with pytest.raises(ManifestError, match="no class of the model") as caught:
        load(tabular.KIND, MACHINE, path, COLUMNS)
    assert "--labels" in caught.value.remedy
    labels = write_labels(tmp_path / "states.txt", ["idle", "running", "worm", "blocked"])
    with pytest.raises(ManifestError, match="'worn', which is no class") as caught:
        load(tabular.KIND, MACHINE, path, COLUMNS, labels=labels)
    assert "'worm'" in caught.value.remedy


def test_classes_of_an_npz_are_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "machine.npz"
    np.savez(path, measurements=np.zeros((3, 5)), target=np.array([0, 3, 1]))
    found = load(tabular.KIND, MACHINE, path, {})
    assert found.task.strata.tolist() == [0, 3, 1]
    assert found.presentation.labels == ()
    for bad in (
        np.array([0, 4, 1]),
        np.array([0, -1, 1]),
        np.array([0.0, 1.0, 1.0]),
        np.zeros((3, 1), dtype=int),
    ):
        np.savez(path, measurements=np.zeros((3, 5)), target=bad)
        with pytest.raises(ManifestError, match="class number"):
            load(tabular.KIND, MACHINE, path, {})
    np.savez(path, measurements=np.zeros((3, 5)), target=np.array([0, 1]))
    with pytest.raises(ManifestError, match="3 samples and 2 targets"):
        load(tabular.KIND, MACHINE, path, {})


def test_a_model_with_one_output_value_tells_two_classes_apart(tmp_path: Path) -> None:
    model = source([spec("x", 1, 1)], [spec("alarm", 1, 1)], gives_probabilities=True)
    path = write_csv(tmp_path / "alarm.csv", ["x", "target"], [[0.1, 0], [0.9, 1]])
    found = load(tabular.KIND, model, path, {"threshold": "0.8"})
    outputs = [np.array([[0.7], [0.9]], dtype=np.float32)]
    assert point_estimate(found.task, found.task.score(outputs, range(2))) == 1.0
    assert found.presentation.postprocessing is None
    with pytest.raises(ConfigError, match="threshold"):
        load(tabular.KIND, model, path, {"threshold": "inf"})


@pytest.mark.parametrize(
    "outputs",
    [
        [spec("a", 1, 4), spec("b", 1, 4)],
        [spec("a", 1, 4, dtype=DType.INT64)],
        [spec("a", 1, 4, 4)],
    ],
)
def test_outputs_that_are_no_scores_are_told(outputs: list[Any]) -> None:
    (fault,) = tabular.KIND.borders(source([spec("x", 1, 5)], outputs), None)
    assert "output" in fault
