"""From decoded pixels to a model's input.

PURE. Rules:

1. ``contract.vision`` does it: the very code that a device runs with the manifest's preprocessing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contract.errors import ConfigError
from contract.manifest import Color, ImagePreprocessing, Resize
from contract.tensor import Layout
from contract.vision import normalize_images

PIXEL_MAXIMUM = 255.0
_CHANNELS = frozenset((1, 3))


@dataclass(frozen=True)
class Fitting:
    """How images are brought to a model's size and channels.

    Attributes:
        resize: None to refuse images of another size.
        pad: Pixel value, 0 to 255, that a letterbox is filled with.
        is_bgr: Whether the model takes blue first.
    """

    resize: Resize | None = None
    pad: int = 0
    is_bgr: bool = False


@dataclass(frozen=True)
class Geometry:
    """What a model takes for an image: pixels, channels (1 or 3), and which of them come first."""

    height: int
    width: int
    channels: int
    layout: Layout = Layout.NHWC

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of decoded pixels: height, width, channels."""
        return self.height, self.width, self.channels


def image_geometry(shape: Sequence[int]) -> Geometry | None:
    """The image that an input of this shape is; None when it cannot be one.

    Args:
        shape: With the batch, 1 or free. Channels are 1 or 3; where both ends could be, they are last.
    """
    if len(shape) != 4 or shape[0] not in {1, -1} or min(shape[1:]) < 1:
        return None
    if shape[3] in _CHANNELS:
        return Geometry(shape[1], shape[2], shape[3])
    return Geometry(shape[2], shape[3], shape[1], Layout.NCHW) if shape[1] in _CHANNELS else None


def plan_preprocessing(
    geometry: Geometry,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    fitting: Fitting | None = None,
) -> ImagePreprocessing:
    """Describe the preprocessing; one value of ``mean`` or ``std`` stands for every channel.

    Args:
        geometry: Of the model's input.
        mean: In pixel units, one or one per channel.
        std: In pixel units, one or one per channel.
        fitting: How images come to their size and channels; None for images that have them already, in RGB.

    Raises:
        ConfigError: An order of colours for a model that takes gray, or values for another number of channels.
    """
    fitting = fitting or Fitting()
    channels = geometry.channels
    for option, values in (("--mean", mean), ("--std", std)):
        if len(values) not in {1, channels}:
            raise ConfigError(f"{option} has {len(values)} values, the model takes {channels} channels")
    if channels == 1 and fitting.is_bgr:
        raise ConfigError(
            "the model takes gray images, so there is no order of colours", remedy="leave out --bgr"
        )
    colors = Color.BGR if fitting.is_bgr else Color.RGB
    return ImagePreprocessing(
        width=geometry.width,
        height=geometry.height,
        color=Color.GRAYSCALE if channels == 1 else colors,
        mean=mean * channels if len(mean) == 1 else mean,
        std=std * channels if len(std) == 1 else std,
        resize=fitting.resize or Resize.STRETCH,
        pad=fitting.pad,
        layout=geometry.layout,
    )


def to_inputs(pixels: npt.NDArray[np.uint8], preprocessing: ImagePreprocessing) -> npt.NDArray[np.float32]:
    """Pixels of images that were fitted, as inputs.

    Args:
        pixels: (N, H, W, C) uint8, 0 to 255, gray or RGB.
        preprocessing: Order of channels, mean and std per channel.

    Returns:
        (N, *preprocessing.shape) float32.
    """
    return normalize_images(pixels, preprocessing)


def input_range(preprocessing: ImagePreprocessing) -> tuple[float, float]:
    """Lowest and highest value that an input can have."""
    pairs = list(zip(preprocessing.mean, preprocessing.std, strict=True))
    return (
        min(-mean / std for mean, std in pairs),
        max((PIXEL_MAXIMUM - mean) / std for mean, std in pairs),
    )
