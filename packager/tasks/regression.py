"""Regression: models that answer numbers, measured against true ones.

Metrics, 0 to 1 (the formulas and their proof against scikit-learn: ``docs/adr/0034``):

* ``r2``: the coefficient of determination, 1 - squared errors / squared distances from the mean, the mean over all
  target values; below 0 it is 0. A target that never changes counts 1 where every answer is exact, else 0
  (``sklearn.metrics.r2_score`` with ``force_finite``).
* ``within``: share of samples of which every value is at most ``tolerance`` off.

Guarantees: an answer that is not finite is wrong: ``within`` counts it so, and any set with one in it has an ``r2`` of
0. Does not judge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from contract.errors import ConfigError
from contract.manifest import Task as TaskName
from packager.description import Source
from packager.tasks.kind import DataRequest, Kind, Loaded, Presentation
from packager.tasks.plain import refuse_image_settings, refuse_labels
from packager.tasks.task import Array, Counts, Floats, Inputs, Scores
from packager.tasks.tensor_data import check_length, load_calibration_tensors, names, open_tensors
from packager.tasks.top1 import weighted_share

R2 = "r2"
WITHIN = "within"
_METRICS = (R2, WITHIN)


class RegressionOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of task ``regression``.

    Attributes:
        features: Columns of a ``.csv`` in the order of the inputs' values; none for columns named after the inputs.
        target: Columns of a ``.csv`` with the true values; or the array of an ``.npz``.
        metric: ``r2`` or ``within``.
        tolerance: How far off an answer may be for ``within``, in the target's unit.
    """

    features: str | tuple[str, ...] = ()
    target: str | tuple[str, ...] = "target"
    metric: str = R2
    tolerance: float = 0.0


@dataclass(frozen=True)
class Regression:
    """Samples with true values; implements ``packager.tasks.task.Task``.

    Attributes:
        samples: What the model is fed with.
        targets: (N, values) float64, of all outputs side by side.
        kind: ``r2`` or ``within``.
        tolerance: For ``within``.
        columns: How the targets are called, as text.
    """

    samples: Inputs
    targets: npt.NDArray[np.float64]
    kind: str = R2
    tolerance: float = 0.0
    columns: str = ""

    @property
    def metric(self) -> str:
        """Which of the two."""
        return self.kind

    @property
    def sha256(self) -> str:
        """Digest of the file."""
        return self.samples.sha256

    @property
    def preparation(self) -> str:
        """Which columns or arrays are fed."""
        return self.samples.preparation

    @property
    def scoring(self) -> str:
        """Metric, tolerance and targets."""
        return f"{self.kind}, tolerance {self.tolerance:g}, of {self.columns}"

    @property
    def digests(self) -> Sequence[bytes]:
        """N digests over the inputs."""
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
        return len(self.targets)

    def inputs(self, positions: Sequence[int]) -> tuple[Array, ...]:
        """(positions, ...) of each input."""
        return self.samples.inputs(positions)

    def score(self, outputs: Sequence[Array], positions: Sequence[int]) -> Scores:
        """(positions, values + 1) absolute errors, then 1 where an answer is not finite (its errors are 0), else 0."""
        answers = np.concatenate(
            [output.reshape(len(output), -1) for output in outputs], axis=1, dtype=np.float64
        )
        is_finite = np.isfinite(answers).all(axis=1, keepdims=True)
        errors = np.where(is_finite, answers, 0.0) - np.where(is_finite, self.targets[list(positions)], 0.0)
        rows: Scores = np.concatenate([np.abs(errors), (~is_finite).astype(np.float64)], axis=1)
        return rows

    def margin(self, outputs: Sequence[Array]) -> Floats:
        """(positions,) infinite: there is no best class."""
        return np.full(len(outputs[0]), np.inf, dtype=np.float32)

    def aggregate(self, scores: Scores, counts: Counts) -> npt.NDArray[np.float64]:
        """(R,) the metric of each draw."""
        errors, useless = scores[:, :-1], scores[:, -1]
        if self.kind == WITHIN:
            is_near = (errors <= self.tolerance).all(axis=1)
            return weighted_share(np.where(useless > 0, 0.0, is_near.astype(np.float64)), counts)
        return np.where(counts @ useless > 0, 0.0, r2(errors, self.targets, counts))

    def per_class(self, scores: Scores) -> npt.NDArray[np.float64]:
        """Nothing: there are no classes."""
        return np.empty(len(scores[:0]))


def r2(errors: Scores, targets: npt.NDArray[np.float64], counts: Counts) -> npt.NDArray[np.float64]:
    """Coefficient of determination of each draw, averaged over the target values, 0 to 1.

    Args:
        errors: (N, values) absolute.
        targets: (N, values).
        counts: (R, N).
    """
    centred = targets - targets.mean(
        axis=0
    )  # the spread does not depend on it, and sums of squares keep their digits
    sums = counts.sum(axis=1, keepdims=True)
    residual = counts @ np.square(errors)
    spread = counts @ np.square(centred) - np.square(counts @ centred) / sums
    # What rounding leaves of a spread that is 0: a value's square, by the relative error of a sum over N terms.
    noise = (
        np.finfo(np.float64).eps
        * len(targets)
        * (counts @ np.square(centred) + np.square(targets).max(axis=0))
    )
    is_constant = spread <= noise
    share = 1.0 - residual / np.where(is_constant, 1.0, spread)
    constant = np.where(residual > 0, 0.0, 1.0)
    mean: npt.NDArray[np.float64] = np.where(is_constant, constant, share).mean(axis=1)
    return np.clip(mean, 0.0, 1.0)


def _border_faults(source: Source, _: Any) -> list[str]:
    return [
        f"output {spec.name} is {spec.dtype.value}, which has no spread to explain"
        for spec in source.outputs
        if spec.dtype.value == "bool"
    ]


def _load(request: DataRequest) -> Loaded:
    options: RegressionOptions = request.options
    if options.metric not in _METRICS:
        raise ConfigError(
            f"there is no metric {options.metric[:40]!r} of regression",
            remedy=f"known: {', '.join(_METRICS)}",
        )
    if (
        not math.isfinite(options.tolerance)
        or options.tolerance < 0
        or (options.metric == R2 and options.tolerance)
    ):
        raise ConfigError(
            "tolerance is how far off an answer may be for metric within: finite and not negative"
        )
    refuse_image_settings(request)
    refuse_labels(request)
    features, columns = names(options.features), names(options.target)
    source = request.source
    file = open_tensors(request.evaluation, "evaluation")
    samples = file.samples(source.inputs, features)
    if file.table is not None and len(source.outputs) > 1:
        raise ConfigError(
            f"the model has {len(source.outputs)} outputs, and a .csv has no columns for each",
            remedy="give an .npz with one array per input and output",
        )
    is_only = len(source.outputs) == 1
    parts = [file.targets(columns, spec, is_only=is_only) for spec in source.outputs]
    for part in parts:
        check_length(part, samples, file.what)
    return Loaded(
        task=Regression(
            samples, np.concatenate(parts, axis=1), options.metric, options.tolerance, ",".join(columns)
        ),
        calibration=load_calibration_tensors(request.calibration, source.inputs, features),
        presentation=Presentation(task=TaskName.REGRESSION),
    )


KIND = Kind(
    name="regression",
    wants="any inputs, and outputs of numbers",
    options=RegressionOptions,
    borders=_border_faults,
    load=_load,
)
