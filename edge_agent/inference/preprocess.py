"""From what an application has to what a model takes.

PURE. Rules:

1. Images are prepared by ``contract.vision``, as the packager does when it measures.
2. Quantizing rounds ties to even, as XNNPACK's conversion and numpy do; TFLite's reference kernel rounds them away
   from zero. The two differ by one step, and only for a value exactly half way between two.
3. A value outside the range is the nearest end of it; one that is not finite is refused.
4. Where a model takes pixels (``contract.pixels``), a real value becomes the nearest pixel.
5. Values are taken block by block, each operation on its own: fewer passes, by the reciprocal of the scale or by
   whole numbers, would round some values otherwise.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.errors import InputError
from contract.processing import ImagePreprocessing
from contract.vision import to_pixels

_BLOCK = 1 << 16
"""Values that are quantized at a time: 256 KiB of float32, which stay in a second-level cache of 512 KiB."""


def check_finite(real: npt.NDArray[Any], name: str) -> None:
    """Refuse a tensor with values that are not numbers.

    Raises:
        InputError: With the tensor's name.
    """
    # Both ends are found in two thirds of the time of a sum, and either is NaN where any value is.
    if real.dtype.kind == "f" and not _are_finite(
        np.minimum.reduce(real, axis=None), np.maximum.reduce(real, axis=None)
    ):
        raise InputError(f"input {name!r} has values that are not finite")


def _are_finite(lowest: float, highest: float) -> bool:
    return math.isfinite(lowest) and math.isfinite(highest)


class Quantizer:
    """Real values as a quantized tensor stores them: round(real / scale) + zero_point, within the dtype's range.

    Keeps its memory between calls. Owned by one thread.

    Args:
        name: Of the tensor, for errors.
        shape: Of the tensor.
        scale: Above 0.
        zero_point: What stands for 0.
        dtype: int8, uint8 or int16.
    """

    def __init__(
        self, name: str, shape: tuple[int, ...], scale: float, zero_point: int, dtype: np.dtype[Any]
    ) -> None:
        limits = np.iinfo(dtype)
        self._name = name
        self._scale = np.float32(scale)
        self._zero_point = np.float32(zero_point)
        self._lowest, self._highest = np.float32(limits.min), np.float32(limits.max)
        self._stored = np.empty(shape, dtype)
        self._flat = self._stored.reshape(-1)
        self._steps = np.empty(min(_BLOCK, self._flat.size), np.float32)

    def quantize(self, real: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Check and quantize; the result is overwritten by the next call.

        Args:
            real: May be memory that another process writes to: what is checked is what is stored.

        Raises:
            InputError: Values are not finite.
        """
        flat = real.reshape(-1)
        with np.errstate(over="ignore"):
            for start in range(0, flat.size, _BLOCK):
                self._quantize_block(flat[start : start + _BLOCK], self._flat[start : start + _BLOCK])
        return self._stored

    def _quantize_block(self, real: npt.NDArray[np.float32], stored: npt.NDArray[Any]) -> None:
        steps = np.divide(real, self._scale, out=self._steps[: real.size])
        lowest, highest = np.minimum.reduce(steps), np.maximum.reduce(steps)
        if not _are_finite(lowest, highest):
            own = (
                real.copy()
            )  # a finite value may be an infinite number of steps, or have become another by now
            check_finite(own, self._name)
            np.divide(own, self._scale, out=steps)
        np.rint(steps, out=steps)
        np.add(steps, self._zero_point, out=steps)
        np.clip(steps, self._lowest, self._highest, out=steps)
        stored[...] = steps


class PixelQuantizer:
    """Real values as the pixels that they stand for, for a tensor that takes pixels (``contract.pixels``).

    Keeps its memory between calls. Owned by one thread.

    Args:
        name: Of the tensor, for errors.
        recipe: From an image to the real values.
    """

    def __init__(self, name: str, recipe: ImagePreprocessing) -> None:
        self._name = name
        self._recipe = recipe
        self._stored = np.empty((1, *recipe.shape), np.uint8)
        self._lines = self._stored.reshape(recipe.height, -1)
        self._at_once = max(1, _BLOCK // self._lines.shape[1])

    def quantize(self, real: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Check and quantize; the result is overwritten by the next call.

        Args:
            real: May be memory that another process writes to: what is checked is what is stored.

        Raises:
            InputError: Values are not finite.
        """
        lines = real.reshape(self._lines.shape)
        with np.errstate(over="ignore"):
            for start in range(0, len(lines), self._at_once):
                block = lines[start : start + self._at_once].copy()
                check_finite(block, self._name)
                self._lines[start : start + self._at_once] = to_pixels(block, self._recipe)
        return self._stored
