"""Which form the inputs and outputs of a quantized model file get.

PURE. Rules:

1. Task libraries (MediaPipe, Android's) feed uint8 and float32 and read uint8 and float32; a quantizer gives int8 and
   int16. So no file that ships for a processor has these at its border.
2. An image becomes uint8 that takes pixels as they are (``contract.pixels``): with the quantization that it has
   where that is the preprocessing's own, else with the graph normalising.
3. Everything else that stands for real values becomes float32: XNNPACK converts faster than whoever calls.
4. A file for an accelerator computes no floats: an image of which rule 2 needs none becomes uint8, its outputs with it;
   everything else stays.
5. What stands for no real values stays as it is.

Why: ``docs/adr/0043``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from contract.pixels import is_usual_image, takes_pixels
from contract.processing import ImagePreprocessing
from contract.tensor import DType

UINT8_SHIFT = 128
"""What an int8 value is less than the uint8 value that stands for the same with the same scale."""
_STORED = frozenset((DType.INT8.value, DType.INT16.value))


class Form(enum.Enum):
    """What an input or output becomes.

    ``kept`` as it is; ``real`` float32; ``bytes`` uint8 of the same scale, by one operator on integers; ``pixels`` the
    same, by two that XNNPACK has; ``raw`` uint8 with the graph normalising.
    """

    KEPT = "kept"
    REAL = "real"
    BYTES = "bytes"
    PIXELS = "pixels"
    RAW = "raw"


@dataclass(frozen=True)
class Stored:
    """A tensor at the border: TFLite's type in lower case; scale 0 where it has not exactly one."""

    dtype: str
    scale: float
    zero_point: int

    @property
    def is_real(self) -> bool:
        """Whether it holds integers of a quantizer, which stand for real values."""
        return self.dtype in _STORED and self.scale > 0

    def is_the_recipes(self, image: ImagePreprocessing | None) -> bool:
        """Whether its quantization, as uint8, is what the preprocessing does."""
        shifted = self.zero_point + UINT8_SHIFT
        return self.dtype == DType.INT8.value and takes_pixels(DType.UINT8.value, self.scale, shifted, image)


def plan_input(stored: Stored, image: ImagePreprocessing | None, *, is_for_accelerator: bool = False) -> Form:
    """The form of an input.

    Args:
        stored: What the quantizer made.
        image: From an image to its real values; None for an input that is no image.
        is_for_accelerator: Whether rule 4 holds.
    """
    if not stored.is_real:
        return Form.KEPT
    if is_for_accelerator:
        return Form.BYTES if stored.is_the_recipes(image) else Form.KEPT
    if not is_usual_image(image):
        return Form.REAL
    return Form.PIXELS if stored.is_the_recipes(image) else Form.RAW


def plan_output(stored: Stored, inputs: list[Form], *, is_for_accelerator: bool = False) -> Form:
    """The form of an output.

    Args:
        stored: What the quantizer made.
        inputs: What the inputs become.
        is_for_accelerator: Whether rule 4 holds.
    """
    if not stored.is_real:
        return Form.KEPT
    if is_for_accelerator:
        return Form.BYTES if stored.dtype == DType.INT8.value and Form.BYTES in inputs else Form.KEPT
    return Form.REAL
