"""Samples that are held as plain arrays: rows of tables, sounds, whatever a user's own code makes.

PURE. Rules:

1. Values are kept as the input's own type. What that type cannot hold exactly, and what is not finite, is refused;
   only float32 rounds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from contract.errors import ManifestError
from contract.tensor import TensorSpec
from packager.description import sample_shape
from packager.tasks.task import Array

SET_MAX_BYTES = 2 << 30
"""Of all arrays of one set: 2 GiB, as for images."""


@dataclass(frozen=True)
class ArraySamples:
    """Samples in memory; implements ``packager.tasks.task.Inputs``.

    Attributes:
        arrays: One per model input, (N, ...) in its type.
        sha256: Digest over what they were read from.
        preparation: How they were made of it, as text.
    """

    arrays: tuple[Array, ...]
    sha256: str
    preparation: str

    @property
    def digests(self) -> Sequence[bytes]:
        """N digests over the values of all inputs."""
        return [_digest([array[row] for array in self.arrays]) for row in range(len(self))]

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.arrays[0])

    def inputs(self, positions: Sequence[int]) -> tuple[Array, ...]:
        """(positions, ...) of each input."""
        return tuple(array[list(positions)] for array in self.arrays)

    def mixed(self) -> ArraySamples:
        """The same samples in the order of their digests: as mixed as it gets, and the same on every machine.

        Calibration wants that, see ``packager.calibration``.
        """
        digests = self.digests
        order = sorted(range(len(self)), key=digests.__getitem__)
        return ArraySamples(tuple(array[order] for array in self.arrays), self.sha256, self.preparation)


def _digest(values: Sequence[Array]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for value in values:
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.digest()


def sample_elements(spec: TensorSpec) -> int:
    """Number of values in one sample."""
    return math.prod(sample_shape(spec))


def as_input(values: Array, spec: TensorSpec, what: str) -> Array:
    """Values as an input takes them.

    Args:
        values: (N, ...) real numbers, as many in a row as the input takes.
        spec: The input.
        what: Where they come from, for error texts.

    Returns:
        (N, ...) in the input's shape and type.

    Raises:
        ManifestError: Another number of values, values of another kind, or one that the input cannot hold.
    """
    wanted = sample_shape(spec)
    if values.dtype.kind not in "fiub":
        raise ManifestError(f"{what} holds {values.dtype}, numbers are needed")
    if values.ndim < 1 or not len(values):
        raise ManifestError(f"{what} holds no sample")
    if values.shape[1:] != wanted and values.size != len(values) * math.prod(wanted):
        raise ManifestError(
            f"{what} has shape {values.shape}, input {spec.name} takes {wanted or '()'} for each sample"
        )
    shaped = values.reshape(len(values), *wanted)
    _check_finite(shaped, what)
    kept = _converted(shaped, np.dtype(spec.dtype.value))
    exact = kept == shaped
    if spec.dtype.value.startswith("float"):
        _check_finite(kept, what)
    elif not exact.all():
        row = int(np.flatnonzero(~exact.reshape(len(values), -1).all(axis=1))[0])
        raise ManifestError(
            f"{what}: sample {row + 1} has a value that input {spec.name} cannot hold, it is {spec.dtype.value}"
        )
    return kept


def _converted(values: Array, dtype: np.dtype[Any]) -> Array:
    with np.errstate(invalid="ignore", over="ignore"):  # what does not fit is found by comparing
        converted: Array = values.astype(dtype)
    return converted


def _check_finite(values: Array, what: str) -> None:
    if values.dtype.kind != "f":
        return
    is_finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if not is_finite.all():
        row = int(np.flatnonzero(~is_finite)[0])
        raise ManifestError(
            f"{what}: sample {row + 1} has a value that is missing, infinite or too large",
            remedy="leave the sample out, or fill it in as your application does",
        )
