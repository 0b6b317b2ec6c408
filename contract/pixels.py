"""Whether a model file takes an image's pixels as they are.

PURE. Rules:

1. Taken as they are means: the first input is uint8, and a stored value p, 0 to 255, stands for (p - mean) / std of the
   manifest's preprocessing, in its channel. So the pixels of a fitted image are the input, and nothing is computed.
2. The file tells by that tensor's own quantization. Either scale 1 and zero point 0: its values are the pixels, and the
   graph normalises. Or scale 1 / std and the mean as zero point, where all channels share both: the quantization
   normalises. A zero point is whole, so with a mean of 127.5 the file computes half a pixel off; a pixel is stored as
   itself all the same.
3. Only RGB or gray with the channels last: what TFLite's metadata can describe, so that other libraries feed it alike.
4. A real value that stands for no pixel is stored as the nearest one.
"""

from __future__ import annotations

from contract.processing import Color, ImagePreprocessing
from contract.tensor import DType, Layout

_SAME_SCALE = 1e-5
"""Largest relative difference of a scale that was computed in float32 (24 bits) from a range of two rounded ends."""
_HALF_PIXEL = 0.5


def is_usual_image(recipe: ImagePreprocessing | None) -> bool:
    """Whether images are described as libraries expect them: gray or red first, channels last (rule 3)."""
    return recipe is not None and recipe.color is not Color.BGR and recipe.layout is Layout.NHWC


def takes_pixels(dtype: str, scale: float, zero_point: int, recipe: ImagePreprocessing | None) -> bool:
    """Whether an input of a model file takes pixels as they are (rules 1 to 3).

    Args:
        dtype: Of the stored tensor.
        scale: Of its quantization; 0 for none.
        zero_point: Of its quantization.
        recipe: From an image to the real values of this input; None for an input that is no image.
    """
    if dtype != DType.UINT8.value or recipe is None or not is_usual_image(recipe):
        return False
    if scale == 1.0 and zero_point == 0:
        return True
    return all(abs(scale * std - 1) <= _SAME_SCALE for std in recipe.std) and all(
        abs(zero_point - mean) <= _HALF_PIXEL for mean in recipe.mean
    )


def pixel_steps(recipe: ImagePreprocessing) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Scale and offset of each channel: a pixel is round(real / scale + offset), within 0 to 255."""
    return tuple(1 / std for std in recipe.std), recipe.mean
