"""Tasks that are a user's own function: ``--task custom:module:function``.

The function is called once, with a ``CustomRequest``, and returns a ``CustomTask``: the samples, what is true of each,
and a function that scores the outputs of one sample from 0 to 1. The metric is the mean of the scores, unless the task
brings an ``aggregate`` of its own.

    from packager.tasks.custom import CustomRequest, CustomTask

    def task(request: CustomRequest) -> CustomTask:
        rows = numpy.load(request.evaluation)
        samples = [({"x": x}, y) for x, y in zip(rows["x"], rows["y"])]
        return CustomTask(samples=samples, score=lambda outputs, truth: abs(outputs["y"][0] - truth) < 2.0)

Guarantees: samples have the model's inputs by name, shape and type; scores are checked; an output that is not finite
scores 0 without being shown to the user's code. Metrics of two runs are comparable when samples, truth and code are
the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from contract.errors import ManifestError
from contract.identifiers import nearest
from contract.manifest import Task as TaskName
from contract.tensor import TensorSpec
from packager.description import Source, sample_shape
from packager.tasks.arrays import ArraySamples, as_input
from packager.tasks.custom_code import find_function, user_code
from packager.tasks.kind import DataRequest, Kind, Loaded, NoOptions, Presentation
from packager.tasks.plain import refuse_image_settings
from packager.tasks.sampled import SampledTask
from packager.tasks.task import Array, Counts, Scores
from packager.tasks.top1 import weighted_share

PREFIX = "custom:"
_METRIC_MAX_CHARS = 40


@dataclass(frozen=True)
class CustomRequest:
    """What the user's function is told.

    Attributes:
        evaluation: What was given as ``--evaluation``.
        calibration: What was given as ``--calibration``; None for none.
        labels: What was given as ``--labels``; None for none.
        inputs: The model's inputs.
        outputs: The model's outputs.
    """

    evaluation: Path
    calibration: Path | None
    labels: Path | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, kw_only=True)
class CustomTask:
    """What the user's function returns.

    Attributes:
        samples: For each, its inputs by name without a batch dimension, and what is true of it: numbers, texts,
            arrays, or lists and dictionaries of these.
        score: From the outputs of one sample by name, without a batch dimension, and its truth: 0 to 1, more is
            better. With ``aggregate`` any finite number, or a row of ``values`` of them.
        calibration: Inputs of calibration samples; empty for none.
        metric: How the metric is called.
        aggregate: From scores (N, ...) and how often each counts (R, N) to (R,) metrics from 0 to 1; None for the
            mean. It is called for the point estimate and for the draws of the bootstrap.
        values: How many numbers ``score`` gives.
    """

    samples: Sequence[tuple[Mapping[str, Array], Any]]
    score: Callable[[Mapping[str, Array], Any], Any]
    calibration: Sequence[Mapping[str, Array]] = ()
    metric: str = "score"
    aggregate: Callable[[Scores, Counts], Any] | None = None
    values: int = 1


@dataclass(frozen=True)
class UserTask(SampledTask):
    """A ``CustomTask`` that was checked; implements ``packager.tasks.task.Task``.

    Attributes:
        truths: N, as the user gave them.
        code: The user's functions.
        outputs: Names of the model's.
        scoring: Name and digest of the user's code.
    """

    truths: Sequence[Any]
    code: CustomTask
    outputs: tuple[str, ...]
    scoring: str

    @property
    def metric(self) -> str:
        """As the user calls it."""
        return self.code.metric

    def score(self, outputs: Sequence[Array], positions: Sequence[int]) -> Scores:
        """(positions,) or (positions, values) what the user's function says; 0 where an output is not finite.

        Raises:
            ManifestError: The function fails, or does not give numbers as it should.
        """
        rows: Scores = np.zeros((len(positions), *self._row))
        for row, position in enumerate(positions):
            named = dict(zip(self.outputs, (output[row] for output in outputs), strict=True))
            if all(np.isfinite(values).all() for values in named.values()):
                rows[row] = self._score_one(named, position)
        return rows

    def _score_one(self, outputs: Mapping[str, Array], position: int) -> Scores:
        with user_code(f"scoring sample {position}"):
            found = np.asarray(self.code.score(outputs, self.truths[position]), dtype=np.float64)
        is_sound = found.size == self.code.values and bool(np.isfinite(found).all())
        if self.code.aggregate is None:
            is_sound = is_sound and bool(((found >= 0) & (found <= 1)).all())
        if not is_sound:
            wanted = (
                "one number from 0 to 1"
                if self.code.aggregate is None
                else f"{self.code.values} finite numbers"
            )
            raise ManifestError(f"your score of sample {position} is {str(found)[:60]}, it must be {wanted}")
        return found.reshape(self._row)

    @property
    def _row(self) -> tuple[int, ...]:
        return () if self.code.values == 1 else (self.code.values,)

    def measure(self, scores: Scores) -> float:
        """The metric over all samples, each counted once; a metric of the user's own has no other library.

        Raises:
            ManifestError: See ``aggregate``.
        """
        return float(self.aggregate(scores, np.ones((1, len(scores))))[0])

    def aggregate(self, scores: Scores, counts: Counts) -> npt.NDArray[np.float64]:
        """(R,) mean of the scores, or what the user's function makes of them.

        Raises:
            ManifestError: The function fails, or gives no number from 0 to 1 for each draw.
        """
        if self.code.aggregate is None:
            return weighted_share(scores, counts)
        with user_code("aggregating scores"):
            found = np.asarray(self.code.aggregate(scores, counts), dtype=np.float64)
        if found.shape != (len(counts),) or not ((found >= 0) & (found <= 1)).all():
            raise ManifestError(
                f"your aggregate gives {str(found)[:60]} of shape {found.shape} for {len(counts)} rows of counts, "
                "it must give one number from 0 to 1 for each row"
            )
        return found


def custom_kind(name: str) -> Kind:
    """The kind of ``custom:module:function``; its code is imported when samples are read."""
    return Kind(
        name=name,
        wants="any inputs and outputs",
        options=NoOptions,
        borders=_border_faults,
        load=_load_of(name.removeprefix(PREFIX)),
    )


def _border_faults(_: Source, __: Any) -> list[str]:
    return []


def _load_of(name: str) -> Callable[[DataRequest], Loaded]:
    def load(request: DataRequest) -> Loaded:
        return _load(name, request)

    return load


def _load(name: str, request: DataRequest) -> Loaded:
    refuse_image_settings(request)
    source = request.source
    function = find_function(name, request.folder)
    asked = CustomRequest(
        evaluation=request.evaluation,
        calibration=request.calibration,
        labels=request.labels,
        inputs=source.inputs,
        outputs=source.outputs,
    )
    with user_code(f"running {name}"):
        found = function.call(asked)
        if isinstance(found, CustomTask):  # whatever can be gone through will do
            found = dataclasses.replace(
                found, samples=list(found.samples), calibration=list(found.calibration)
            )
    _check_task(found, name)
    truths = [truth for _, truth in found.samples]
    samples = _samples([inputs for inputs, _ in found.samples], source, "sample", _digest(truths))
    calibration = (
        _samples(found.calibration, source, "calibration sample", "").mixed()
        if len(found.calibration)
        else None
    )
    return Loaded(
        task=UserTask(
            samples=samples,
            truths=truths,
            code=found,
            outputs=tuple(spec.name for spec in source.outputs),
            scoring=f"{name} {function.sha256()}",
        ),
        calibration=calibration,
        presentation=Presentation(task=TaskName.CUSTOM),
    )


def _check_task(found: Any, name: str) -> None:
    """Refuse what is no ``CustomTask`` with samples."""
    if not isinstance(found, CustomTask):
        raise ManifestError(
            f"{name} returned {type(found).__name__}, not a CustomTask",
            remedy="from packager.tasks.custom import CustomTask, and return one",
        )
    faults = []
    if not len(found.samples):
        faults.append("there is no sample")
    pairs: Sequence[Any] = found.samples
    if not all(isinstance(one, tuple | list) and len(one) == 2 for one in pairs):
        faults.append("a sample is not a pair of inputs and truth")
    if not found.metric.isprintable() or not 1 <= len(found.metric) <= _METRIC_MAX_CHARS:
        faults.append(f"metric must be a name of at most {_METRIC_MAX_CHARS} characters")
    if found.values < 1 or (found.values > 1 and found.aggregate is None):
        faults.append("values must be 1 at least, and above 1 it needs an aggregate")
    if faults:
        raise ManifestError(f"the task that {name} returned is not usable", faults=faults)


def _samples(rows: Sequence[Any], source: Source, what: str, truth_sha256: str) -> ArraySamples:
    wanted = [spec.name for spec in source.inputs]
    for position, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise ManifestError(f"{what} {position} is {type(row).__name__}, not a mapping of inputs by name")
        missing = [name for name in wanted if name not in row]
        unknown = [str(key) for key in row if key not in wanted]
        if missing or unknown:
            faults = [f"input {name} is missing" for name in missing]
            faults += [f"{key[:60]!r} is no input, {nearest(key[:60], wanted)}" for key in unknown]
            raise ManifestError(f"{what} {position} does not fit the model", faults=faults)
    arrays = tuple(_column(rows, spec, what) for spec in source.inputs)
    digest = hashlib.sha256(truth_sha256.encode())
    for spec, values in zip(source.inputs, arrays, strict=True):
        digest.update(repr((spec.name, values.shape, values.dtype.str)).encode())
        digest.update(np.ascontiguousarray(values).data)
    return ArraySamples(arrays, digest.hexdigest(), "as the code gives them")


def _column(rows: Sequence[Mapping[str, Array]], spec: TensorSpec, what: str) -> Array:
    """(N, ...) one input of all samples."""
    shape = sample_shape(spec)
    values = []
    for position, row in enumerate(rows):
        value = np.asarray(row[spec.name])
        if value.shape not in {shape, (1, *shape)}:
            raise ManifestError(
                f"{what} {position}: input {spec.name} has shape {value.shape}, the model takes {shape}"
            )
        values.append(value.reshape(shape))
    return as_input(np.stack(values), spec, f"{what}s: {spec.name!r}")


def _digest(truths: Sequence[Any]) -> str:
    try:
        content = msgspec.msgpack.encode(truths, enc_hook=_plain, order="deterministic")
    except (TypeError, NotImplementedError, ValueError, OverflowError, RecursionError) as error:
        raise ManifestError(
            f"a sample's truth cannot be told apart from another: {error}",
            remedy="use numbers, texts, arrays, or lists and dictionaries of these",
        ) from error
    return hashlib.sha256(content).hexdigest()


def _plain(value: object) -> object:
    """NumPy's own values as what msgspec knows."""
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufU":
        array = np.ascontiguousarray(value)
        return [array.dtype.str, list(array.shape), array.tobytes()]
    raise NotImplementedError(f"{type(value).__name__} has no digest")
