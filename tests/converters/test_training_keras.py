"""Fine-tuning and distillation with Keras itself, in its own environment: ``make test-converters``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from packager.runtime.objects import unpack_model
from packager.sources.environment import prepare
from packager.sources.keras import keras_converter
from tests.support.packager_builders import DIGITS
from tests.support.packager_conversion import Ear

pytestmark = [pytest.mark.converters, pytest.mark.timeout(3600)]

MAKER = Path(__file__).parent / "make_sources.py"
IMAGES = ["--evaluation", str(DIGITS / "evaluation"), "--labels", str(DIGITS / "labels.txt")]
TRAINING = ["--training", str(DIGITS / "calibration"), "--no-cache", "--json"]
"""100 images, none of them among the 500 of the evaluation."""
TIMEOUT_S = 1200.0


@pytest.fixture(scope="session")
def models(cache: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keras files, made in Keras's environment."""
    folder = tmp_path_factory.mktemp("models")
    toolchain = prepare(keras_converter(".keras"), Ear().tell)
    command = [str(toolchain.python), *toolchain.flags, str(MAKER), "keras", str(weights), str(folder)]
    subprocess.run(command, check=True, timeout=TIMEOUT_S)
    return folder


def run(command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "packager.cli", command, *arguments, *IMAGES, *TRAINING],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip


def large_weights(path: Path) -> list[Any]:
    """(channels, ...) of every weight tensor that is compressed."""
    model = unpack_model(path.read_bytes())
    return [
        model.buffers[tensor.buffer].data.view("<f4").reshape(tensor.shape)
        for tensor in model.subgraphs[0].tensors
        if model.buffers[tensor.buffer].data is not None and np.prod(tensor.shape) >= 1024
    ]


@pytest.mark.parametrize("name", ["digits.keras", "digits.h5"])
def test_fine_tuning_saves_a_model_that_was_pruned_too_hard_and_keeps_mask_and_clusters(
    models: Path, tmp_path: Path, name: str
) -> None:
    output = tmp_path / "small.tflite"
    hard = ["--prune", "0.75", "--cluster", "16", "--max-drop", "0.03", "--output", str(output)]
    tuning = ["--fine-tune", "20", "--learning-rate", "0.0003"]
    done = run("compress", str(models / name), *hard, *tuning)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    sys.stdout.write(f"\n{name}: {report['before']}, untuned {report['untuned']}, tuned {report['after']}\n")
    assert "epoch 20 of 20" in done.stderr
    assert report["untuned"] < report["before"] - 0.03
    assert report["after"] > report["untuned"] + 0.02
    found = large_weights(output)
    assert len(found) == 4
    for weights in found:
        assert int((weights == 0).sum()) == pytest.approx(0.75 * weights.size, abs=1)
        largest = np.abs(weights).max(axis=tuple(range(1, weights.ndim)), keepdims=True)
        shares = weights / np.where(largest > 0, largest, 1)
        assert len(np.unique(np.rint(shares * 127))) <= 16
    if name == "digits.h5":
        return  # that it can be repeated is shown once
    again = tmp_path / "again.tflite"
    repeated = run("compress", str(models / name), *hard[:-1], str(again), *tuning)
    assert repeated.returncode == 0, repeated.stderr
    assert again.read_bytes() == output.read_bytes()


def test_a_student_learns_from_its_teacher_and_is_held_against_the_student_alone(
    models: Path, tmp_path: Path
) -> None:
    output = tmp_path / "distilled.keras"
    taught = ["--teacher", str(models / "digits.keras"), "--student", str(models / "student.keras")]
    course = ["--epochs", "60", "--learning-rate", "0.003", "--max-drop", "0.05", "--output", str(output)]
    done = run("distil", *taught, *course)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    sys.stdout.write(f"\n{report}\n")
    assert report["teacher_value"] == pytest.approx(0.998)
    assert report["before"] < 0.3
    assert report["after"] > 0.8
    assert report["after"] >= report["alone"] - 0.05
    assert report["student_download"]["plain_bytes"] < 0.1 * report["teacher_download"]["plain_bytes"]
    small = tmp_path / "small.tflite"
    done = run("compress", str(output), "--prune", "0.3", "--output", str(small), "--fine-tune", "1")
    assert done.returncode == 0, done.stderr  # what was distilled can be compressed, and so be packed


@pytest.mark.parametrize(
    ("teacher", "wanted"),
    [
        (
            "stranger.keras",
            "stranger.keras takes [(9, 9, 1)] and gives [(10,)] and student.keras takes [(8, 8, 1)]",
        ),
        ("lambda.keras", "may execute code, and is not loaded: Lambda"),
        ("lambda.h5", "it may execute code: Lambda"),
    ],
)
def test_a_teacher_that_does_not_fit_or_carries_code_is_refused_in_one_line(
    models: Path, tmp_path: Path, teacher: str, wanted: str
) -> None:
    output = tmp_path / "distilled.keras"
    taught = ["--teacher", str(models / teacher), "--student", str(models / "student.keras"), "--no-control"]
    done = run("distil", *taught, "--epochs", "1", "--output", str(output))
    assert done.returncode == 1
    assert wanted in done.stderr.splitlines()[-1]
    assert not output.exists()


def test_a_training_that_diverges_is_refused(models: Path, tmp_path: Path) -> None:
    output = tmp_path / "small.tflite"
    wild = ["--prune", "0.5", "--fine-tune", "3", "--learning-rate", "1", "--output", str(output)]
    done = run("compress", str(models / "digits.keras"), *wild)
    assert done.returncode == 1
    assert not output.exists()
