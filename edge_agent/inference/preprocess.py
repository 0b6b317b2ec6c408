"""From what an application has to what a model takes.

PURE. Rules:

1. Images are prepared by ``contract.vision``, as the packager does when it measures.
2. Quantizing rounds ties to even, as XNNPACK's conversion and numpy do; TFLite's reference kernel rounds them away
   from zero. The two differ by one step, and only for a value exactly half way between two.
3. A value outside the range is the nearest end of it; one that is not finite is refused.
4. Where a model takes pixels (``contract.pixels``), a real value becomes the nearest pixel.
5. Values are taken block by block, each operation on its own: fewer passes, by the reciprocal of the scale or by
   whole numbers, would round some values otherwise. They are brought into the range first, so that none becomes an
   infinite number of steps.
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
    if real.dtype.kind != "f":
        return
    # Both ends are found in two thirds of the time of a sum, and either is NaN where any value is.
    ends = np.minimum.reduce(real, axis=None), np.maximum.reduce(real, axis=None)
    if not (math.isfinite(ends[0]) and math.isfinite(ends[1])):
        raise _not_finite(name)


def _not_finite(name: str) -> InputError:
    return InputError(f"input {name!r} has values that are not finite")


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
        largest = float(np.finfo(np.float32).max)
        self._name = name
        # Arrays without dimensions: of a number numpy makes one at every call, which takes as long as 64 values.
        self._lowest, self._highest = (
            np.array(min(largest, max(-largest, (end - zero_point) * float(np.float32(scale)))), np.float32)
            for end in (int(limits.min), int(limits.max))
        )
        self._scale, self._zero_point = np.array(scale, np.float32), np.array(zero_point, np.float32)
        self._stored = np.empty(shape, dtype)
        self._flat = self._stored.reshape(-1)
        at_once = min(_BLOCK, self._flat.size)
        self._steps = np.empty(at_once, np.float32)
        self._marks = bytearray(at_once)
        self._are_finite = np.frombuffer(self._marks, np.bool_)

    def quantize(self, real: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Check and quantize; the result is overwritten by the next call.

        Args:
            real: May be memory that another process writes to: what is checked is what is stored.

        Raises:
            InputError: Values are not finite.
        """
        flat, stored = real.reshape(-1), self._flat
        if len(flat) <= _BLOCK:
            self._quantize_block(flat, stored, self._steps, self._are_finite)
            return self._stored
        for start in range(0, len(flat), _BLOCK):
            block = flat[start : start + _BLOCK]
            count = len(block)
            self._quantize_block(
                block, stored[start : start + _BLOCK], self._steps[:count], self._are_finite[:count]
            )
        return self._stored

    def _quantize_block(
        self,
        real: npt.NDArray[np.float32],
        stored: npt.NDArray[Any],
        steps: npt.NDArray[np.float32],
        are_finite: npt.NDArray[np.bool_],
    ) -> None:
        steps[...] = real
        np.isfinite(steps, are_finite)
        if 0 in self._marks:  # what an earlier block left there is not 0: it would have been refused
            raise _not_finite(self._name)
        steps.clip(self._lowest, self._highest, steps)
        np.divide(steps, self._scale, steps)
        np.rint(steps, steps)
        np.add(steps, self._zero_point, steps)
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
