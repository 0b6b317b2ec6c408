"""Models that are no image classifiers, packed by the packager and asked by an application on a real worker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from contract.errors import InputError
from edge_agent import connect
from edge_agent.inference.pool import Pool
from tests.support.inference_slots import serve
from tests.support.packager_builders import DIGITS
from tests.support.packed import pack, slot_of
from tests.support.task_data import (
    MODELS,
    RATE_HZ,
    SOUNDS,
    pump,
    sounds,
    write_labels,
    write_pump,
    write_sounds,
)


def test_a_regression_model_with_two_inputs_answers_what_is_true(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    bundle, _ = pack(
        MODELS / "pump.tflite",
        tmp_path / "dist",
        *("--task", "regression", "--task-option", "target=power"),
        *("--evaluation", str(write_pump(tmp_path / "pump.csv", 200, 1))),
        *("--calibration", str(write_pump(tmp_path / "calibration.csv", 150, 2))),
    )
    serve(pool, slot=slot_of(bundle, tmp_path / "slot", "static-int8"))  # the self-test has passed
    fresh = pump(30, 3)

    with connect(run_dir).model("digits") as model:
        answers = [
            model.infer(
                {"sensors": fresh["sensors"][row : row + 1], "setting": fresh["setting"][row : row + 1]}
            )
            for row in range(30)
        ]
        with pytest.raises(InputError, match="several inputs"):
            model.infer(fresh["sensors"][:1])

    power = np.concatenate([answer.outputs["power"] for answer in answers])
    assert power.shape == (30, 1)
    assert np.abs(power - fresh["power"]).max() < 0.35  # kW, of 0 to 5
    assert all(answer.classes == () for answer in answers)


def test_an_audio_classifier_names_what_it_hears(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    bundle, _ = pack(
        MODELS / "sounds.tflite",
        tmp_path / "dist",
        *("--task", "audio-classification", "--task-option", f"sample_rate={RATE_HZ}"),
        *("--evaluation", str(write_sounds(tmp_path / "sounds", 120, 1))),
        *("--calibration", str(write_sounds(tmp_path / "calibration", 100, 2))),
        *("--labels", str(write_labels(tmp_path / "labels.txt", SOUNDS))),
    )
    serve(pool, slot=slot_of(bundle, tmp_path / "slot", "static-int8"))
    waves, kinds = sounds(40, 3)

    with connect(run_dir).model("digits") as model:
        heard = [model.infer(wave[np.newaxis]).label for wave in waves]

    right = [label == SOUNDS[kind] for label, kind in zip(heard, kinds, strict=True)]
    assert np.mean(right) > 0.95


def test_an_embedding_comes_with_length_1(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    bundle, _ = pack(
        MODELS / "digits-embedding.tflite",
        tmp_path / "dist",
        *("--task", "embedding"),
        *("--evaluation", str(DIGITS / "evaluation"), "--calibration", str(DIGITS / "calibration")),
    )
    serve(pool, slot=slot_of(bundle, tmp_path / "slot", "static-int8"))

    with connect(run_dir).model("digits") as model:
        answer = model.infer(np.eye(8, dtype=np.uint8) * 255)

    assert np.linalg.norm(answer.outputs["embedding"]) == pytest.approx(1.0, abs=1e-5)
