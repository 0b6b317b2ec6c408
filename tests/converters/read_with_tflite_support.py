"""Asks TensorFlow Lite's task library, which Android's is built from; runs in its environment, without litefleet.

``read_with_tflite_support.py KIND MODELS FILES`` prints what ``read_with_mediapipe.py`` prints, found by this library.
"""

import ctypes
import json
import sys
from typing import Any

import libusb_package

ctypes.CDLL(str(libusb_package.get_library_path()))  # its own module wants libusb, for an Edge TPU

from tflite_support.task import audio, core, processor, vision  # noqa: E402 - after the library that it needs


def main(kind: str, models: list[str], paths: list[str]) -> int:
    """Ask for each file."""
    for model in models:
        try:
            task = _KINDS[kind][0](core.BaseOptions(file_name=model))
        except (ValueError, RuntimeError) as error:
            sys.stdout.write(json.dumps({"model": model, "refused": str(error)}) + "\n")
            continue
        _ask_all(kind, task, model, paths)
    return 0


def _ask_all(kind: str, task: Any, model: str, paths: list[str]) -> None:
    for path in paths:
        row = {"model": model, "path": path, "found": _KINDS[kind][1](task, path)}
        sys.stdout.write(json.dumps(row) + "\n")


def _best(found: Any) -> list[Any]:
    best = found.classifications[0].categories[0]
    return [best.index, best.category_name, best.score]


def _image(path: str) -> Any:
    return vision.TensorImage.create_from_file(path)


def _boxes(found: Any) -> list[Any]:
    return [
        [
            one.categories[0].category_name,
            one.categories[0].score,
            one.bounding_box.origin_x,
            one.bounding_box.origin_y,
            one.bounding_box.width,
            one.bounding_box.height,
        ]
        for one in found.detections
    ]


def _wave(task: Any, path: str) -> Any:
    return audio.TensorAudio.create_from_wav_file(path, task.required_input_buffer_size)


_KINDS: dict[str, tuple[Any, Any]] = {
    "classifier": (
        lambda base: vision.ImageClassifier.create_from_options(
            vision.ImageClassifierOptions(base, processor.ClassificationOptions(max_results=1))
        ),
        lambda task, path: _best(task.classify(_image(path))),
    ),
    "detector": (
        lambda base: vision.ObjectDetector.create_from_options(
            vision.ObjectDetectorOptions(base, processor.DetectionOptions(score_threshold=0.3))
        ),
        lambda task, path: _boxes(task.detect(_image(path))),
    ),
    "segmenter": (
        lambda base: vision.ImageSegmenter.create_from_options(vision.ImageSegmenterOptions(base)),
        lambda task, path: task.segment(_image(path)).segmentations[0].category_mask.ravel().tolist(),
    ),
    "embedder": (
        lambda base: vision.ImageEmbedder.create_from_options(vision.ImageEmbedderOptions(base)),
        lambda task, path: task.embed(_image(path)).embeddings[0].feature_vector.value.tolist(),
    ),
    "sounds": (
        lambda base: audio.AudioClassifier.create_from_options(
            audio.AudioClassifierOptions(base, processor.ClassificationOptions(max_results=1))
        ),
        lambda task, path: _best(task.classify(_wave(task, path))),
    ),
}
"""How a library's task is made, and asked for a file."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(json.loads, sys.argv[2:])))
