"""Regression: models that answer numbers, measured against true ones.

Metrics, 0 to 1, by scikit-learn:

* ``r2``: the coefficient of determination, 1 - squared errors / squared distances from the mean, the mean over all
  target values; below 0 it is 0. A target that never changes counts 1 where every answer is exact, else 0.
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
from packager.tasks.metrics import r2, r2_of_draws, share
from packager.tasks.plain import refuse_image_settings, refuse_labels
from packager.tasks.sampled import SampledTask
from packager.tasks.task import Array, Counts, Scores
from packager.tasks.tensor_data import check_length, load_calibration_tensors, names, open_tensors
from packager.tasks.top1 import drawn, weighted_share

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
class Regression(SampledTask):
    """Samples with true values; implements ``packager.tasks.task.Task``.

    Attributes:
        targets: (N, values) float64, of all outputs side by side.
        kind: ``r2`` or ``within``.
        tolerance: For ``within``.
        columns: How the targets are called, as text.
    """

    targets: npt.NDArray[np.float64]
    kind: str = R2
    tolerance: float = 0.0
    columns: str = ""

    @property
    def metric(self) -> str:
        """Which of the two."""
        return self.kind

    @property
    def scoring(self) -> str:
        """Which answers are kept, whatever is computed from them."""
        return f"answers of {self.columns}"

    def score(self, outputs: Sequence[Array], positions: Sequence[int]) -> Scores:  # noqa: ARG002 - judged by measure
        """(positions, values + 1) answers, then 1 where one is not finite (all are 0 there), else 0."""
        answers = np.concatenate(
            [output.reshape(len(output), -1) for output in outputs], axis=1, dtype=np.float64
        )
        is_finite = np.isfinite(answers).all(axis=1, keepdims=True)
        rows: Scores = np.concatenate([np.where(is_finite, answers, 0.0), ~is_finite], axis=1)
        return rows

    def measure(self, scores: Scores) -> float:
        """The metric over all samples."""
        if self.kind == WITHIN:
            return share(self._is_near(scores))
        return 0.0 if scores[:, -1].any() else r2(self.targets, scores[:, :-1])

    def aggregate(self, scores: Scores, counts: Counts) -> npt.NDArray[np.float64]:
        """(R,) the metric of each draw."""
        if self.kind == WITHIN:
            return weighted_share(self._is_near(scores), counts)
        found = r2_of_draws(self.targets, scores[:, :-1], drawn(counts))
        return np.where(counts @ scores[:, -1] > 0, 0.0, found)

    def _is_near(self, scores: Scores) -> npt.NDArray[np.bool_]:
        """(N,) whether every value is near enough."""
        is_close = np.isclose(scores[:, :-1], self.targets, rtol=0.0, atol=self.tolerance)
        return np.asarray(is_close.all(axis=1) & (scores[:, -1] == 0))


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
