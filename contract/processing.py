"""What stands before and after a model: from an image to its input, from its outputs to a result.

PURE. Rules:

1. Describes only. ``contract.vision`` and ``contract.decoding`` do it, for packager and agent alike.
2. Everything has a word of its own: an agent that does not know one refuses the manifest instead of guessing.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence

import msgspec

from contract.tensor import Layout, TensorSpec

_LAYOUTS = frozenset((Layout.NHWC, Layout.NCHW))
_PIXEL_MAXIMUM = 255


class Resize(str, enum.Enum):
    """How an image is brought to the input's size.

    ``stretch`` ignores the aspect ratio; ``letterbox`` keeps it and fills the rest; ``center-crop`` keeps it and cuts
    off what is too much on two sides.
    """

    STRETCH = "stretch"
    LETTERBOX = "letterbox"
    CENTER_CROP = "center-crop"


class Color(str, enum.Enum):
    """Order of the channels fed to the model."""

    GRAYSCALE = "grayscale"
    RGB = "rgb"
    BGR = "bgr"


class ImagePreprocessing(msgspec.Struct, frozen=True, kw_only=True):
    """From a decoded image (H, W[, C]) uint8, 0-255, to the model's input: resize, then (pixel - mean) / std.

    Attributes:
        width: Pixels.
        height: Pixels.
        color: Channel order; grayscale has one channel, rgb and bgr three.
        mean: One per channel, in the model's order of channels, in pixel units.
        std: One per channel, in the model's order of channels, in pixel units, above 0.
        resize: How the size is reached.
        pad: Pixel value, 0 to 255, of what ``letterbox`` fills.
        layout: ``NHWC`` or ``NCHW``: whether the channels come last or first.
    """

    width: int
    height: int
    color: Color
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Resize = Resize.STRETCH
    pad: int = 0
    layout: Layout = Layout.NHWC

    @property
    def channels(self) -> int:
        """Number of channels."""
        return 1 if self.color is Color.GRAYSCALE else 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one input."""
        if self.layout is Layout.NCHW:
            return self.channels, self.height, self.width
        return self.height, self.width, self.channels


class ClassificationPostprocessing(msgspec.Struct, frozen=True, kw_only=True):
    """From scores (1, classes) to the best classes.

    Attributes:
        top_k: How many classes a result names.
        softmax: Whether the scores are logits that still need one.
    """

    top_k: int = 1
    softmax: bool = False


def preprocessing_faults(image: ImagePreprocessing, inputs: Sequence[TensorSpec]) -> list[str]:
    """List every fault of a description; empty when it is sound.

    Args:
        image: The description.
        inputs: Of the model; the first is what the image becomes.
    """
    faults: list[str] = []
    if image.width < 1 or image.height < 1:
        faults.append("preprocessing: width and height must be above 0")
    if len(image.mean) != image.channels or len(image.std) != image.channels:
        faults.append(f"preprocessing: {image.color.value} needs {image.channels} values of mean and std")
    if not all(map(math.isfinite, image.mean)) or not all(
        math.isfinite(std) and std > 0 for std in image.std
    ):
        faults.append("preprocessing: mean must be finite, std finite and above 0")
    if not 0 <= image.pad <= _PIXEL_MAXIMUM:
        faults.append(f"preprocessing: pad {image.pad} is not within 0 to {_PIXEL_MAXIMUM}")
    if image.layout not in _LAYOUTS:
        faults.append(f"preprocessing: layout {image.layout.value} is none of images, use NHWC or NCHW")
    if inputs and inputs[0].shape[1:] != image.shape:
        faults.append(f"preprocessing: gives {image.shape}, inputs[0] wants {inputs[0].shape[1:]}")
    return faults
