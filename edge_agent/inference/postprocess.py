"""From what a model gives to what an application wants.

PURE. Rules:

1. real = (stored - zero_point) * scale, computed in float32.
2. Best classes first; of equal scores the lower index first, so that an answer does not depend on a sort.
3. A model that gives NaN has failed: there is no result to show.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.errors import InferenceError

_FEW_CLASSES = 8
"""Up to so many, finding the best one by one takes less time than sorting 1,000."""
_LOOKED_UP = 4096
"""Values. Up to so many, one look into a table takes less time than three operations: 49 against 63 microseconds for
1,000 values after an inference that left the caches cold. Looking up makes an index of 8 bytes a value."""


class Dequantizer:
    """Real values of a quantized output; see ``dequantize``.

    Args:
        scale: Above 0.
        zero_point: What stands for 0.
        dtype: As stored.
        size: Number of values.
    """

    def __init__(self, scale: float, zero_point: int, dtype: np.dtype[Any], size: int) -> None:
        self._scale = scale
        self._zero_point = zero_point
        self._table: npt.NDArray[np.float32] | None = None
        if dtype.itemsize == 1 and size <= _LOOKED_UP:
            self._table = dequantize(np.arange(256, dtype=np.uint8).view(dtype), scale, zero_point)

    def real(self, stored: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Real values in the shape of the stored ones."""
        if self._table is None:
            return dequantize(stored, self._scale, self._zero_point)
        return self._table.take(stored.view(np.uint8))


def dequantize(stored: npt.NDArray[Any], scale: float, zero_point: int) -> npt.NDArray[np.float32]:
    """Real values of a quantized output."""
    real = stored.astype(np.float32)
    real -= np.float32(zero_point)
    real *= np.float32(scale)
    return real


def check_numbers(real: npt.NDArray[np.float32], name: str) -> None:
    """Refuse an output with NaN.

    Raises:
        InferenceError: With the output's name.
    """
    if np.isnan(real).any():
        raise InferenceError(f"the model gave values that are not numbers in output {name!r}")


def softmax(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Logits (classes,) as probabilities (classes,) that add up to 1; float32."""
    powers = np.exp(scores - scores.max())
    result: npt.NDArray[np.float32] = powers / powers.sum()
    return result


def best_classes(scores: npt.NDArray[np.float32], count: int) -> list[tuple[int, float]]:
    """Index and score of the best classes.

    Args:
        scores: (classes,) float32.
        count: How many, at most as many as there are.
    """
    found = _best_few(scores, min(count, len(scores))) if count <= _FEW_CLASSES else []
    if found:
        return found
    order = (-scores).argsort(kind="stable")[:count]
    return list(zip(order.tolist(), scores[order].tolist(), strict=True))


def _best_few(scores: npt.NDArray[np.float32], count: int) -> list[tuple[int, float]]:
    """The best one after the other, which is faster than sorting; none where a score is no number or minus infinity."""
    left = scores.copy()
    found: list[tuple[int, float]] = []
    for _ in range(count):
        index = int(left.argmax())
        score = float(left[index])
        if not score > -math.inf:
            return []
        found.append((index, score))
        left[index] = -math.inf
    return found
