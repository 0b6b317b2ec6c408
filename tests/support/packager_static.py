"""The digits model for colour images in static int8, with any preprocessing: bare as the quantizer makes it."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.manifest import Color, ImagePreprocessing
from contract.profile import Precision
from contract.tensor import DType, TensorSpec
from packager.description import Source
from packager.preprocess import input_range, to_inputs
from packager.quantize import calibrate, pin_range, quantize
from packager.runtime.graph import read_graph
from tests.support.packager_rgb import rgb_digits

RECIPES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "0 to 1": ((0.0,) * 3, (255.0,) * 3),
    "-1 to 1": ((127.5,) * 3, (127.5,) * 3),
    "per channel": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
SOURCE = Source(
    signature="serving_default",
    inputs=(TensorSpec(name="image", shape=(1, 8, 8, 3), dtype=DType.FLOAT32),),
    outputs=(TensorSpec(name="probabilities", shape=(1, 10), dtype=DType.FLOAT32),),
)


def a_recipe(name: str, **changes: Any) -> ImagePreprocessing:
    """One of ``RECIPES`` for the model's images."""
    mean, std = RECIPES[name]
    given: dict[str, Any] = {"width": 8, "height": 8, "color": Color.RGB, "mean": mean, "std": std}
    return ImagePreprocessing(**given | changes)


def some_pixels(count: int) -> npt.NDArray[np.uint8]:
    """Drawn images (count, 8, 8, 3), the same ones every time; the first two are black and white."""
    drawn = np.random.default_rng(5).integers(0, 256, (count, 8, 8, 3), np.uint8)
    drawn[0], drawn[1] = 0, 255
    return drawn


@functools.cache
def bare(name: str, precision: Precision = Precision.STATIC_INT8) -> bytes:
    """The model with its input's range pinned to what the preprocessing gives."""
    recipe, content = a_recipe(name), rgb_digits()
    found = calibrate(content, precision, SOURCE, [to_inputs(some_pixels(8), recipe)])
    graph = read_graph(content)
    ranges = pin_range(found, graph.tensors[graph.inputs[0]].name, *input_range(recipe))
    return quantize(content, precision, ranges)
