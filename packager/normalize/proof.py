"""Whether a changed model still answers as the original.

PURE. Rules:

1. The same inputs go to both; every output must have the same shape and type, and the same places that are not finite.
2. An output may differ by ``TOLERANCE`` of its largest value: both compute with the same float32 weights, so only the
   order of sums can differ. Integers must be equal.
3. Inputs are drawn from the caller's generator: real ones from 0 to 1 and around 0, integers 0 or 1, which index any
   table that has two rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

TOLERANCE = 1e-4
"""Of the largest value of an output. Float16 keeps 11 bits, so a single rounding to it is off by up to 4.9e-4; float32
24 bits, 6e-8, and a thousand sums in another order about 1e-5. Own measurement with 11 models of the mediapipe 0.10.14
wheel: 0 for all of them."""
ROUNDS = 4

Array = npt.NDArray[Any]


def draw_inputs(
    ports: Sequence[tuple[tuple[int, ...], np.dtype[Any]]], turn: int, generator: np.random.Generator
) -> list[Array]:
    """Inputs of one round, one array per port.

    Args:
        ports: Shape and type of each input.
        turn: Number of the round: even ones draw real values from 0 to 1, odd ones around 0.
        generator: Where randomness comes from.
    """
    return [_draw(shape, dtype, turn, generator) for shape, dtype in ports]


def _draw(shape: tuple[int, ...], dtype: np.dtype[Any], turn: int, generator: np.random.Generator) -> Array:
    if dtype.kind == "f":
        drawn = generator.random(shape) if turn % 2 == 0 else generator.standard_normal(shape)
        return np.asarray(drawn, dtype=dtype)
    if dtype.kind in "iub":
        return generator.integers(0, 2, shape).astype(dtype)
    return np.zeros(shape, dtype=dtype)


def find_difference(names: Sequence[str], wanted: Sequence[Array], found: Sequence[Array]) -> str:
    """Say how a round's outputs differ beyond the tolerance; empty when they do not.

    Args:
        names: Of the outputs.
        wanted: What the original gave.
        found: What the changed model gave.
    """
    for name, left, right in zip(names, wanted, found, strict=True):
        if left.shape != right.shape or left.dtype != right.dtype:
            return f"output {name} is {right.dtype} {right.shape} instead of {left.dtype} {left.shape}"
        if left.dtype.kind != "f":
            if not np.array_equal(left, right):
                return f"output {name} has other values"
            continue
        share = largest_share(left, right)
        if share > TOLERANCE:
            return f"output {name} is off by {share:.2g} of its largest value, {TOLERANCE:g} is allowed"
    return ""


def largest_difference(wanted: Sequence[Array], found: Sequence[Array]) -> float:
    """The largest ``largest_share`` over all real outputs of a round; 0 when there are none."""
    pairs = zip(wanted, found, strict=True)
    return max((largest_share(left, right) for left, right in pairs if left.dtype.kind == "f"), default=0.0)


def largest_share(wanted: Array, found: Array) -> float:
    """The largest difference of two real arrays of one shape, as a share of the largest value.

    Infinite where only one of them is not finite, or where they are not finite in different ways.
    """
    finite = np.isfinite(wanted)
    if not np.array_equal(finite, np.isfinite(found)):
        return float("inf")
    if not np.array_equal(wanted[~finite], found[~finite], equal_nan=True):
        return float("inf")
    left, right = wanted[finite].astype(np.float64), found[finite].astype(np.float64)
    if not left.size:
        return 0.0
    scale = max(float(np.abs(left).max()), float(np.finfo(np.float32).tiny))
    return float(np.abs(left - right).max()) / scale
