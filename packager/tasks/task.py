"""What the gate needs of a task: samples, a score for each, and the metric over many.

PURE. Rules:

1. A task is bound to its evaluation samples. The runner asks for inputs, runs a model, hands the outputs back, and
   gets one row of scores a sample. Rows are all that is kept; they hold whatever the metric is computed from.
2. The metric over all samples is what a well-kept library says (docs/adr/0042). It is also a function of how often each
   sample counts: a bootstrap counts them as they were drawn, all draws in one call. Counted once each, both are equal.
3. A metric is 0 to 1, and more is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]
"""(N, ...): row by row what the metric is computed from. Classification: (N,) the class that was answered;
segmentation: (N, 2, classes) intersections and unions; and so on. A row of a useless output is NaN-free too: wrong."""
Counts = npt.NDArray[np.float64]
"""(R, N): how often each sample counts, in each of R draws."""


class Inputs(Protocol):
    """Samples that a model can be fed with; what static quantization learns its ranges from."""

    @property
    def sha256(self) -> str:
        """Digest over the samples, and over what is true of them where that is known."""
        ...

    @property
    def preparation(self) -> str:
        """How inputs are made of samples, as text: preprocessing with all its numbers."""
        ...

    @property
    def digests(self) -> Sequence[bytes]:
        """N digests, each over the content of one sample; equal ones are the same picture, sound or row."""
        ...

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def inputs(self, positions: Sequence[int]) -> tuple[Array, ...]:
        """What the model is fed with for these samples.

        Returns:
            One array per input of the model, in its order, (positions, ...) without a batch dimension: float32 real
            values for float inputs, the input's own type for integers.
        """
        ...


@runtime_checkable
class ManyClasses(Protocol):
    """A task whose samples are of several classes at once, so that ``strata`` does not name them all."""

    @property
    def absent(self) -> tuple[str, ...]:
        """Names of the classes that no sample has."""
        ...


class Task(Inputs, Protocol):
    """A task bound to its evaluation samples; equal ``sha256`` make the metrics of two runs comparable.

    A module of ``packager.tasks`` has one class that implements it and one function that reads a folder into it.
    """

    @property
    def metric(self) -> str:
        """Its name in manifests, reports and error texts, for example ``accuracy``."""
        ...

    @property
    def scoring(self) -> str:
        """What scores follow from beside samples and inputs, as text: which task, thresholds."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that ``per_class`` tells of, in its order; empty where the task has none."""
        ...

    @property
    def strata(self) -> npt.NDArray[np.int64]:
        """(N,) which kind each sample is of; golden samples are spread over the kinds. All 0 where there are none."""
        ...

    def score(self, outputs: Sequence[Array], positions: Sequence[int]) -> Scores:
        """Judge outputs.

        Args:
            outputs: One array per output of the model, in its order, (positions, ...): float32 real values, which may
                hold NaN and infinities, which count as wrong; integers as they are.
            positions: Which samples they are for.

        Returns:
            (positions, ...) scores.
        """
        ...

    def margin(self, outputs: Sequence[Array]) -> Floats:
        """(positions,) float32: by how much the first output may move before its best class changes, or half as far.

        Classification: the best score's lead. Infinite where a task has no best class.
        """
        ...

    def measure(self, scores: Scores) -> float:
        """The metric over all samples, by the library: 0 to 1 of (N, ...) scores."""
        ...

    def aggregate(self, scores: Scores, counts: Counts) -> npt.NDArray[np.float64]:
        """The metric of each draw.

        Args:
            scores: (N, ...) over all samples.
            counts: (R, N) how often each counts, whole numbers; the sum of every row is the same, and above 0.

        Returns:
            (R,) 0 to 1.
        """
        ...

    def per_class(self, scores: Scores) -> npt.NDArray[np.float64]:
        """The metric of each class, (classes,) 0 to 1; NaN for a class that no sample is of."""
        ...


@runtime_checkable
class Relative(Protocol):
    """A task whose metric says how near a variant stays to the float model, sample by sample.

    Before the reference is known, it measures the float model, which is its own reference. Rows of scores do not depend
    on the reference; only what is computed from them does.
    """

    def with_reference(self, scores: Scores) -> Task:
        """The same task, knowing the float model's (N, ...) scores."""
        ...
