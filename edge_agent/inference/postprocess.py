"""From what a model gives to what an application wants.

PURE. Rules:

1. real = (stored - zero_point) * scale, computed in float32.
2. Best classes first; of equal scores the lower index first, so that an answer does not depend on a sort.
3. A model that gives NaN has failed: there is no result to show.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from contract.errors import InferenceError


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
    if count == 1:
        return [(int(scores.argmax()), float(scores.max()))]
    order = (-scores).argsort(kind="stable")[:count]
    return list(zip(order.tolist(), scores[order].tolist(), strict=True))
