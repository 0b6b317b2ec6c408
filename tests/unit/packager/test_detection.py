"""The detection task with the real detector: measured through the manifest's decoding, for images of any size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.errors import ConfigError, ManifestError
from contract.manifest import Resize, Task
from contract.profile import DelegateName
from contract.results import SsdDecoding
from contract.tensor import DType, TensorSpec
from packager.description import Source
from packager.preprocess import Fitting
from packager.runtime.interpreter import LoadedModel
from packager.tasks.detection import KIND, Detection
from packager.tasks.kind import DataRequest, Loaded, parse_options
from tests.support.packager_builders import evaluate
from tests.support.vision_folders import pictures_of, write_coco, write_images, write_labels, write_yolo
from tests.support.vision_models import DETECTOR, DETECTOR_OUTPUTS, DETECTOR_SOURCE, ssd_options
from tests.support.vision_shapes import LABELS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("detection")
    write_coco(made / "evaluation", pictures_of(60))
    write_coco(made / "photos", pictures_of(40, 700, height=48, width=72))
    write_images(made / "calibration", pictures_of(5, 900))
    write_labels(made / "labels.txt")
    return made


def load(folder: Path, evaluation: str | Path = "evaluation", **changes: Any) -> Loaded:
    request = DataRequest(
        source=DETECTOR_SOURCE,
        evaluation=folder / evaluation,
        calibration=folder / "calibration" if evaluation == "evaluation" else None,
        labels=folder / "labels.txt",
        mean=(0.0,),
        std=(255.0,),
        fitting=Fitting(),
        options=parse_options(KIND, ssd_options(folder)),
        folder=folder,
    )
    return KIND.load(replace(request, **changes))


def task_of(loaded: Loaded) -> Detection:
    assert isinstance(loaded.task, Detection)
    return loaded.task


def test_the_detector_is_measured_and_the_manifest_gets_the_same_decoding(folder: Path) -> None:
    loaded = load(folder)
    task = task_of(loaded)

    found = evaluate(LoadedModel(DETECTOR.read_bytes(), DelegateName.XNNPACK), task, lambda _: None)

    assert 0.6 < found.value < 1
    assert found.value == pytest.approx(float(np.mean(found.classes)))
    assert task.classes == LABELS
    assert np.isinf(found.margin).all()
    assert loaded.presentation.task is Task.DETECTION
    assert isinstance(task.decoding, SsdDecoding)
    assert loaded.presentation.decoding is task.decoding
    assert loaded.presentation.labels == LABELS
    assert loaded.calibration is not None
    assert len(loaded.calibration) == 5
    assert loaded.notes == ("the first score is of no class, as there are 3",)


@pytest.mark.parametrize("resize", [Resize.LETTERBOX, Resize.STRETCH])
def test_boxes_in_photos_of_another_shape_are_found_in_the_photos_own_pixels(
    folder: Path, resize: Resize
) -> None:
    task = task_of(load(folder, "photos", fitting=Fitting(resize)))
    found = evaluate(LoadedModel(DETECTOR.read_bytes(), DelegateName.XNNPACK), task, lambda _: None)
    assert found.value > 0.3


def test_what_a_centre_crop_cuts_off_is_not_found(folder: Path) -> None:
    write_coco(folder / "wide", pictures_of(30, 300, height=48, width=160))
    task = task_of(load(folder, "wide", fitting=Fitting(Resize.CENTER_CROP)))
    found = evaluate(LoadedModel(DETECTOR.read_bytes(), DelegateName.XNNPACK), task, lambda _: None)
    assert 0.02 < found.value < 0.5


def test_one_overlap_gives_another_metric_and_the_gate_knows_it(folder: Path) -> None:
    options = parse_options(KIND, ssd_options(folder) | {"iou": "0.5"})
    half, all_ten = task_of(load(folder, options=options)), task_of(load(folder))
    assert (half.metric, all_ten.metric) == ("mAP50", "mAP")
    assert half.scoring != all_ten.scoring
    assert half.sha256 == all_ten.sha256
    model = LoadedModel(DETECTOR.read_bytes(), DelegateName.XNNPACK)
    assert evaluate(model, half, lambda _: None).value > evaluate(model, all_ten, lambda _: None).value + 0.1


def test_answers_that_are_not_numbers_find_nothing(folder: Path) -> None:
    task = task_of(load(folder))
    outputs = [np.full((2, *shape[1:]), np.nan, np.float32) for _, shape in DETECTOR_OUTPUTS]
    scores = task.score(outputs, range(2))
    assert not np.isnan(scores).any()
    assert (scores[:, :, 0] == -1).all()


def test_strata_and_absent_classes_follow_from_the_boxes(folder: Path, tmp_path: Path) -> None:
    pictures = [one for one in pictures_of(80) if set(one.classes) == {1}][:6]
    write_yolo(tmp_path / "set", pictures)
    (tmp_path / "set" / "labels" / "0000.txt").write_text("")
    task = task_of(load(folder, evaluation=tmp_path / "set"))
    assert task.strata.tolist() == [0, 1, 1, 1, 1, 1]
    assert task.absent == ("square", "triangle")
    assert np.isnan(task.per_class(np.full((6, 20, 4), -1.0))[[0, 2]]).all()
    assert len(set(task.digests)) == 6
    assert task.preparation == str(task.samples.preprocessing)


def border(source: Source = DETECTOR_SOURCE, **options: Any) -> str:
    return " ".join(KIND.borders(source, parse_options(KIND, options)))


def test_models_that_are_no_detectors_are_named_with_what_does_not_fit() -> None:
    image, (boxes, scores) = DETECTOR_SOURCE.inputs[0], DETECTOR_SOURCE.outputs
    as_integers = TensorSpec(name="boxes", shape=boxes.shape, dtype=DType.INT32)
    flat = TensorSpec(name="image", shape=(1, 100), dtype=DType.FLOAT32)
    tokens = TensorSpec(name="tokens", shape=image.shape, dtype=DType.INT32)

    assert border() == ""
    assert "2 inputs, one is possible" in border(replace(DETECTOR_SOURCE, inputs=(image, image)))
    assert "input image has shape (1, 100)" in border(replace(DETECTOR_SOURCE, inputs=(flat,)))
    assert "input tokens is int32" in border(replace(DETECTOR_SOURCE, inputs=(tokens,)))
    assert "output boxes is int32" in border(replace(DETECTOR_SOURCE, outputs=(as_integers, scores)))
    assert "decoding yolo needs 1 output, there are 2" in border(decoding="yolo")


@pytest.mark.parametrize(
    ("text", "error", "expected"),
    [
        ("0.1 0.1 0.2\n", ManifestError, "line 1 of bad.csv is no anchor"),
        ("0.1,0.1,0.2,wide\n", ManifestError, "line 1 of bad.csv is no anchor"),
        ("\n\n", ConfigError, "has 0 anchors"),
    ],
)
def test_a_file_of_anchors_that_is_wrong_is_refused(
    folder: Path, text: str, error: type[Exception], expected: str
) -> None:
    (folder / "bad.csv").write_text(text)
    options = parse_options(KIND, ssd_options(folder) | {"anchors": "bad.csv"})
    with pytest.raises(error, match=expected):
        load(folder, options=options)
