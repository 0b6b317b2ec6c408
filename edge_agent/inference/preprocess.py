"""From what an application has to what a model takes.

PURE. Rules:

1. Images are prepared by ``contract.vision``, as the packager does when it measures.
2. Quantizing rounds ties to even, as XNNPACK's conversion and numpy do; TFLite's reference kernel rounds them away
   from zero. The two differ by one step, and only for a value exactly half way between two.
3. A value outside the range is the nearest end of it; one that is not finite is refused.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.errors import InputError


def check_finite(real: npt.NDArray[Any], name: str) -> None:
    """Refuse a tensor with values that are not numbers.

    Raises:
        InputError: With the tensor's name.
    """
    # One sum tells nearly always, at a third of the price of looking at every value.
    if (
        real.dtype.kind == "f"
        and not math.isfinite(np.add.reduce(real, axis=None))
        and not np.isfinite(real).all()
    ):
        raise InputError(f"input {name!r} has values that are not finite")


class Quantizer:
    """Real values as a quantized tensor stores them: round(real / scale) + zero_point, within the dtype's range.

    Keeps its memory between calls. Owned by one thread.

    Args:
        shape: Of the tensor.
        scale: Above 0.
        zero_point: What stands for 0.
        dtype: int8, uint8 or int16.
    """

    def __init__(self, shape: tuple[int, ...], scale: float, zero_point: int, dtype: np.dtype[Any]) -> None:
        limits = np.iinfo(dtype)
        self._scale = np.float32(scale)
        self._zero_point = np.float32(zero_point)
        self._lowest, self._highest = np.float32(limits.min), np.float32(limits.max)
        self._steps = np.empty(shape, np.float32)
        self._stored = np.empty(shape, dtype)

    def quantize(self, real: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Quantize finite values; the result is overwritten by the next call."""
        steps = self._steps
        np.divide(real, self._scale, out=steps)
        np.rint(steps, out=steps)
        np.add(steps, self._zero_point, out=steps)
        np.maximum(steps, self._lowest, out=steps)
        np.minimum(steps, self._highest, out=steps)
        self._stored[...] = steps
        return self._stored
