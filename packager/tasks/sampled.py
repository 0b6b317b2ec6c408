"""What tasks have in common: samples that a model is fed with, no classes, no best class.

PURE. Rules:

1. A task says only what differs: metric, scoring, score, measure, aggregate; and classes where it has some.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from packager.tasks.task import Array, Floats, Inputs, Scores


@dataclass(frozen=True)
class SampledTask:
    """The common part of ``packager.tasks.task.Task``.

    Attributes:
        samples: What the model is fed with.
    """

    samples: Inputs

    @property
    def sha256(self) -> str:
        """Digest over samples and what is true of them."""
        return self.samples.sha256

    @property
    def preparation(self) -> str:
        """How inputs are made of samples."""
        return self.samples.preparation

    @property
    def digests(self) -> Sequence[bytes]:
        """N digests over the samples' content."""
        return self.samples.digests

    @property
    def classes(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def strata(self) -> npt.NDArray[np.int64]:
        """(N,) all 0."""
        return np.zeros(len(self), dtype=np.int64)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.samples)

    def inputs(self, positions: Sequence[int]) -> tuple[Array, ...]:
        """(positions, ...) of each input."""
        return self.samples.inputs(positions)

    def margin(self, outputs: Sequence[Array]) -> Floats:
        """(positions,) infinite: there is no best class."""
        return np.full(len(outputs[0]), np.inf, dtype=np.float32)

    def per_class(self, scores: Scores) -> npt.NDArray[np.float64]:
        """Nothing: there are no classes."""
        return np.empty(len(scores[:0]))
