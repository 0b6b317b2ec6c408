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

FEW_CLASSES = 8
"""Up to so many, finding the best one by one takes less time than sorting 1,000."""
_LOOKED_UP = 4096
"""Values. Up to so many, one look into a table takes less time than three operations: 49 against 63 microseconds for
1,000 values after an inference that left the caches cold. Looking up makes an index of 8 bytes a value."""


class Dequantizer:
    """Real values of a quantized output; see ``dequantize``.

    Attributes:
        keeps_order: Whether values are few and looked up, and a greater one is greater as it is stored already.

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
        self._by_byte: list[float] = []
        self._lowest = 0
        self.keeps_order = False
        if dtype.itemsize == 1 and size <= _LOOKED_UP:
            every = np.arange(256, dtype=np.uint8).view(dtype)
            self._table = dequantize(every, scale, zero_point)
            self._by_byte = self._table.tolist()
            self._lowest = int(every.min())
            self.keeps_order = bool((np.diff(self._table[every.argsort()]) > 0).all())

    def real(self, stored: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Real values in the shape of the stored ones."""
        if self._table is None:
            return dequantize(stored, self._scale, self._zero_point)
        return self._table.take(stored.view(np.uint8))

    def best(self, stored: npt.NDArray[Any], count: int) -> list[tuple[int, float]]:
        """``best_classes`` of the real values, where ``keeps_order``; spoils the stored ones.

        Args:
            stored: Any shape; the caller's own.
            count: How many, at most as many as there are.
        """
        left, lowest, real = stored.reshape(-1), self._lowest, self._by_byte
        found: list[tuple[int, float]] = []
        for _ in range(count):
            index = int(left.argmax())
            value = left.item(index)
            if value == lowest:
                return self._with_equals(found, count)
            found.append((index, real[value & 255]))
            left[index] = lowest
        return found

    def _with_equals(self, found: list[tuple[int, float]], count: int) -> list[tuple[int, float]]:
        """As many as were wanted, with the first of those that were not found: all of them are the lowest."""
        taken = {index for index, _ in found}
        score = self._by_byte[self._lowest & 255]
        places = [place for place in range(count) if place not in taken][: count - len(found)]
        return found + [(at, score) for at in places]


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


def best_numbers(scores: npt.NDArray[np.float32], count: int, name: str) -> list[tuple[int, float]]:
    """``check_numbers`` and ``best_classes`` in one: of scores that are looked through for the best, NaN is the first.

    Args:
        scores: As for ``best_classes``.
        count: At least one, at most ``FEW_CLASSES``.
        name: Of the output.

    Raises:
        InferenceError: There is NaN, with the output's name.
    """
    found = _best_few(scores, min(count, len(scores)))
    if not found:
        check_numbers(scores, name)
    return found or best_classes(scores, count)


def softmax(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Logits (classes,) as probabilities (classes,) that add up to 1; float32."""
    powers = np.exp(scores - scores.max())
    result: npt.NDArray[np.float32] = powers / powers.sum()
    return result


def best_classes(scores: npt.NDArray[np.float32], count: int) -> list[tuple[int, float]]:
    """Index and score of the best classes.

    Args:
        scores: (classes,) float32, the caller's own: values are taken out meanwhile.
        count: How many, at most as many as there are.
    """
    found = _best_few(scores, min(count, len(scores))) if count <= FEW_CLASSES else []
    if found:
        return found
    order = (-scores).argsort(kind="stable")[:count]
    return list(zip(order.tolist(), scores[order].tolist(), strict=True))


def _best_few(scores: npt.NDArray[np.float32], count: int) -> list[tuple[int, float]]:
    """The best one after the other, which is faster than sorting; none where a score is no number or minus infinity."""
    found: list[tuple[int, float]] = []
    for _ in range(count):
        index = int(scores.argmax())
        score = float(scores[index])
        if not score > -math.inf:
            break
        found.append((index, score))
        scores[index] = -math.inf
    for index, score in found:  # a copy would take longer than to put them back
        scores[index] = score
    return found if len(found) == count else []
