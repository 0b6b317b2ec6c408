"""From decoded pixels to a model's input.

PURE. Rules:

1. (pixel - mean) / std in float32, per channel: what a device does with the manifest's preprocessing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from contract.manifest import Color, ImagePreprocessing

PIXEL_MAXIMUM = 255.0


def plan_preprocessing(
    image_shape: tuple[int, int, int], mean: tuple[float, ...], std: tuple[float, ...]
) -> ImagePreprocessing:
    """Describe the preprocessing; one value of ``mean`` or ``std`` stands for every channel.

    Args:
        image_shape: Height, width, channels (1 or 3) of the model's input.
        mean: In pixel units, one or one per channel.
        std: In pixel units, one or one per channel.
    """
    height, width, channels = image_shape
    return ImagePreprocessing(
        width=width,
        height=height,
        color=Color.GRAYSCALE if channels == 1 else Color.RGB,
        mean=mean * channels if len(mean) == 1 else mean,
        std=std * channels if len(std) == 1 else std,
    )


def to_inputs(pixels: npt.NDArray[np.uint8], preprocessing: ImagePreprocessing) -> npt.NDArray[np.float32]:
    """Scale pixels.

    Args:
        pixels: (N, H, W, C) uint8, 0 to 255.
        preprocessing: Mean and std per channel.

    Returns:
        (N, H, W, C) float32.
    """
    mean = np.asarray(preprocessing.mean, dtype=np.float32)
    std = np.asarray(preprocessing.std, dtype=np.float32)
    scaled: npt.NDArray[np.float32] = (pixels.astype(np.float32) - mean) / std
    return scaled


def input_range(preprocessing: ImagePreprocessing) -> tuple[float, float]:
    """Lowest and highest value that an input can have."""
    pairs = list(zip(preprocessing.mean, preprocessing.std, strict=True))
    return (
        min(-mean / std for mean, std in pairs),
        max((PIXEL_MAXIMUM - mean) / std for mean, std in pairs),
    )
