"""Asks MediaPipe what is in samples; runs in MediaPipe's environment, without litefleet.

``read_with_mediapipe.py KIND MODELS FILES``, both lists in JSON, prints a JSON line per model and file: their paths,
and what MediaPipe finds; or why it refuses the model.
"""

import json
import sys
import wave
from pathlib import Path
from typing import Any

import mediapipe
import numpy as np
from mediapipe.tasks.metadata import metadata_schema_py_generated as schema
from mediapipe.tasks.python import BaseOptions, audio, vision
from mediapipe.tasks.python.components.containers import AudioData


def main(kind: str, models: list[str], paths: list[str]) -> int:
    """Ask for each file."""
    for model in models:
        try:
            task = _KINDS[kind][0](BaseOptions(model_asset_path=model))
        except (ValueError, RuntimeError, NotImplementedError) as error:
            sys.stdout.write(json.dumps({"model": model, "refused": str(error)}) + "\n")
            continue
        with task:
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
    return mediapipe.Image.create_from_file(path)


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


def _wave(path: str) -> Any:
    with wave.open(path) as file:
        values = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        return AudioData.create_from_array(values / np.float32(1 << 15), file.getframerate())


_KINDS: dict[str, tuple[Any, Any]] = {
    "classifier": (
        lambda base: vision.ImageClassifier.create_from_options(
            vision.ImageClassifierOptions(base_options=base, max_results=1)
        ),
        lambda task, path: _best(task.classify(_image(path))),
    ),
    "detector": (
        lambda base: vision.ObjectDetector.create_from_options(
            vision.ObjectDetectorOptions(base_options=base, score_threshold=0.3)
        ),
        lambda task, path: _boxes(task.detect(_image(path))),
    ),
    "segmenter": (
        lambda base: vision.ImageSegmenter.create_from_options(
            vision.ImageSegmenterOptions(base_options=base, output_category_mask=True)
        ),
        lambda task, path: task.segment(_image(path)).category_mask.numpy_view().ravel().tolist(),
    ),
    "embedder": (
        lambda base: vision.ImageEmbedder.create_from_options(vision.ImageEmbedderOptions(base_options=base)),
        lambda task, path: task.embed(_image(path)).embeddings[0].embedding.tolist(),
    ),
    "sounds": (
        lambda base: audio.AudioClassifier.create_from_options(
            audio.AudioClassifierOptions(base_options=base, max_results=1)
        ),
        lambda task, path: _best(task.classify(_wave(path))[0]),
    ),
}
"""How a library's task is made, and asked for a file."""


def show_card(card: str) -> int:
    """Print what MediaPipe's own reader of the schema finds in a metadata flatbuffer."""
    told = schema.ModelMetadataT.InitFromObj(schema.ModelMetadata.GetRootAs(Path(card).read_bytes(), 0))
    (graph,) = told.subgraphMetadata
    (image,), (scores,) = graph.inputTensorMetadata, graph.outputTensorMetadata
    options = image.processUnits[0].options
    found = {
        "name": told.name.decode(),
        "version": told.version.decode(),
        "parser": told.minParserVersion.decode(),
        "color": image.content.contentProperties.colorSpace,
        "size": [
            image.content.contentProperties.defaultSize.width,
            image.content.contentProperties.defaultSize.height,
        ],
        "mean": [float(value) for value in options.mean],
        "std": [float(value) for value in options.std],
        "low": [float(value) for value in image.stats.min],
        "high": [float(value) for value in image.stats.max],
        "file": scores.associatedFiles[0].name.decode(),
        "file_type": scores.associatedFiles[0].type,
    }
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(
        show_card(sys.argv[2])
        if sys.argv[1] == "--card"
        else main(sys.argv[1], *map(json.loads, sys.argv[2:]))
    )
