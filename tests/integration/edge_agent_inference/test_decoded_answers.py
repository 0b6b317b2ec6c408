"""Detectors, segmenters and embedders on a real worker: applications get boxes, maps and vectors, by the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from contract.decoding import Decoder
from contract.errors import RuntimeLoadError
from contract.manifest import Color, ImagePreprocessing, Resize, Task
from contract.profile import DelegateName
from contract.results import Decoding, EmbeddingDecoding, SegmentationDecoding, Suppression, YoloDecoding
from contract.tensor import DType, TensorSpec
from contract.vision import prepare_image
from edge_agent import connect
from edge_agent.inference.pool import Pool
from packager.runtime.interpreter import LoadedModel
from tests.support.inference_models import a_reshape
from tests.support.inference_slots import DIGITS, a_slot, images_of, serve, spec_of

YOLO = YoloDecoding(is_transposed=False, suppression=Suppression(max_detections=3))


def a_reshape_slot(
    folder: Path, task: Task, decoding: Decoding, before: list[int], after: list[int], **changes: Any
) -> Path:
    """A model whose outputs are the pixels, 0 to 1."""
    recipe = ImagePreprocessing(
        width=before[2], height=before[1], color=Color.GRAYSCALE, mean=(0.0,), std=(255.0,), **changes
    )
    return a_slot(
        folder,
        content=a_reshape(before, after),
        variant={"name": "float32"},
        task=task,
        inputs=(TensorSpec(name="image", shape=tuple(before), dtype=DType.FLOAT32),),
        outputs=(TensorSpec(name="out", shape=tuple(after), dtype=DType.FLOAT32),),
        labels=(),
        preprocessing=recipe,
        postprocessing=None,
        decoding=decoding,
    )


def ask(run_dir: Path, image: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.float32]]:
    with connect(run_dir).model("digits") as model:
        answer = model.infer(image)
    assert answer.classes == ()
    return answer.outputs


def test_an_application_of_a_detector_gets_the_boxes_that_remain(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    serve(pool, slot=a_reshape_slot(tmp_path / "slot", Task.DETECTION, YOLO, [1, 4, 6, 1], [1, 4, 6]))
    # Centre x, centre y, width, height, two scores; the second row covers what the first does.
    rows = [[102, 51, 102, 51, 20, 250], [102, 51, 102, 48, 10, 240], [204, 204, 51, 51, 200, 0], [0] * 6]

    found = ask(run_dir, np.array(rows, np.uint8))

    assert found["count"].tolist() == [2]
    assert found["classes"].tolist() == [[1, 0, 0]]
    assert found["scores"][0].tolist() == pytest.approx([250 / 255, 200 / 255, 0])
    assert found["boxes"].shape == (1, 3, 4)
    assert found["boxes"][0, 0].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.6])
    assert found["boxes"][0, 1].tolist() == pytest.approx([0.7, 0.7, 0.9, 0.9])


@pytest.mark.parametrize("resize", list(Resize))
def test_boxes_for_a_photo_of_another_size_are_those_that_the_packager_computes(
    pool: Pool, run_dir: Path, tmp_path: Path, resize: Resize
) -> None:
    slot = a_reshape_slot(tmp_path / "slot", Task.DETECTION, YOLO, [1, 16, 18, 1], [1, 48, 6], resize=resize)
    serve(pool, slot=slot)
    recipe = ImagePreprocessing(
        width=18, height=16, color=Color.GRAYSCALE, mean=(0.0,), std=(255.0,), resize=resize
    )
    photo = np.random.default_rng(3).integers(0, 256, (37, 90, 1), np.uint8)

    found = ask(run_dir, photo)

    (raw,) = LoadedModel(a_reshape([1, 16, 18, 1], [1, 48, 6]), DelegateName.XNNPACK).run(
        [prepare_image(photo, recipe)]
    )
    expected = Decoder(YOLO, [("out", (1, 48, 6))], recipe).decode([raw], (37, 90))
    assert found["count"].tolist() == [3]
    for name, wanted in zip(("boxes", "classes", "scores", "count"), expected, strict=True):
        assert np.array_equal(found[name], wanted)


def test_an_application_of_a_segmenter_gets_the_class_of_each_pixel(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    slot = a_reshape_slot(
        tmp_path / "slot", Task.SEGMENTATION, SegmentationDecoding(), [1, 2, 6, 1], [1, 2, 2, 3]
    )
    serve(pool, slot=slot)

    found = ask(run_dir, np.array([[9, 1, 2, 3, 8, 1], [5, 5, 7, 0, 0, 0]], np.uint8))

    assert list(found) == ["classes"]
    assert found["classes"].tolist() == [[[0, 1], [2, 0]]]


def test_an_application_of_an_embedder_gets_a_vector_of_length_one(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    slot = a_slot(
        tmp_path / "slot",
        content=(DIGITS / "digits-1.0.0.tflite").read_bytes(),
        variant={"name": "float32"},
        task=Task.EMBEDDING,
        labels=(),
        postprocessing=None,
        decoding=EmbeddingDecoding(),
    )
    serve(pool, slot=slot)

    vector = ask(run_dir, images_of(3)[0])["probabilities"]

    assert vector.shape == (1, 10)
    assert np.linalg.norm(vector) == pytest.approx(1)
    assert vector.argmax() == 3


def test_a_model_of_several_images_at_once_cannot_be_decoded(pool: Pool, tmp_path: Path) -> None:
    slot = a_reshape_slot(
        tmp_path / "slot", Task.SEGMENTATION, SegmentationDecoding(), [1, 4, 6, 1], [2, 2, 2, 3]
    )

    with pytest.raises(RuntimeLoadError, match="batch must be 1"):
        pool.start_candidate(spec_of(slot=slot), 30)
