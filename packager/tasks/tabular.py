"""Classification of rows of numbers: one true class a row, measured as top-1 accuracy.

Guarantees: the class of a row is a label, or a score's index where there are no labels; nothing is guessed from the
order in which classes appear. Does not judge.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from contract.errors import ConfigError, ManifestError
from contract.identifiers import nearest
from contract.manifest import ClassificationPostprocessing
from contract.manifest import Task as TaskName
from contract.tensor import DType
from packager.description import Source
from packager.tasks.arrays import sample_elements
from packager.tasks.kind import DataRequest, Kind, Loaded, Presentation
from packager.tasks.labelled_images import load_labels
from packager.tasks.plain import refuse_image_settings
from packager.tasks.tensor_data import (
    TensorFile,
    check_length,
    load_calibration_tensors,
    names,
    open_tensors,
)
from packager.tasks.top1 import HALF, Top1


class TabularOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of task ``tabular-classification``.

    Attributes:
        features: Columns of a ``.csv`` in the order of the inputs' values; none for columns named after the inputs.
        target: Column of a ``.csv`` with the true class; or the array (samples,) of an ``.npz`` with its number.
        threshold: For models with one output value: above it the answer is class 1, else class 0.
    """

    features: str | tuple[str, ...] = ()
    target: str = "target"
    threshold: float = HALF


def class_count(source: Source) -> int:
    """How many classes a model tells apart: its output values, or two where there is one."""
    return max(2, sample_elements(source.outputs[0]))


def score_faults(source: Source) -> list[str]:
    """Faults of the outputs of any model that gives a score for each class."""
    if len(source.outputs) != 1:
        return [f"{len(source.outputs)} outputs, one is possible"]
    (scores,) = source.outputs
    faults = []
    if scores.dtype is not DType.FLOAT32:
        faults.append(f"output {scores.name} is {scores.dtype.value}, not {DType.FLOAT32.value}")
    if sum(size > 1 for size in scores.shape) > 1:
        faults.append(f"output {scores.name} has shape {scores.shape}, not one score for each class")
    return faults


def present_scores(task: TaskName, source: Source, labels: tuple[str, ...]) -> Presentation:
    """What the manifest says of a model with a score for each class; one output value is left to the application."""
    if sample_elements(source.outputs[0]) == 1:
        return Presentation(task=task)
    return Presentation(
        task=task,
        postprocessing=ClassificationPostprocessing(softmax=not source.gives_probabilities),
        labels=labels,
    )


def class_names(request: DataRequest) -> tuple[str, ...]:
    """Labels, or numbers where there are none."""
    count = class_count(request.source)
    return load_labels(request.labels, count) if request.labels else tuple(map(str, range(count)))


def _border_faults(source: Source, _: Any) -> list[str]:
    return score_faults(source)


def _load(request: DataRequest) -> Loaded:
    options: TabularOptions = request.options
    if not math.isfinite(options.threshold):
        raise ConfigError("threshold must be finite")
    refuse_image_settings(request)
    features = names(options.features)
    known = class_names(request)
    file = open_tensors(request.evaluation, "evaluation")
    samples = file.samples(request.source.inputs, features)
    truth = _classes(file, options.target, known)
    check_length(truth, samples, file.what)
    return Loaded(
        task=Top1(samples, truth, known, options.threshold),
        calibration=load_calibration_tensors(request.calibration, request.source.inputs, features),
        presentation=present_scores(TaskName.CLASSIFICATION, request.source, known if request.labels else ()),
    )


def _classes(file: TensorFile, target: str, known: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """(N,) index of each sample's class.

    Raises:
        ManifestError: No such column or array, or a class that the model does not know.
    """
    if file.table is not None:
        index = {name: number for number, name in enumerate(known)}
        words = file.table.words(target)
        unknown = next((word for word in words if word not in index), None)
        if unknown is not None:
            raise ManifestError(
                f"{file.what}: column {target!r} holds {unknown[:60]!r}, which is no class of the model",
                remedy=nearest(unknown[:60], known[:50])
                if known[0] != "0"
                else "give --labels, or class numbers",
            )
        return np.array([index[word] for word in words], dtype=np.int64)
    values = file.array(target)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ManifestError(
            f"{file.what}: {target!r} has shape {values.shape} of {values.dtype}, not one class number a sample"
        )
    if len(values) and not (values.min() >= 0 and values.max() < len(known)):
        raise ManifestError(f"{file.what}: {target!r} has a class number outside 0 to {len(known) - 1}")
    return values.astype(np.int64)


KIND = Kind(
    name="tabular-classification",
    wants="any inputs, and one row of float32 scores (1, classes) out",
    options=TabularOptions,
    borders=_border_faults,
    load=_load,
)
