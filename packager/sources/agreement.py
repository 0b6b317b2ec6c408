"""Whether a converted model answers as its source did.

PURE. Rules:

1. Compared is every output on every sample. Real values: the largest difference, as a share of the largest
   magnitude that the source gave in that output; at most ``MAX_RELATIVE_ERROR``. Whole numbers: the share of
   elements that differ; at most ``MAX_CHANGED``.
2. What is not finite in one must be the same in the other: the share of elements that differ counts as rule 1's.
3. A converter may turn channels: when an output has the source's shape with channels last, it is compared turned.
   Where both orders have the same shape, the one that agrees better counts.
4. An output that is missing, or of another shape, does not agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_RELATIVE_ERROR = 1e-3
"""Float32 with another order of additions is off by 1e-7 to 1e-5 of an output's magnitude in our own measurements
(digits CNN in four frameworks: at most 2.4e-7); a wrong layout, padding or operator by 1e-2 to 1."""
MAX_CHANGED = 0.01
"""Of whole numbers: an argmax may fall the other way where two scores are equal but for rounding."""
_SMALLEST_MAGNITUDE = 1e-6

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class OutputAgreement:
    """How one output agrees.

    Attributes:
        name: Its name.
        error: Rule 1's figure, 0 for the same.
        limit: What it may be.
        source_shape: Of one sample in the source.
        shape: Of one sample in the converted model; empty when it has none.
        samples: How many were compared.
    """

    name: str
    error: float
    limit: float
    source_shape: tuple[int, ...]
    shape: tuple[int, ...]
    samples: int

    @property
    def is_close(self) -> bool:
        """Whether it agrees."""
        return self.error <= self.limit

    def describe(self) -> str:
        """For error texts and reports."""
        if not self.shape:
            return f"output {self.name} {self.source_shape} is missing, or has another shape"
        return (
            f"output {self.name} {self.shape}: largest difference {self.error:.2g} of its magnitude over "
            f"{self.samples} inputs, at most {self.limit:g} is accepted"
        )


def compare(expected: Mapping[str, Array], found: Mapping[str, Array]) -> tuple[OutputAgreement, ...]:
    """Compare outputs by name.

    Args:
        expected: The source's, (samples, ...) each.
        found: The converted model's, (samples, ...) each.
    """
    return tuple(_compare(name, rows, found.get(name)) for name, rows in expected.items())


def _compare(name: str, expected: Array, found: Array | None) -> OutputAgreement:
    is_real = expected.dtype.kind == "f"
    limit = MAX_RELATIVE_ERROR if is_real else MAX_CHANGED
    shape = expected.shape[1:]
    turned = _matching(expected, found) if found is not None else []
    if found is None or not turned:
        return OutputAgreement(name, float("inf"), limit, shape, (), len(expected))
    error = min((_real_error if is_real else _changed)(rows, found) for rows in turned)
    return OutputAgreement(name, error, limit, shape, found.shape[1:], len(expected))


def _matching(expected: Array, found: Array) -> list[Array]:
    """The source's output in the orders that have the found shape."""
    orders = [expected]
    if expected.ndim >= 4:
        orders.append(np.moveaxis(expected, 2, -1))  # samples, batch, channels, ...
    return [rows for rows in orders if rows.shape == found.shape]


def _real_error(expected: Array, found: Array) -> float:
    finite = np.isfinite(expected) & np.isfinite(found)
    same = finite | (np.isnan(expected) & np.isnan(found)) | (expected == found)
    if not same.all():
        return float(1 - same.mean())
    difference = np.abs(np.where(finite, expected, 0.0) - np.where(finite, found, 0.0))
    magnitude = np.abs(np.where(finite, expected, 0.0)).max(initial=_SMALLEST_MAGNITUDE)
    return float(difference.max(initial=0.0) / magnitude)


def _changed(expected: Array, found: Array) -> float:
    return float((expected != found).mean()) if expected.size else 0.0
