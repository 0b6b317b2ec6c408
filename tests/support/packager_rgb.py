"""The digits model for colour images, and its samples in colour: what libraries that take no gray images can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.support.packager_builders import DIGITS
from tests.support.packager_models import changed_model


def rgb_digits() -> bytes:
    """The digits model with an input (1, 8, 8, 3): a third of the first convolution's weights for each colour."""

    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        image = graph.tensors[graph.inputs[0]]
        first = next(op for op in graph.operators if graph.inputs[0] in list(op.inputs))
        weights = graph.tensors[first.inputs[1]]
        buffer = model.buffers[weights.buffer]
        values = np.frombuffer(bytes(buffer.data), dtype=np.float32).reshape(weights.shape)
        assert values.shape[3] == 1, "the first operator is the first convolution"
        buffer.data = np.frombuffer((np.repeat(values, 3, axis=3) / 3).tobytes(), dtype=np.uint8)
        for tensor in (image, weights):
            tensor.shape = np.array([*tensor.shape[:3], 3], dtype=np.int32)
        if image.shapeSignature is not None:
            image.shapeSignature = np.array([*image.shapeSignature[:3], 3], dtype=np.int32)

    return changed_model(change)


def write_rgb_images(folder: Path, kind: str, most: int) -> Path:
    """Some samples of each class as RGB images in ``<class>/<image>``; ``kind`` is calibration or evaluation."""
    for of_class in sorted((DIGITS / kind).iterdir()):
        target = folder / of_class.name
        target.mkdir(parents=True)
        for path in sorted(of_class.iterdir())[:most]:
            Image.open(path).convert("RGB").save(target / path.name)
    return folder
