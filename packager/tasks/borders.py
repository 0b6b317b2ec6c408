"""Whether a model takes one image and gives one row of numbers, which several kinds of tasks ask for.

PURE. Rules:

1. Every fault is a sentence of its own; where the number of tensors is wrong, the rest means nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from contract.tensor import DType, TensorSpec
from packager.description import Source
from packager.preprocess import image_geometry


def image_to_row_faults(source: Source, row: str, is_long_enough: Callable[[TensorSpec], bool]) -> list[str]:
    """Faults of a model that should take a float32 image (1, H, W, C) and give a float32 row (1, ...).

    Args:
        source: The model's borders.
        row: What the row holds, for error texts.
        is_long_enough: Whether a row of this description, of two dimensions, has enough numbers.
    """
    faults = [
        f"{len(specs)} {what}s, one is possible"
        for what, specs in (("input", source.inputs), ("output", source.outputs))
        if len(specs) != 1
    ]
    if faults:
        return faults
    (image,), (values,) = source.inputs, source.outputs
    faults = [
        f"{what} {spec.name} is {spec.dtype.value}, not {DType.FLOAT32.value}"
        for what, spec in (("input", image), ("output", values))
        if spec.dtype is not DType.FLOAT32
    ]
    if image_geometry(image.shape) is None:
        faults.append(f"input {image.name} has shape {image.shape}, not (1, H, W, C) with 1 or 3 channels")
    if len(values.shape) != 2 or not is_long_enough(values):
        faults.append(f"output {values.name} has shape {values.shape}, not (1, {row})")
    return faults
