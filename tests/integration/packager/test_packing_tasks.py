"""Every kind of task through the command line: real models, real quantizer, real files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from contract.manifest import Task
from packager.cli import main
from packager.tasks.kinds import KINDS
from tests.support.packager_builders import DIGITS
from tests.support.packed import manifest_of, pack, run_pack
from tests.support.task_data import (
    FEATURES,
    MODELS,
    RATE_HZ,
    SOUNDS,
    STATES,
    write_labels,
    write_machine,
    write_pump,
    write_sounds,
)

MACHINE_FLAGS = [
    "--task", "tabular-classification",
    "--task-option", f"features={','.join(FEATURES)}",
    "--task-option", "target=state",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples of all kinds; evaluation and calibration are different draws."""
    folder = tmp_path_factory.mktemp("data")
    write_pump(folder / "pump.npz", 300, 1)
    write_pump(folder / "pump-calibration.npz", 150, 2)
    write_machine(folder / "machine.csv", 300, 1)
    write_machine(folder / "machine-calibration.csv", 150, 2)
    write_labels(folder / "states.txt", STATES)
    write_sounds(folder / "sounds", 150, 1)
    write_sounds(folder / "sounds-calibration", 100, 2)
    write_labels(folder / "sounds.txt", SOUNDS)
    return folder


def samples(data: Path, evaluation: str, calibration: str) -> list[str]:
    return ["--evaluation", str(data / evaluation), "--calibration", str(data / calibration)]


def rows(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["variant"]: row for row in found["rows"]}


def test_every_kind_but_classification_is_packed_in_this_file() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    others = {"classification", "detection", "segmentation"}
    assert [name for name in KINDS if name not in others and f'"{name}"' not in here] == []


def test_a_regression_model_with_two_inputs_keeps_its_r2_as_static_int8(data: Path, tmp_path: Path) -> None:
    bundle, found = pack(
        MODELS / "pump.tflite",
        tmp_path,
        *samples(data, "pump.npz", "pump-calibration.npz"),
        *("--task", "regression", "--task-option", "target=power"),
    )
    by_name = rows(found)
    assert by_name["float32"]["value"] > 0.99
    # Ranges that followed the quantizer's moving average would be of width 0 at the output: r2 0.11.
    assert by_name["static-int8"]["value"] > 0.99
    assert {row["verdict"] for row in by_name.values()} == {"shipped"}
    manifest = manifest_of(bundle)
    assert manifest.task is Task.REGRESSION
    assert [spec.name for spec in manifest.inputs] == ["sensors", "setting"]
    assert (manifest.preprocessing, manifest.postprocessing, manifest.decoding) == (None, None, None)
    assert {variant.metrics.metric for variant in manifest.variants} == {"r2"}
    assert manifest.golden is not None
    assert {one.min_top1_agreement for one in manifest.golden.tolerance.values()} == {0.0}
    shown = CliRunner().invoke(main, ["inspect", str(bundle)]).output
    assert [line.split()[1] for line in shown.splitlines() if line.startswith("input")] == [
        "sensors",
        "setting",
    ]


def test_a_tabular_classifier_keeps_its_accuracy_and_its_class_names(data: Path, tmp_path: Path) -> None:
    bundle, found = pack(
        MODELS / "machine.tflite",
        tmp_path,
        *samples(data, "machine.csv", "machine-calibration.csv"),
        *("--labels", str(data / "states.txt")),
        *MACHINE_FLAGS,
    )
    assert rows(found)["float32"]["value"] > 0.9
    manifest = manifest_of(bundle)
    assert (manifest.task, manifest.labels) == (Task.CLASSIFICATION, STATES)
    assert manifest.postprocessing is not None
    assert manifest.preprocessing is None


def test_an_audio_classifier_hears_folders_of_sounds(data: Path, tmp_path: Path) -> None:
    bundle, found = pack(
        MODELS / "sounds.tflite",
        tmp_path,
        *samples(data, "sounds", "sounds-calibration"),
        *("--labels", str(data / "sounds.txt")),
        *("--task", "audio-classification", "--task-option", f"sample_rate={RATE_HZ}"),
    )
    assert rows(found)["float32"]["value"] > 0.95
    assert rows(found)["static-int8"]["verdict"] == "shipped"
    manifest = manifest_of(bundle)
    assert (manifest.task, manifest.labels) == (Task.AUDIO_CLASSIFICATION, SOUNDS)


@pytest.mark.parametrize(("metric", "name"), [("retrieval", "retrieval@1"), ("cosine", "cosine")])
def test_an_embedding_model_keeps_its_neighbours_and_its_directions(
    tmp_path: Path, metric: str, name: str
) -> None:
    bundle, found = pack(
        MODELS / "digits-embedding.tflite",
        tmp_path,
        *samples(DIGITS, "evaluation", "calibration"),
        *("--task", "embedding", "--task-option", f"metric={metric}"),
    )
    by_name = rows(found)
    floating, static = (by_name[variant]["value"] for variant in ("float32", "static-int8"))
    if metric == "cosine":
        assert floating == pytest.approx(1.0)
        assert (
            0.99 < static < 0.9999
        )  # below 1, so the reference was the float model's embeddings and not its own
    else:
        assert floating > 0.85
        assert static > 0.85
    manifest = manifest_of(bundle)
    assert manifest.task is Task.EMBEDDING
    assert manifest.decoding is not None
    assert {variant.metrics.metric for variant in manifest.variants} == {name}


CUSTOM = '''
"""How far a pump's power may be off depends on the power."""

import numpy as np

from packager.tasks.custom import CustomRequest, CustomTask


def near_enough(outputs, truth):
    return abs(outputs["power"][0] - truth) <= 0.1 + 0.05 * abs(truth)


def task(request: CustomRequest) -> CustomTask:
    with np.load(request.evaluation) as rows:
        samples = [
            ({"sensors": sensors, "setting": setting}, float(power))
            for sensors, setting, (power,) in zip(rows["sensors"], rows["setting"], rows["power"])
        ]
    with np.load(request.calibration / "monday" / "early" / "rows.npz") as rows:
        calibration = [{"sensors": a, "setting": b} for a, b in zip(rows["sensors"], rows["setting"])]
    return CustomTask(samples=samples, score=near_enough, calibration=calibration, metric="near-enough")
'''


@pytest.fixture
def project(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A team's folder with a project file and code of its own; its path is forgotten again."""
    monkeypatch.syspath_prepend("")  # restores sys.path as it was
    (tmp_path / "pump_task.py").write_text(CUSTOM, encoding="utf-8")
    (tmp_path / "litefleet.toml").write_text(
        "[pack]\n"
        f"model = {json.dumps(str(MODELS / 'pump.tflite'))}\n"
        f"evaluation = {json.dumps(str(data / 'pump.npz'))}\n"
        'calibration = "calibration"\n'
        'task = "custom:pump_task:task"\n',
        encoding="utf-8",
    )
    early = tmp_path / "calibration" / "monday" / "early"
    early.mkdir(parents=True)
    shutil.copy(data / "pump-calibration.npz", early / "rows.npz")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    import sys

    sys.modules.pop("pump_task", None)


def test_a_task_of_the_users_own_is_found_beside_the_project_file(project: Path) -> None:
    bundle, found = pack(MODELS / "pump.tflite", project / "dist")
    assert rows(found)["static-int8"]["value"] > 0.9
    manifest = manifest_of(bundle)
    assert manifest.task is Task.CUSTOM
    assert {variant.metrics.metric for variant in manifest.variants} == {"near-enough"}


def test_an_error_in_the_users_code_is_shown_with_its_line_and_ends_with_1(project: Path) -> None:
    text = CUSTOM.replace("abs(truth)", "abs(truht)")
    (project / "pump_task.py").write_text(text, encoding="utf-8")
    done = run_pack(MODELS / "pump.tflite", project / "dist")
    assert done.exit_code == 1
    assert "your code failed while scoring sample 0: NameError: name 'truht' is not defined" in done.output
    assert "pump_task.py:" in done.output
    assert "abs(truht)" in done.output
    assert not (project / "dist").exists()


def test_another_scoring_in_the_users_code_is_not_taken_from_the_cache(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setenv("XDG_CACHE_HOME", str(project / "cache"))
    values = []
    for limit in ("0.1 + 0.05", "0.001 + 0.0", "0.1 + 0.05"):
        sys.modules.pop("pump_task", None)
        (project / "pump_task.py").write_text(CUSTOM.replace("0.1 + 0.05", limit), encoding="utf-8")
        done = run_pack(MODELS / "pump.tflite", project / "dist", "--cache", "--json", "--max-drop", "0.9")
        assert done.exit_code == 0, done.output
        values.append(rows(json.loads(done.stdout))["float32"]["value"])
    assert values[0] == values[2] > 0.9
    assert values[1] < 0.2


def test_a_model_that_does_not_fit_the_task_is_told_what_would(data: Path, tmp_path: Path) -> None:
    done = run_pack(
        MODELS / "pump.tflite",
        tmp_path,
        *samples(data, "sounds", "sounds-calibration"),
        *("--task", "audio-classification", "--task-option", f"sample_rate={RATE_HZ}"),
    )
    assert done.exit_code == 1
    assert "2 inputs, one is possible" in done.output
    assert "image" not in done.output


def test_the_plan_of_a_table_speaks_of_samples_and_not_of_images(data: Path, tmp_path: Path) -> None:
    done = run_pack(
        MODELS / "machine.tflite",
        tmp_path,
        *samples(data, "machine.csv", "machine-calibration.csv"),
        *("--labels", str(data / "states.txt"), "--dry-run"),
        *MACHINE_FLAGS,
    )
    assert done.exit_code == 0, done.output
    assert "accuracy over 300 samples, 150 calibration samples" in done.output
    assert "image" not in done.output


def test_a_planted_collapse_of_a_regression_model_is_never_shipped(data: Path, tmp_path: Path) -> None:
    """Calibration samples of no use: all the same, so that every activation's range has no width."""
    with np.load(data / "pump-calibration.npz") as arrays:
        np.savez(tmp_path / "stuck.npz", **{key: arrays[key][:1].repeat(150, axis=0) for key in arrays.files})
    _, found = pack(
        MODELS / "pump.tflite",
        tmp_path,
        *("--evaluation", str(data / "pump.npz"), "--calibration", str(tmp_path / "stuck.npz")),
        *("--task", "regression", "--task-option", "target=power"),
    )
    static = rows(found)["static-int8"]
    assert static["verdict"] == "refused"
    assert static["value"] < 0.9
