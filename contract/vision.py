"""From decoded images to a model's input, and back from its fractions to those of the image.

PURE. Rules:

1. Packager and agent both use this and nothing else, so that what was measured is what runs. It imports numpy, and
   Pillow when it resizes: only processes that run models import it, never the agent's main process.
2. Colour first (Pillow's ``convert``: gray is ITU-R 601-2 luma, RGB from gray repeats the channel), then size
   (Pillow's bilinear filter, which averages when it makes an image smaller), then the order of channels, then
   (pixel - mean) / std in float32, then the layout. An image that has the right size is not filtered.
3. Sizes are whole pixels, by integer arithmetic alone. What is left over by an odd difference is on the right and at
   the bottom.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from contract.pixels import pixel_steps
from contract.processing import Color, ImagePreprocessing, Resize
from contract.tensor import Layout

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


class Box(msgspec.Struct, frozen=True):
    """A rectangle in whole pixels."""

    left: int
    top: int
    width: int
    height: int


class Placement(msgspec.Struct, frozen=True):
    """Which part of an image becomes which part of the input.

    Attributes:
        source: In the image.
        target: In the input; smaller than it when something is filled.
    """

    source: Box
    target: Box


def place(height: int, width: int, recipe: ImagePreprocessing) -> Placement:
    """How an image of so many pixels is brought to the input.

    Args:
        height: Of the image, above 0.
        width: Of the image, above 0.
        recipe: What the model wants.
    """
    source = Box(0, 0, width, height)
    target = Box(0, 0, recipe.width, recipe.height)
    is_wide = width * recipe.height >= recipe.width * height
    if recipe.resize is Resize.LETTERBOX:
        inner = _divide(recipe.width * height, width) if is_wide else _divide(recipe.height * width, height)
        used = (recipe.width, inner) if is_wide else (inner, recipe.height)
        target = _centred(target, *used)
    elif recipe.resize is Resize.CENTER_CROP:
        inner = (
            _divide(recipe.width * height, recipe.height)
            if is_wide
            else _divide(recipe.height * width, recipe.width)
        )
        used = (inner, height) if is_wide else (width, inner)
        source = _centred(source, *used)
    return Placement(source, target)


def _divide(amount: int, by: int) -> int:
    """Nearest whole number, halves up, at least 1."""
    return max(1, (2 * amount + by) // (2 * by))


def _centred(box: Box, width: int, height: int) -> Box:
    return Box((box.width - width) // 2, (box.height - height) // 2, width, height)


def boxes_of_image(boxes: Floats, size: tuple[int, int], recipe: ImagePreprocessing) -> Floats:
    """Boxes in fractions of the input as fractions of the image, cut off at its edges.

    Args:
        boxes: (N, 4) top, left, bottom, right.
        size: Height and width of the image in pixels.
        recipe: How it was brought to the input.
    """
    where = place(*size, recipe)
    source, target = where.source, where.target
    inputs = np.array([recipe.height, recipe.width] * 2, np.float32)
    start = np.array([target.top, target.left] * 2, np.float32)
    step = np.array([source.height / target.height, source.width / target.width] * 2, np.float32)
    first = np.array([source.top, source.left] * 2, np.float32)
    limits = np.array([size[0], size[1]] * 2, np.float32)
    found: Floats = (((boxes * inputs - start) * step + first) / limits).astype(np.float32)
    return found.clip(0.0, 1.0)


def map_of_image(
    classes: npt.NDArray[np.int64], size: tuple[int, int], recipe: ImagePreprocessing
) -> npt.NDArray[np.int64]:
    """A map of classes over the input as one over the image: each pixel gets the class that its middle falls on.

    Args:
        classes: (H, W) of any size.
        size: Height and width of the image in pixels.
        recipe: How it was brought to the input.

    Returns:
        (height, width) classes; -1 where the image was cut off, so the model did not see it.
    """
    where = place(*size, recipe)
    rows = _places(size[0], where.source.top, where.source.height, where.target.top, where.target.height)
    columns = _places(size[1], where.source.left, where.source.width, where.target.left, where.target.width)
    is_seen = (rows.inside[:, np.newaxis]) & (columns.inside[np.newaxis, :])
    found = classes[
        rows.steps(classes.shape[0], recipe.height)[:, np.newaxis],
        columns.steps(classes.shape[1], recipe.width)[np.newaxis, :],
    ]
    return np.where(is_seen, found, -1)


class _Places(msgspec.Struct, frozen=True):
    """Where the middles of a line of pixels fall in the input: ``over / under`` pixels from its start."""

    over: npt.NDArray[np.int64]
    under: int
    inside: npt.NDArray[np.bool_]

    def steps(self, count: int, total: int) -> npt.NDArray[np.int64]:
        """Which of so many equal parts of the input's whole side each falls in."""
        return (self.over * count // (self.under * total)).clip(0, count - 1)


def _places(count: int, source: int, source_size: int, target: int, target_size: int) -> _Places:
    position = np.arange(count, dtype=np.int64) - source
    return _Places(
        over=(2 * position + 1) * target_size + 2 * target * source_size,
        under=2 * source_size,
        inside=(position >= 0) & (position < source_size),
    )


def fit_image(pixels: Pixels, recipe: ImagePreprocessing) -> Pixels:
    """Colour and size.

    Args:
        pixels: (H, W, C) uint8, 0-255, C 1 (gray) or 3 (RGB).
        recipe: What the model wants.

    Returns:
        (height, width, channels) uint8, gray or RGB; the image itself when there is nothing to do.
    """
    if pixels.shape == (recipe.height, recipe.width, recipe.channels):
        return pixels
    from PIL import Image

    where = place(pixels.shape[0], pixels.shape[1], recipe)
    source, target = where.source, where.target
    cut = pixels[source.top : source.top + source.height, source.left : source.left + source.width]
    image = Image.fromarray(cut[:, :, 0] if cut.shape[2] == 1 else np.ascontiguousarray(cut))
    image = image.convert("L" if recipe.channels == 1 else "RGB")
    if image.size != (target.width, target.height):
        image = image.resize((target.width, target.height), Image.Resampling.BILINEAR)
    fitted = np.full((recipe.height, recipe.width, recipe.channels), recipe.pad, np.uint8)
    inside = fitted[target.top : target.top + target.height, target.left : target.left + target.width]
    inside[...] = np.asarray(image, np.uint8).reshape(inside.shape)
    return fitted


def normalize_images(fitted: Pixels, recipe: ImagePreprocessing) -> Floats:
    """Order of channels, mean and std, layout.

    Args:
        fitted: (N, height, width, channels) uint8, gray or RGB.
        recipe: What the model wants.

    Returns:
        (N, *recipe.shape) float32, contiguous.
    """
    ordered = fitted[..., ::-1] if recipe.color is Color.BGR else fitted
    real: Floats = ordered.astype(np.float32, order="C")
    lines = real.reshape(-1, recipe.width * recipe.channels)
    lines -= _by_channel(recipe.mean, recipe.width)
    lines /= _by_channel(recipe.std, recipe.width)
    return np.ascontiguousarray(real.transpose(0, 3, 1, 2)) if recipe.layout is Layout.NCHW else real


def to_pixels(real: npt.NDArray[Any], recipe: ImagePreprocessing) -> Pixels:
    """The pixels that inputs stand for, the nearest ones: what ``normalize_images`` was given, to the last one.

    Args:
        real: (..., width, channels) real values, finite or not; NaN becomes any pixel.
        recipe: What the model wants; RGB or gray, channels last.

    Returns:
        The same shape, uint8.
    """
    scales, offsets = (_by_channel(values, recipe.width) for values in pixel_steps(recipe))
    pixels = np.divide(real.reshape(-1, recipe.width * recipe.channels), scales, dtype=np.float32)
    pixels += offsets
    np.rint(pixels, out=pixels)
    np.clip(pixels, 0, 255, out=pixels)
    with np.errstate(invalid="ignore"):
        found: Pixels = pixels.astype(np.uint8).reshape(real.shape)
    return found


def _by_channel(values: tuple[float, ...], times: int) -> Floats:
    """Values of channels for so many pixels on end: for three channels alone numpy takes five times as long."""
    found = np.asarray(values if len(set(values)) > 1 else values[:1], np.float32)
    return np.tile(found, times) if len(found) > 1 else found


def prepare_image(pixels: Pixels, recipe: ImagePreprocessing) -> Floats:
    """An image (H, W, C) uint8 as an input (1, *recipe.shape) float32."""
    return normalize_images(fit_image(pixels, recipe)[np.newaxis], recipe)
