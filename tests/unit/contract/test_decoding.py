"""Outputs become boxes, maps and embeddings; faults of a description are all named."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from contract.decoding import Decoder, suppress, unit_length
from contract.errors import ManifestError
from contract.manifest import (
    ClassificationPostprocessing,
    Color,
    ImagePreprocessing,
    Resize,
    Task,
    check_input,
    parse_manifest,
    serialize_manifest,
)
from contract.results import (
    Decoding,
    EmbeddingDecoding,
    SegmentationDecoding,
    SsdDecoding,
    Suppression,
    YoloDecoding,
)
from contract.tensor import DType, Layout, TensorSpec
from tests.support.builders import a_manifest

ANCHORS = ((0.25, 0.25, 0.5, 0.5), (0.75, 0.75, 0.5, 0.5))
SSD = SsdDecoding(boxes="boxes", scores="scores", anchors=ANCHORS)
PHOTO = ImagePreprocessing(
    width=100, height=100, color=Color.RGB, mean=(0.0,) * 3, std=(255.0,) * 3, resize=Resize.LETTERBOX
)


def spec(name: str, *shape: int) -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype=DType.FLOAT32)


def f32(values: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.array(values, np.float32)


# Suppression


def test_the_best_of_boxes_that_cover_the_same_remains() -> None:
    boxes = f32([[0, 0, 1, 1], [0, 0, 1, 0.9], [0, 0, 0.2, 0.2]])
    kept, classes, best = suppress(boxes, f32([[0.5, 0], [0.9, 0], [0, 0.7]]), Suppression())
    assert kept.tolist() == [1, 2]
    assert classes.tolist() == [0, 1]
    assert best.tolist() == pytest.approx([0.9, 0.7])


def test_boxes_of_other_classes_suppress_only_when_asked_to() -> None:
    boxes, scores = f32([[0, 0, 1, 1]] * 2), f32([[0.9, 0], [0, 0.8]])
    assert suppress(boxes, scores, Suppression())[0].tolist() == [0, 1]
    assert suppress(boxes, scores, Suppression(per_class=False))[0].tolist() == [0]


def test_of_equal_scores_the_first_is_better_and_the_number_is_limited() -> None:
    boxes = f32([[0, 0, 0.1, 0.1], [0.5, 0.5, 0.6, 0.6], [0.8, 0.8, 0.9, 0.9]])
    assert suppress(boxes, f32([[0.5]] * 3), Suppression(max_detections=2))[0].tolist() == [0, 1]


def test_weak_empty_and_endless_boxes_are_none() -> None:
    boxes = f32([[0, 0, 1, 1], [0.5, 0, 0.5, 1], [0, 0, np.inf, 1], [1, 1, 0, 0]])
    assert suppress(boxes, f32([[0.24], [1], [1], [1]]), Suppression())[0].tolist() == []


# Detectors


def test_ssd_boxes_are_decoded_by_their_anchors_and_the_background_is_no_class() -> None:
    decoder = Decoder(SSD, [("scores", (1, 2, 3)), ("boxes", (1, 2, 4))], None)
    assert dict(decoder.results) == {
        "boxes": (1, 100, 4),
        "classes": (1, 100),
        "scores": (1, 100),
        "count": (1,),
    }
    encoded = f32([[[0, 0, 0, 0], [1, -1, 5 * np.log(0.5), 5 * np.log(0.25)]]])
    scores = f32([[[0.9, 0.05, 0.6], [0.1, 0.8, 0.1]]])
    boxes, classes, best, count = decoder.decode([scores, encoded], None)
    assert count.tolist() == [2]
    assert classes[0, :3].tolist() == [0, 1, 0]
    assert best[0, :3].tolist() == pytest.approx([0.8, 0.6, 0])
    # Centre (0.75 + 0.1 * 0.5, 0.75 - 0.1 * 0.5), height 0.25, width 0.125.
    assert boxes[0, 0].tolist() == pytest.approx([0.675, 0.6375, 0.925, 0.7625])
    assert boxes[0, 1].tolist() == pytest.approx([0, 0, 0.5, 0.5])
    assert not boxes[0, 2:].any()


def test_ssd_logits_become_scores_without_overflow() -> None:
    decoding = msgspec.structs.replace(SSD, sigmoid=True, has_background=False)
    decoder = Decoder(decoding, [("boxes", (1, 2, 4)), ("scores", (1, 2, 1))], None)
    _, _, best, count = decoder.decode([f32([[[0] * 4] * 2]), f32([[[0.0], [-200.0]]])], None)
    assert (count.tolist(), best[0, 0]) == ([1], 0.5)


def test_a_box_that_overflows_is_none() -> None:
    decoder = Decoder(SSD, [("boxes", (1, 2, 4)), ("scores", (1, 2, 2))], None)
    encoded = f32([[[0, 0, 1e6, 1e6], [0] * 4]])
    assert decoder.decode([encoded, f32([[[0, 1], [0, 0.9]]])], None)[3].tolist() == [1]


@pytest.mark.parametrize("is_transposed", [True, False])
@pytest.mark.parametrize("has_objectness", [True, False])
def test_yolo_boxes_in_both_layouts_with_and_without_objectness(
    is_transposed: bool,  # noqa: FBT001 - a parameter of the test
    has_objectness: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    decoding = YoloDecoding(is_transposed=is_transposed, has_objectness=has_objectness)
    row = [0.5, 0.25, 0.2, 0.1, *([0.5] if has_objectness else []), 0.1, 0.8]
    output = f32([row, [0.0] * len(row)])
    output = output.T if is_transposed else output
    decoder = Decoder(decoding, [("out", (1, *output.shape))], None)
    boxes, classes, best, count = decoder.decode([output[np.newaxis]], None)
    assert (count.tolist(), classes[0, 0]) == ([1], 1)
    assert best[0, 0] == pytest.approx(0.4 if has_objectness else 0.8)
    assert boxes[0, 0].tolist() == pytest.approx([0.2, 0.4, 0.3, 0.6])


def test_boxes_in_pixels_of_a_letterbox_come_back_as_fractions_of_the_image() -> None:
    decoder = Decoder(YoloDecoding(is_in_pixels=True), [("out", (1, 5, 1))], PHOTO)
    # An image 200 wide and 100 high fills rows 25 to 75 of the input.
    output = f32([50, 50, 50, 70, 0.9]).reshape(1, 5, 1)
    boxes = decoder.decode([output], (100, 200))[0]
    assert boxes[0, 0].tolist() == pytest.approx([0, 0.25, 1, 0.75])  # the bars are cut off
    assert decoder.decode([output], None)[0][0, 0].tolist() == pytest.approx([0.15, 0.25, 0.85, 0.75])


def test_boxes_of_a_centre_crop_come_back_as_fractions_of_the_image() -> None:
    crop = msgspec.structs.replace(PHOTO, resize=Resize.CENTER_CROP)
    decoder = Decoder(YoloDecoding(), [("out", (1, 5, 1))], crop)
    boxes = decoder.decode([f32([0.5, 0.5, 1, 0.5, 0.9]).reshape(1, 5, 1)], (100, 200))[0]
    assert boxes[0, 0].tolist() == pytest.approx([0.25, 0.25, 0.75, 0.75])


# Maps and embeddings


def test_each_pixel_gets_its_best_class_in_both_layouts() -> None:
    last = f32([[[[0, 1, 0], [3, 1, 2]]]])
    decoder = Decoder(SegmentationDecoding(), [("out", last.shape)], None)
    assert decoder.results == (("classes", (1, 1, 2)),)
    assert decoder.decode([last], None)[0].tolist() == [[[1, 0]]]
    first = last.transpose(0, 3, 1, 2)
    decoder = Decoder(SegmentationDecoding(layout=Layout.NCHW), [("out", first.shape)], None)
    assert decoder.results == (("classes", (1, 1, 2)),)
    assert decoder.decode([first], None)[0].tolist() == [[[1, 0]]]


def test_an_embedding_has_length_one_and_nothing_stays_nothing() -> None:
    decoder = Decoder(EmbeddingDecoding(), [("vector", (1, 2))], None)
    assert decoder.results == (("vector", (1, 2)),)
    assert decoder.decode([f32([[3, 4]])], None)[0].tolist() == [pytest.approx([0.6, 0.8])]
    assert unit_length(f32([[0, 0]])).tolist() == [[0, 0]]
    assert unit_length(f32([[1e30, 0]])).tolist() == [[1, 0]]


# Descriptions

SOUND: list[tuple[Task, Decoding, tuple[TensorSpec, ...], int]] = [
    (Task.DETECTION, SSD, (spec("boxes", 1, 2, 4), spec("scores", 1, 2, 3)), 2),
    (Task.DETECTION, YoloDecoding(), (spec("out", 1, 6, 20),), 2),
    (Task.DETECTION, YoloDecoding(is_transposed=False, has_objectness=True), (spec("out", 1, 20, 7),), 2),
    (Task.SEGMENTATION, SegmentationDecoding(), (spec("out", 1, 4, 5, 3),), 3),
    (Task.SEGMENTATION, SegmentationDecoding(layout=Layout.NCHW), (spec("out", 1, 3, 4, 5),), 3),
    (Task.EMBEDDING, EmbeddingDecoding(), (spec("out", 1, 128),), 0),
]


def described(task: Task, decoding: Decoding, outputs: tuple[TensorSpec, ...], labels: int) -> Any:
    names = tuple(f"class {number}" for number in range(labels))
    return a_manifest(task=task, decoding=decoding, outputs=outputs, labels=names)


@pytest.mark.parametrize(("task", "decoding", "outputs", "labels"), SOUND)
def test_a_sound_decoding_survives_writing_and_reading(
    task: Task, decoding: Decoding, outputs: tuple[TensorSpec, ...], labels: int
) -> None:
    manifest = described(task, decoding, outputs, labels)
    check_input(manifest)
    assert parse_manifest(serialize_manifest(manifest)) == manifest


def test_an_unknown_decoding_is_refused() -> None:
    content = serialize_manifest(described(*SOUND[-1])).replace(b'"kind":"embedding"', b'"kind":"hologram"')
    with pytest.raises(ManifestError, match="hologram"):
        parse_manifest(content)


MAP = (spec("out", 1, 4, 5, 3),)
OUT = (spec("out", 1, 6, 20),)
PAIR = SOUND[0][2]
DET = Task.DETECTION
UNSOUND: list[tuple[Task, Decoding, tuple[TensorSpec, ...], int, str]] = [
    (DET, SegmentationDecoding(), MAP, 0, "decoding: is for segmentation, the task is detection"),
    (DET, YoloDecoding(), OUT * 1 + (spec("b", 1),), 0, "decoding: one output is possible, there are 2"),
    (DET, YoloDecoding(), (spec("out", 1, 4, 20),), 0, "decoding: outputs[0] has shape (1, 4, 20), not (1, v"),
    (DET, YoloDecoding(is_transposed=False), (spec("out", 1),), 0, "decoding: outputs[0] has shape (1,), not"),
    (DET, YoloDecoding(), OUT, 3, "labels: 3 for 2 classes"),
    (DET, YoloDecoding(is_in_pixels=True), OUT, 0, "decoding: boxes in pixels need preprocessing"),
    (DET, YoloDecoding(suppression=Suppression(min_score=2)), OUT, 0, "decoding: min_score and max_overlap must"),
    (DET, YoloDecoding(suppression=Suppression(max_detections=0)), OUT, 0, "decoding: max_detections must be 1 to"),
    (DET, msgspec.structs.replace(SSD, boxes="b"), PAIR, 0, "decoding: 'b' is no output"),
    (DET, SSD, (spec("boxes", 1, 2, 5), PAIR[1]), 0, "decoding: boxes have shape (1, 2, 5), not (1, 2, 4) for 2"),
    (DET, SSD, (PAIR[0], spec("scores", 1, 2, 1)), 0, "decoding: scores have shape (1, 2, 1), not (1, 2, classes)"),
    (DET, msgspec.structs.replace(SSD, scales=(1.0, 1.0, 1.0, 0.0)), PAIR, 0, "decoding: scales must be finite"),
    (
        DET,
        msgspec.structs.replace(SSD, anchors=((float("nan"),) * 4,) * 2),
        PAIR,
        0,
        "decoding: anchors must be finite",
    ),
    (Task.SEGMENTATION, SegmentationDecoding(layout=Layout.NC), MAP, 0, "decoding: layout NC is none of maps"),
    (Task.SEGMENTATION, SegmentationDecoding(), OUT, 0, "decoding: outputs[0] has shape (1, 6, 20), not one score"),
    (Task.SEGMENTATION, SegmentationDecoding(), (spec("o", 1, 4, 5, 1),), 0, "decoding: outputs[0] has one class"),
    (Task.EMBEDDING, EmbeddingDecoding(), OUT, 0, "decoding: outputs[0] has shape (1, 6, 20), not (1, values)"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "decoding", "outputs", "labels", "fault"), UNSOUND)
def test_a_fault_of_a_decoding_is_named(
    task: Task, decoding: Decoding, outputs: tuple[TensorSpec, ...], labels: int, fault: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        check_input(described(task, decoding, outputs, labels))
    assert len(caught.value.faults) == 1
    assert caught.value.faults[0].startswith(fault)


def test_a_decoding_stands_alone() -> None:
    manifest = msgspec.structs.replace(described(*SOUND[-1]), postprocessing=ClassificationPostprocessing())
    with pytest.raises(ManifestError) as caught:
        check_input(manifest)
    assert caught.value.faults == ("decoding: stands beside postprocessing, one of the two is possible",)
