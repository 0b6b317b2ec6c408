"""A quantized output left as the model stores it: the application's side makes real values and classes of it.

PURE. Rules:

1. An inference leaves its core's caches cold, so that each step after it takes ten times as long. The application waits
   awake meanwhile and has gone through the last answer once more (``connection``): what it can do, it does sooner.
2. Both sides compute with ``postprocess``, so a result does not depend on who computed it.
3. The values lie where the real ones would, from the same first byte on: no memory is laid out otherwise.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from edge_agent.inference.postprocess import Dequantizer
from edge_agent.inference.protocol import ScoredClass, StoredOutput


class StoredReader:
    """The application's side. Used by one thread at a time.

    Args:
        stored: How to read it.
        place: Where the real values of the output would lie, float32.
    """

    def __init__(self, stored: StoredOutput, place: npt.NDArray[np.float32]) -> None:
        self._top_k = stored.top_k
        self._labels = stored.labels
        self._values = values_at(place, stored)
        self._dequantizer = _dequantizer_of(
            stored.scale, stored.zero_point, self._values.dtype.name, self._values.size
        )
        self._found = self._values

    def read(self) -> tuple[ScoredClass, ...]:
        """Take over what the worker left there, and find the best classes."""
        found = self._found = self._values.copy()
        if not self._top_k:
            return ()
        labels = self._labels
        best = self._dequantizer.best(found.copy(), self._top_k)
        return tuple(
            [ScoredClass(index, score, labels[index] if index < len(labels) else "") for index, score in best]
        )

    def real(self) -> npt.NDArray[np.float32]:
        """Real values of what was taken over; the caller's own."""
        return self._dequantizer.real(self._found)


def values_at(place: npt.NDArray[np.float32], stored: StoredOutput) -> npt.NDArray[np.int8 | np.uint8]:
    """The stored values in the shape of the real ones, as a view of where those would lie."""
    values: npt.NDArray[np.int8 | np.uint8] = place.reshape(-1).view(stored.dtype.value)
    return values[: place.size].reshape(place.shape)


@functools.lru_cache(maxsize=16)
def _dequantizer_of(scale: float, zero_point: int, dtype: str, size: int) -> Dequantizer:
    """Making its table takes as long as an answer, and after a switch versions often have the same."""
    return Dequantizer(scale, zero_point, np.dtype(dtype), size)
