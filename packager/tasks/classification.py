"""Image classification: one true class an image, measured as top-1 accuracy.

Guarantees: every variant sees the same images in the same order with the same preprocessing. Does not judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.manifest import ClassificationPostprocessing, ImagePreprocessing, Task
from packager.calibration import load_calibration
from packager.description import Source
from packager.images import ImageSet
from packager.preprocess import image_geometry, plan_preprocessing, to_inputs
from packager.tasks.borders import image_to_row_faults
from packager.tasks.kind import DataRequest, Kind, Loaded, NoOptions, Presentation
from packager.tasks.labelled_images import LabelledImages, load_labelled_images, load_labels
from packager.tasks.task import Array, Counts, Floats, Scores
from packager.tasks.top1 import METRIC, lead, right_answers, share_per_class, weighted_share


@dataclass(frozen=True)
class CalibrationImages:
    """Images to learn ranges from, with the way from their pixels to the model's input."""

    images: ImageSet
    preprocessing: ImagePreprocessing

    @property
    def sha256(self) -> str:
        """Digest over names and bytes of the images."""
        return self.images.sha256

    @property
    def preparation(self) -> str:
        """The preprocessing."""
        return str(self.preprocessing)

    @property
    def digests(self) -> Sequence[bytes]:
        """N digests over decoded pixels."""
        return self.images.digests

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images.folders)

    def inputs(self, positions: Sequence[int]) -> tuple[Floats]:
        """(positions, *preprocessing.shape) float32."""
        return (to_inputs(self.images.pixels[list(positions)], self.preprocessing),)


@dataclass(frozen=True)
class Classification:
    """Classified images, with the way from their pixels to the model's input.

    Attributes:
        samples: Images with their true classes.
        preprocessing: From pixels to inputs.
        count: How many classes the model tells apart.
    """

    samples: LabelledImages
    preprocessing: ImagePreprocessing
    count: int

    @property
    def metric(self) -> str:
        """Share of images whose best score is the true class."""
        return METRIC

    @property
    def sha256(self) -> str:
        """Digest over names, class folders and bytes of the images."""
        return self.samples.images.sha256

    @property
    def preparation(self) -> str:
        """The preprocessing."""
        return str(self.preprocessing)

    @property
    def scoring(self) -> str:
        """Top-1 over so many classes."""
        return f"top-1 of {self.count}"

    @property
    def digests(self) -> Sequence[bytes]:
        """N digests over decoded pixels."""
        return self.samples.images.digests

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels, or numbers where there are none."""
        return self.samples.labels or tuple(str(number) for number in range(self.count))

    @property
    def strata(self) -> npt.NDArray[np.int64]:
        """(N,) the true classes."""
        return self.samples.classes

    def __len__(self) -> int:
        """Number of images."""
        return len(self.samples.classes)

    def inputs(self, positions: Sequence[int]) -> tuple[Floats]:
        """(positions, *preprocessing.shape) float32."""
        return (to_inputs(self.samples.images.pixels[list(positions)], self.preprocessing),)

    def score(self, outputs: Sequence[Array], positions: Sequence[int]) -> Scores:
        """(positions,) 1 where the best of (positions, classes) scores is the true class; else, or not finite, 0."""
        return right_answers(outputs[0], self.samples.classes[list(positions)])

    def margin(self, outputs: Sequence[Array]) -> Floats:
        """(positions,) distance of the best score to the second; 0 where one is not finite."""
        return lead(outputs[0])

    def aggregate(self, scores: Scores, counts: Counts) -> npt.NDArray[np.float64]:
        """(R,) share of right answers."""
        return weighted_share(scores, counts)

    def per_class(self, scores: Scores) -> npt.NDArray[np.float64]:
        """(classes,) share of right answers among the images of each class."""
        return share_per_class(scores, self.samples.classes, self.count)


def _border_faults(source: Source, _: Any) -> list[str]:
    return image_to_row_faults(
        source, "classes", lambda spec: spec.shape[0] in {1, -1} and spec.shape[1] >= 2
    )


def _load(request: DataRequest) -> Loaded:
    source, fitting = request.source, request.fitting
    geometry, classes = image_geometry(source.inputs[0].shape), source.outputs[0].shape[-1]
    assert geometry is not None  # noqa: S101 - checked by _border_faults
    preprocessing = plan_preprocessing(geometry, request.mean, request.std, fitting=fitting)
    recipe = preprocessing if fitting.resize else None
    labels = load_labels(request.labels, classes) if request.labels else ()
    samples = load_labelled_images(request.evaluation, geometry.shape, classes, labels, recipe)
    calibration = (
        load_calibration(request.calibration, geometry.shape, recipe) if request.calibration else None
    )
    return Loaded(
        task=Classification(samples, preprocessing, classes),
        calibration=CalibrationImages(calibration, preprocessing) if calibration else None,
        presentation=Presentation(
            task=Task.CLASSIFICATION,
            preprocessing=preprocessing,
            postprocessing=ClassificationPostprocessing(softmax=not source.gives_probabilities),
            labels=labels,
        ),
    )


KIND = Kind(
    name="classification",
    wants="one float32 image (1, H, W, C) in, one row of float32 scores (1, classes) out",
    options=NoOptions,
    borders=_border_faults,
    load=_load,
)
