"""Models that decode themselves: detectors with TFLite's own operator, segmenters that give a map of classes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from contract.decoding import Decoder, settle
from contract.manifest import Color, ImagePreprocessing, Resize
from contract.results import (
    ClassMapDecoding,
    Decoding,
    PostprocessedDecoding,
    SegmentationDecoding,
    decoding_faults,
)
from contract.tensor import DType, TensorSpec
from contract.vision import map_of_image

READY = PostprocessedDecoding(boxes="b", classes="k", scores="s", count="n", min_score=0.3)
SHAPES = (("s", (1, 3)), ("b", (1, 3, 4)), ("n", (1,)), ("k", (1, 3)))


def recipe_of(resize: Resize) -> ImagePreprocessing:
    return ImagePreprocessing(
        width=10, height=10, color=Color.GRAYSCALE, mean=(0.0,), std=(1.0,), resize=resize
    )


def specs_of(shapes: Sequence[tuple[str, tuple[int, ...]]]) -> list[TensorSpec]:
    return [TensorSpec(name=name, shape=shape, dtype=DType.FLOAT32) for name, shape in shapes]


def decode(
    boxes: list[list[float]], classes: list[float], scores: list[float], count: float
) -> list[npt.NDArray[np.float32]]:
    arrays = {"b": [boxes], "k": [classes], "s": [scores], "n": [count]}
    decoder = Decoder(READY, SHAPES, recipe_of(Resize.LETTERBOX))
    return decoder.decode([np.array(arrays[name], np.float32) for name, _ in SHAPES], (20, 40))


def test_ready_boxes_are_brought_to_the_image_and_weak_ones_dropped() -> None:
    # The image fills the middle half of the input: rows 2.5 to 7.5, made whole: 2 to 7.
    boxes, classes, scores, count = decode(
        [[0.2, 0.0, 0.7, 0.5], [0.45, 0.5, 0.7, 1.0], [0, 0, 1, 1]], [1.0, 0.0, 2.0], [0.9, 0.3, 0.2], 3
    )
    assert count.tolist() == [2]
    assert boxes[0, :2].tolist() == pytest.approx(np.array([[0.0, 0.0, 1.0, 0.5], [0.5, 0.5, 1.0, 1.0]]))
    assert (classes[0].tolist(), scores[0].tolist()) == ([1, 0, 0], pytest.approx([0.9, 0.3, 0]))


@pytest.mark.parametrize(
    ("boxes", "classes", "scores", "count"),
    [
        ([0.2, 0.2, 0.6, 0.6], 1.0, 0.9, 0),
        ([0.2, 0.2, 0.6, 0.6], 1.0, 0.9, np.nan),
        ([0.2, 0.2, 0.6, 0.6], np.nan, 0.9, 3),
        ([0.2, 0.2, 0.6, 0.6], -1.0, 0.9, 3),
        ([0.2, 0.2, 0.6, 0.6], 1.0, np.nan, 3),
        ([0.6, 0.2, 0.6, 0.6], 1.0, 0.9, 3),
        ([0.2, 0.2, np.inf, 0.6], 1.0, 0.9, 3),
        ([0.2, 0.2, np.nan, 0.6], 1.0, 0.9, 3),
    ],
)
def test_what_is_no_box_is_left_out(boxes: list[float], classes: float, scores: float, count: float) -> None:
    found = decode([boxes] * 3, [classes] * 3, [scores] * 3, count)
    assert found[3].tolist() == [0]
    assert not any(values.any() for values in found)


READY_FAULTS = [
    (("b", (1, 3, 5)), "boxes have shape (1, 3, 5), not (1, n, 4)"),
    (("b", (1, 2000, 4)), "not (1, n, 4) with up to 1000"),
    (("k", (1, 4)), "classes have shape (1, 4), not (1, 3)"),
    (("s", (1, 3, 1)), "scores have shape (1, 3, 1), not (1, 3)"),
    (("n", (1, 2)), "the count has shape (1, 2), not (1,)"),
]


@pytest.mark.parametrize(("changed", "expected"), READY_FAULTS)
def test_ready_outputs_of_other_shapes_are_refused(
    changed: tuple[str, tuple[int, ...]], expected: str
) -> None:
    assert decoding_faults(READY, specs_of(SHAPES), 0) == []
    (fault, *_) = decoding_faults(READY, specs_of((dict(SHAPES) | dict([changed])).items()), 0)  # type: ignore[arg-type]
    assert expected in fault


def test_a_ready_output_that_is_missing_and_a_score_beyond_one_are_refused() -> None:
    faults = decoding_faults(msgspec.structs.replace(READY, count="c", boxes="x"), specs_of(SHAPES), 0)
    assert faults == ["decoding: 'x' is no output", "decoding: 'c' is no output"]
    faults = decoding_faults(msgspec.structs.replace(READY, min_score=1.5), specs_of(SHAPES), 0)
    assert faults == ["decoding: min_score must be 0 to 1"]


@pytest.mark.parametrize("shape", [(1, 2, 3), (1, 2, 3, 1)])
def test_a_map_of_classes_is_given_as_it_is(shape: tuple[int, ...]) -> None:
    decoder = Decoder(ClassMapDecoding(), [("out", shape)], None)
    assert decoder.results == (("classes", (1, 2, 3)),)
    (found,) = decoder.decode([np.arange(6, dtype=np.float32).reshape(shape)], None)
    assert found.dtype == np.float32
    assert found.tolist() == [[[0, 1, 2], [3, 4, 5]]]


@pytest.mark.parametrize("shape", [(1, 6), (1, 2, 3, 4), (1, 0, 3), (1, 2, 3, 1, 1)])
def test_what_is_no_map_of_classes_is_refused(shape: tuple[int, ...]) -> None:
    assert decoding_faults(ClassMapDecoding(), specs_of([("out", (1, 2, 3))]), 4) == []
    (fault,) = decoding_faults(ClassMapDecoding(), specs_of([("out", shape)]), 4)
    assert f"outputs[0] has shape {shape}, not (1, H, W)" in fault


@pytest.mark.parametrize("decoding", [READY, ClassMapDecoding(), SegmentationDecoding()])
def test_decodings_are_told_apart_by_their_kind(decoding: Decoding) -> None:
    assert msgspec.json.decode(msgspec.json.encode(decoding), type=Decoding) == decoding


def test_a_map_is_laid_over_an_image_of_any_size() -> None:
    classes = np.array([[0, 1], [2, 3]])

    stretched = map_of_image(classes, (4, 6), recipe_of(Resize.STRETCH))
    assert stretched.tolist() == [[0, 0, 0, 1, 1, 1]] * 2 + [[2, 2, 2, 3, 3, 3]] * 2

    assert map_of_image(classes, (1, 1), recipe_of(Resize.STRETCH)).tolist() == [[3]]


def test_the_border_of_a_letterbox_is_left_out_of_the_map() -> None:
    # 20 x 10 in 10 x 10: rows 2 to 6 of the input hold the image, which is 5 high there.
    classes = np.repeat(np.arange(10)[:, np.newaxis], 10, axis=1)
    found = map_of_image(classes, (10, 20), recipe_of(Resize.LETTERBOX))
    assert found[:, 0].tolist() == [2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    assert (found == found[:, :1]).all()


def test_what_a_crop_cuts_off_has_no_class() -> None:
    found = map_of_image(np.ones((5, 5), np.int64), (4, 8), recipe_of(Resize.CENTER_CROP))
    assert found.tolist() == [[-1, -1, 1, 1, 1, 1, -1, -1]] * 4


def test_rows_that_the_operator_did_not_fill_become_zero() -> None:
    names = [name for name, _ in SHAPES]
    junk = {name: np.full((2, *shape[1:]), np.nan, np.float32) for name, shape in SHAPES}
    junk["n"] = np.array([2, 0], np.float32)
    for name in ("b", "k", "s"):
        junk[name][0, :2] = 0.5

    scores, boxes, count, classes = settle(READY, names, [junk[name] for name in names])

    assert scores.tolist() == classes.tolist() == [[0.5, 0.5, 0], [0, 0, 0]]
    assert boxes[0].tolist() == [[0.5] * 4, [0.5] * 4, [0.0] * 4]
    assert not boxes[1].any()
    assert count is junk["n"]
    assert junk["b"].shape == (2, 3, 4)
    assert np.isnan(junk["b"][1]).all()


def test_outputs_of_other_models_are_left_alone() -> None:
    values = np.array([[np.nan]], np.float32)
    assert settle(None, ["a"], [values])[0] is values
    assert settle(SegmentationDecoding(), ["a"], [values])[0] is values
