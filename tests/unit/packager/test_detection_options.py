"""How a detector's outputs are read: what follows from shapes and labels, what must be said, what contradicts."""

from __future__ import annotations

from typing import Any

import pytest

from contract.errors import ConfigError, ManifestError
from contract.results import PostprocessedDecoding, SsdDecoding, YoloDecoding
from contract.tensor import DType, TensorSpec
from packager.tasks.detection_options import (
    DetectionOptions,
    DetectionPlan,
    choose_form,
    output_faults,
    plan_detection,
)

LABELS = ("square", "disc", "triangle")
ANCHORS = tuple((0.5, 0.5, 0.1 * n, 0.1) for n in range(1, 7))


def outputs_of(**shapes: tuple[int, ...]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=name, shape=shape, dtype=DType.FLOAT32) for name, shape in shapes.items())


SSD = outputs_of(a=(1, 6, 5), b=(1, 6, 4))
YOLO = outputs_of(out=(1, 7, 20))
READY = outputs_of(
    detection_scores=(1, 9), detection_boxes=(1, 9, 4), num_detections=(1,), detection_classes=(1, 9)
)


def plan(
    outputs: tuple[TensorSpec, ...], labels: tuple[str, ...] = LABELS, anchors: Any = ANCHORS, **options: Any
) -> DetectionPlan:
    return plan_detection(outputs, DetectionOptions(**options), labels, anchors)


def refusal(outputs: tuple[TensorSpec, ...], labels: tuple[str, ...] = LABELS, **options: Any) -> str:
    with pytest.raises((ConfigError, ManifestError)) as caught:
        plan(outputs, labels, **options)
    return " ".join([str(caught.value), *caught.value.faults, caught.value.remedy or ""])


def test_outputs_of_an_ssd_are_told_apart_by_their_shapes() -> None:
    outputs = outputs_of(a=(1, 6, 3), b=(1, 6, 4))
    found = plan(outputs, sigmoid=True)
    assert isinstance(found.decoding, SsdDecoding)
    assert (found.decoding.boxes, found.decoding.scores) == ("b", "a")
    assert not found.decoding.has_background
    assert found.vocabulary.count == 3
    assert found.told == (
        "outputs are read as ssd",
        "boxes are in output b, scores in a",
        "the first score is of the first class, as there are 3",
    )


def test_a_score_more_than_labels_is_the_background() -> None:
    outputs = outputs_of(loc=(1, 6, 4), conf=(1, 6, 4))
    found = plan(outputs, decoding="ssd", boxes="loc", scores="conf", sigmoid=False, iou=0.5)
    assert isinstance(found.decoding, SsdDecoding)
    assert found.decoding.has_background
    assert found.decoding.anchors == ANCHORS
    assert found.told == ("the first score is of no class, as there are 3",)


SSD_REFUSALS: list[tuple[tuple[TensorSpec, ...], dict[str, Any], str]] = [
    (outputs_of(a=(1, 6, 4), b=(1, 6, 4)), {"sigmoid": True}, "not clear which output has boxes"),
    (SSD, {"sigmoid": True, "boxes": "b"}, "not clear which output has boxes"),
    (SSD, {"sigmoid": True, "boxes": "x", "scores": "a"}, "no output 'x'"),
    (SSD, {"sigmoid": True, "boxes": "b", "scores": "x"}, "no output 'x'"),
    (SSD, {"sigmoid": True, "anchors": ()}, "needs the model's anchors"),
    (SSD, {"sigmoid": True}, "whether the first score is of no class"),
    (SSD, {"background": True}, "whether its scores are logits"),
    (SSD, {"background": True, "sigmoid": True}, "3 for 4 classes"),
    (SSD, {"background": True, "sigmoid": True, "anchors": ANCHORS[:5]}, "for 5 anchors"),
    (SSD, {"sigmoid": True, "pixels": True}, "pixels means nothing for decoding ssd"),
    (SSD, {"sigmoid": True, "iou": 1.5}, "iou 1.5 is not within 0 to 1"),
    (SSD, {"sigmoid": True, "scales": (1.0,)}, "scales has 1 values"),
    (
        outputs_of(a=(1, 6, 4), b=(1, 6, 4)),
        {"sigmoid": True, "min_score": 2.0, "boxes": "a", "scores": "b"},
        "0 to 1",
    ),
]


@pytest.mark.parametrize(("outputs", "options", "expected"), SSD_REFUSALS)
def test_an_ssd_that_is_not_clear_is_refused(
    outputs: tuple[TensorSpec, ...], options: dict[str, Any], expected: str
) -> None:
    assert expected in refusal(outputs, **options)


def test_without_labels_the_background_must_be_said() -> None:
    assert "whether the first score" in refusal(SSD, (), sigmoid=True)
    assert plan(SSD, (), sigmoid=True, background=True).vocabulary.names == ("0", "1", "2", "3")


@pytest.mark.parametrize(
    ("shape", "has_objectness", "is_transposed"),
    [
        ((1, 7, 20), False, True),
        ((1, 20, 7), False, False),
        ((1, 8, 20), True, True),
        ((1, 20, 8), True, False),
    ],
)
def test_the_form_of_a_yolo_output_follows_from_the_number_of_labels(
    shape: tuple[int, ...], *, has_objectness: bool, is_transposed: bool
) -> None:
    found = plan(outputs_of(out=shape), pixels=False)
    assert found.decoding == YoloDecoding(
        has_objectness=has_objectness,
        is_transposed=is_transposed,
        suppression=found.decoding.suppression,  # type: ignore[union-attr]
    )
    assert found.vocabulary.count == 3
    assert "objectness" in found.told[-1]


def test_what_is_said_of_a_yolo_output_is_taken() -> None:
    found = plan(
        YOLO,
        (),
        objectness=True,
        transposed=True,
        pixels=True,
        max_overlap=0.6,
        max_detections=7,
        per_class=False,
    )
    assert isinstance(found.decoding, YoloDecoding)
    assert found.decoding.is_in_pixels
    assert found.decoding.suppression.max_detections == 7
    assert found.vocabulary.count == 2
    assert found.told == ("outputs are read as yolo",)


YOLO_REFUSALS: list[tuple[tuple[TensorSpec, ...], tuple[str, ...], dict[str, Any], str]] = [
    (YOLO, (), {"pixels": True}, "can be read in 4 ways"),
    (YOLO, LABELS, {}, "whether its boxes are in pixels"),
    (YOLO, ("one",), {"pixels": True}, "can be read in no ways"),
    (outputs_of(out=(1, 7, 8)), LABELS, {"pixels": True}, "can be read in 2 ways"),
    (outputs_of(out=(1, 7)), LABELS, {"decoding": "yolo"}, "needs three dimensions"),
    (YOLO, LABELS, {"pixels": True, "boxes": "out"}, "boxes means nothing for decoding yolo"),
    (YOLO, LABELS, {"objectness": True, "transposed": True, "pixels": False}, "3 for 2 classes"),
]


@pytest.mark.parametrize(("outputs", "labels", "options", "expected"), YOLO_REFUSALS)
def test_a_yolo_that_is_not_clear_is_refused(
    outputs: tuple[TensorSpec, ...], labels: tuple[str, ...], options: dict[str, Any], expected: str
) -> None:
    assert expected in refusal(outputs, labels, **options)


def test_outputs_of_tflites_own_operator_are_known_by_their_names() -> None:
    found = plan(READY, min_score=0.4)
    assert found.decoding == PostprocessedDecoding(
        boxes="detection_boxes",
        classes="detection_classes",
        scores="detection_scores",
        count="num_detections",
        min_score=0.4,
    )
    assert found.vocabulary.count == 3


def test_other_names_of_ready_outputs_must_be_said() -> None:
    outputs = outputs_of(x=(1, 9), y=(1, 9, 4), z=(1,), w=(1, 9))
    assert "not clear which output is which" in refusal(outputs)
    assert "give --labels" in refusal(outputs, (), boxes="y", classes="x", scores="w", count="z")
    assert "not clear which output is which" in refusal(READY, boxes="detection_boxes")
    assert "max_overlap means nothing" in refusal(READY, max_overlap=0.9)
    assert isinstance(
        plan(outputs, boxes="y", classes="x", scores="w", count="z").decoding, PostprocessedDecoding
    )


def test_outputs_of_no_detector_are_faults_of_the_model() -> None:
    assert choose_form(outputs_of(a=(1, 10)), DetectionOptions()) == ""
    (fault,) = output_faults(outputs_of(a=(1, 10)), DetectionOptions())
    assert "a (1, 10) are of no known detector" in fault
    (fault,) = output_faults(YOLO, DetectionOptions(decoding="ssd"))
    assert "decoding ssd needs 2 outputs, there are 1" in fault
    (fault,) = output_faults(SSD, DetectionOptions(decoding="yolo"))
    assert "decoding yolo needs 1 output, there are 2" in fault
    assert output_faults(SSD, DetectionOptions()) == output_faults(READY, DetectionOptions()) == []
