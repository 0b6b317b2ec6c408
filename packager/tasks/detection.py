"""Object detection: boxes of classes, measured as COCO's mean average precision.

Guarantees: outputs become boxes through ``contract.decoding.Decoder`` with the manifest's own decoding, so what is
measured is what applications on a device get, its ``min_score`` included. Does not judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from contract.decoding import Decoder
from contract.errors import ConfigError, ManifestError
from contract.manifest import Task as TaskName
from contract.tensor import DType
from packager.calibration import load_calibration
from packager.description import Source, whole_shape
from packager.preprocess import image_geometry, plan_preprocessing
from packager.tasks.annotations import read_bounded
from packager.tasks.average_precision import average_precisions, mean_of_classes
from packager.tasks.detection_data import load_annotated_images
from packager.tasks.detection_options import (
    MAX_ANCHORS,
    Anchors,
    DetectionDecoding,
    DetectionOptions,
    output_faults,
    plan_detection,
)
from packager.tasks.kind import DataRequest, Kind, Loaded, Presentation
from packager.tasks.labelled_images import load_labels
from packager.tasks.matching import COCO_THRESHOLDS, Detections, accumulate, match
from packager.tasks.prepared_images import PreparedImages
from packager.tasks.sampled import SampledTask
from packager.tasks.task import Array, Counts, Scores
from packager.tasks.true_boxes import TrueBox, Vocabulary, count_wanted, number_of

_ANCHORS_MAX_BYTES = 4 << 20


@dataclass(frozen=True)
class Detection(SampledTask):
    """Annotated images, with the way from the model's outputs to boxes; a ``packager.tasks.task.Task``.

    Attributes:
        samples: The images.
        truths: The true boxes of each.
        decoding: From outputs to boxes.
        outputs: Name and shape of the model's outputs.
        vocabulary: The model's classes.
        thresholds: Overlaps that make a hit.
    """

    samples: PreparedImages
    truths: tuple[tuple[TrueBox, ...], ...]
    decoding: DetectionDecoding
    outputs: tuple[tuple[str, tuple[int, ...]], ...]
    vocabulary: Vocabulary
    thresholds: tuple[float, ...] = COCO_THRESHOLDS
    _decoder: Decoder = field(init=False, repr=False, compare=False)
    _wanted: npt.NDArray[np.float64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_decoder", Decoder(self.decoding, self.outputs, self.samples.preprocessing))
        object.__setattr__(self, "_wanted", count_wanted(self.truths, self.vocabulary.count))

    @property
    def metric(self) -> str:
        """``mAP``, COCO's mean over ten overlaps; with one overlap its percentage follows, as in ``mAP50``."""
        return "mAP" if len(self.thresholds) > 1 else f"mAP{100 * self.thresholds[0]:g}"

    @property
    def scoring(self) -> str:
        """The overlaps, the classes and the decoding with all its numbers."""
        decoding = msgspec.json.encode(self.decoding).decode()
        return f"{self.metric} of {self.vocabulary.count} at {self.thresholds}, decoded by {decoding}"

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels, or numbers where there are none."""
        return self.vocabulary.names

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes without a box that must be found."""
        return tuple(
            name for name, count in zip(self.classes, self._wanted.sum(axis=0), strict=True) if not count
        )

    @property
    def strata(self) -> npt.NDArray[np.int64]:
        """(N,) the commonest class of each image, of equally common ones the lower; 0 where there is none."""
        common = [
            min(Counter(box.label for box in boxes).items(), key=lambda one: (-one[1], one[0]))[0]
            if boxes
            else 0
            for boxes in self.truths
        ]
        return np.array(common, dtype=np.int64)

    def score(self, outputs: Sequence[Array], positions: Sequence[int]) -> Scores:
        """(positions, detections, 4), see ``packager.tasks.average_precision.CLASS``; NaN makes no box."""
        found = [
            self._detect([output[row : row + 1] for output in outputs], self.samples.images.sizes[position])
            for row, position in enumerate(positions)
        ]
        truths = [self.truths[position] for position in positions]
        rows = dict(self._decoder.results)["scores"][1]
        return match(truths, found, self.vocabulary.count, self.thresholds, rows)

    def _detect(self, outputs: list[Array], size: tuple[int, int]) -> Detections:
        boxes, classes, scores, count = self._decoder.decode(outputs, size)
        number, (height, width) = int(count[0]), size
        return Detections(
            edges=boxes[0, :number].astype(np.float64) * [height, width, height, width],
            labels=classes[0, :number].astype(np.int64),
            scores=scores[0, :number].astype(np.float64),
        )

    def measure(self, scores: Scores) -> float:
        """Mean average precision."""
        return float(mean_of_classes(self.per_class(scores)[np.newaxis])[0])

    def aggregate(self, scores: Scores, counts: Counts) -> npt.NDArray[np.float64]:
        """(R,) mean average precision over the classes that are in a draw."""
        return mean_of_classes(average_precisions(scores, self._wanted, counts, len(self.thresholds)))

    def per_class(self, scores: Scores) -> npt.NDArray[np.float64]:
        """(classes,) average precision; NaN for a class without a box that must be found."""
        return accumulate(scores, self._wanted, self.thresholds)


def image_faults(source: Source) -> list[str]:
    """Why the model does not take one image; empty when it does."""
    if len(source.inputs) != 1:
        return [f"{len(source.inputs)} inputs, one is possible"]
    (image,) = source.inputs
    if image.dtype is not DType.FLOAT32:
        return [f"input {image.name} is {image.dtype.value}, not {DType.FLOAT32.value}"]
    if image_geometry(image.shape) is None:
        return [f"input {image.name} has shape {image.shape}, not (1, H, W, C) with 1 or 3 channels"]
    return []


def _border_faults(source: Source, options: Any) -> list[str]:
    faults = image_faults(source) + output_faults(source.outputs, options)
    return faults + [
        f"output {spec.name} is {spec.dtype.value}, not {DType.FLOAT32.value}"
        for spec in source.outputs
        if spec.dtype is not DType.FLOAT32
    ]


def _load(request: DataRequest) -> Loaded:
    source, options = request.source, request.options
    geometry = image_geometry(source.inputs[0].shape)
    assert geometry is not None  # noqa: S101 - checked by _border_faults
    labels = load_labels(request.labels, None) if request.labels else ()
    anchors = _read_anchors(request.folder / options.anchors) if options.anchors else ()
    plan = plan_detection(source.outputs, options, labels, anchors)
    preprocessing = plan_preprocessing(geometry, request.mean, request.std, fitting=request.fitting)
    recipe = preprocessing if request.fitting.resize else None
    samples = load_annotated_images(request.evaluation, geometry.shape, plan.vocabulary, recipe)
    calibration = (
        load_calibration(request.calibration, geometry.shape, recipe) if request.calibration else None
    )
    return Loaded(
        task=Detection(
            samples=PreparedImages(samples.images, preprocessing, samples.sha256),
            truths=samples.truths,
            decoding=plan.decoding,
            outputs=tuple((spec.name, whole_shape(spec)) for spec in source.outputs),
            vocabulary=plan.vocabulary,
            thresholds=(options.iou,) if options.iou else COCO_THRESHOLDS,
        ),
        calibration=PreparedImages(calibration, preprocessing) if calibration else None,
        presentation=Presentation(
            task=TaskName.DETECTION, preprocessing=preprocessing, decoding=plan.decoding, labels=labels
        ),
        notes=plan.told,
    )


def _read_anchors(path: Path) -> Anchors:
    lines = read_bounded(path, _ANCHORS_MAX_BYTES).decode("ascii", errors="replace").splitlines()
    found: list[tuple[float, float, float, float]] = []
    for number, line in enumerate(lines, start=1):
        words = line.replace(",", " ").split()
        if not words:
            continue
        try:
            y, x, height, width = (number_of(word) for word in words)
        except ValueError as error:
            raise ManifestError(
                f"line {number} of {path.name} is no anchor: {error}",
                remedy="it needs centre y, centre x, height, width in fractions of the input",
            ) from error
        found.append((y, x, height, width))
    if not 1 <= len(found) <= MAX_ANCHORS:
        raise ConfigError(f"{path.name} has {len(found)} anchors, 1 to {MAX_ANCHORS} are possible")
    return tuple(found)


KIND = Kind(
    name="detection",
    wants="one float32 image (1, H, W, C) in, boxes with scores out as SSD, YOLO or TFLite_Detection_PostProcess",
    options=DetectionOptions,
    borders=_border_faults,
    load=_load,
)
