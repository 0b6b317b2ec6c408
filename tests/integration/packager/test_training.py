"""Training with real processes and a tiny trainer; no framework (see tests/converters for Keras itself)."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from contract.errors import ConfigError, ManifestError
from packager.cache import Stages
from packager.compression.distillation import check_alike, without_teacher
from packager.compression.plan import Compression
from packager.compression.training import Course, Epoch, Samples, Trainer, trainer_of
from packager.sources.tflite import load_tflite
from packager.sources.toolchain import Converter
from tests.support.packager_builders import DIGITS, Silent, reference
from tests.support.packager_conversion import converter

PROGRAMS = Path(__file__).resolve().parents[2] / "support" / "packager_trainer"
SAMPLES = Samples(np.zeros((5, 8, 8, 1), dtype=np.float32), np.arange(5))
COURSE = Course(epochs=3, compression=Compression(0.5, 16), temperature=4.0, alpha=0.7)


class Counting(Silent):
    """Also keeps steps, and counts how far they went."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[str, int | None]] = []
        self.done = 0

    def start(self, label: str, total: int | None) -> None:
        self.steps.append((label, total))

    def advance(self, count: int) -> None:
        self.done += count


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "litefleet"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "student.keras"
    path.write_text("student")
    return path


def trainer(folder: Path, behaviour: str = "trains") -> Trainer:
    def converter_of(path: Path, limit_s: float) -> Converter:
        return converter(behaviour, source_name=f"source{path.suffix}", timeout_s=limit_s, programs=PROGRAMS)

    return Trainer(Counting(), Stages(folder / "stages"), converter_of)


def orders(cache: Path) -> list[dict[str, object]]:
    lines = (cache / "conversions" / "trained").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_what_was_trained_comes_back_and_progress_is_told_on_the_way(
    model: Path, cache: Path, tmp_path: Path
) -> None:
    work = trainer(tmp_path, "pauses")
    found = work.train(model, SAMPLES, COURSE)
    assert found.content == b"student  (5, 8, 8, 1) 10\n\nend"
    assert found.history == (Epoch(epoch=1, loss=0.5, accuracy=0.75),)
    assert found.tools == {"pretender": "1.0"}
    (order,) = orders(cache)
    assert (order["epochs"], order["prune"], order["clusters"], order["teacher"]) == (3, 0.5, 16, "")
    heard = work.progress
    assert isinstance(heard, Counting)
    assert heard.steps == [("training with Pretender", None), ("training", 6)]
    assert heard.done == 2
    assert heard.lines == ["epoch 1 of 3: loss 0.5000, 0.7500 right while training"]
    assert list((cache / "logs").iterdir()) == []
    assert [path.name for path in (cache / "conversions").iterdir()] == ["trained"]


def test_the_same_training_is_taken_from_the_cache_and_another_is_made(
    model: Path, cache: Path, tmp_path: Path
) -> None:
    first = trainer(tmp_path).train(model, SAMPLES, COURSE)
    assert trainer(tmp_path).train(model, SAMPLES, COURSE) == first
    assert len(orders(cache)) == 1
    other = Samples(SAMPLES.inputs, SAMPLES.classes[::-1])
    assert trainer(tmp_path).train(model, other, COURSE) == first  # made anew: the pretender sums classes
    trainer(tmp_path).train(model, SAMPLES, dataclasses.replace(COURSE, epochs=4))
    model.write_text("another student")
    assert trainer(tmp_path).train(model, SAMPLES, COURSE).content.startswith(b"another student")
    assert len(orders(cache)) == 4


def test_a_teacher_is_at_hand_under_a_name_of_its_own(model: Path, cache: Path, tmp_path: Path) -> None:
    teacher = tmp_path / "student.h5"
    teacher.write_text("teacher")
    found = trainer(tmp_path).train(model, SAMPLES, COURSE, teacher)
    assert found.content.startswith(b"student teacher")
    assert orders(cache)[0]["teacher"] == "teacher.h5"


@pytest.mark.parametrize(
    ("behaviour", "wanted"),
    [
        ("refuses", "student.keras cannot be trained: training diverged in epoch 1"),
        ("crashes", r"cannot be trained: it crashed \(signal 11\)"),
        ("fails", "cannot be trained: it ended with exit code 1: ValueError: out of cheese"),
        ("hangs", "cannot be trained: it was not done within 1 s"),
    ],
)
def test_a_training_that_goes_wrong_is_told_in_one_line_with_its_log_and_leaves_nothing(
    model: Path, cache: Path, tmp_path: Path, behaviour: str, wanted: str
) -> None:
    course = dataclasses.replace(COURSE, time_limit_s=1.0 if behaviour == "hangs" else 60.0)
    with pytest.raises(ManifestError, match=wanted) as caught:
        trainer(tmp_path, behaviour).train(model, SAMPLES, course)
    (log,) = (cache / "logs").iterdir()
    assert str(log) in caught.value.remedy
    assert [path.name for path in (cache / "conversions").iterdir()] == ["trained"]
    assert not (tmp_path / "stages").exists()


@pytest.mark.parametrize("name", ["model.tflite", "model", "model.onnx"])
def test_only_keras_files_are_trained(name: str) -> None:
    with pytest.raises(ConfigError, match="is no Keras file, so it cannot be trained"):
        trainer_of(Path(name), 60.0)


def test_keras_files_are_trained_where_they_are_converted() -> None:
    found = trainer_of(Path("model.H5"), 60.0)
    assert (found.module, found.source_name, found.timeout_s) == ("train_keras", "source.h5", 60.0)
    assert found.folder_name == trainer_of(Path("model.keras"), 1.0).folder_name


def test_a_teacher_with_other_inputs_or_classes_is_refused() -> None:
    digits = load_tflite(DIGITS / "digits-1.0.0.tflite")
    check_alike(digits, digits)
    scores = dataclasses.replace(digits.source, outputs=digits.source.inputs)
    with pytest.raises(ManifestError, match="nothing can be learnt"):
        check_alike(dataclasses.replace(digits, source=scores), digits)


@pytest.mark.parametrize(("alone", "wanted"), [(None, 0.99), (0.5, 0.99), (0.995, 0.995)])
def test_a_distilled_student_is_held_against_the_better_student_without_the_teacher(
    alone: float | None, wanted: float
) -> None:
    assert without_teacher(reference(), alone).value == wanted
