"""Image classification: one true class an image, measured as top-1 accuracy.

Guarantees: every variant sees the same images in the same order with the same preprocessing. Does not judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contract.manifest import ImagePreprocessing
from packager.images import ImageSet
from packager.preprocess import to_inputs
from packager.tasks.labelled_images import LabelledImages
from packager.tasks.task import Counts, Floats, Scores

METRIC = "accuracy"


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

    def inputs(self, positions: Sequence[int]) -> Floats:
        """(positions, H, W, C) float32."""
        return to_inputs(self.images.pixels[list(positions)], self.preprocessing)


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

    def inputs(self, positions: Sequence[int]) -> Floats:
        """(positions, H, W, C) float32."""
        return to_inputs(self.samples.images.pixels[list(positions)], self.preprocessing)

    def score(self, outputs: Sequence[Floats], positions: Sequence[int]) -> Scores:
        """(positions,) 1 where the best of (positions, classes) scores is the true class; else, or not finite, 0."""
        (scores,) = outputs
        is_finite = np.isfinite(scores).all(axis=1)
        is_right = scores.argmax(axis=1) == self.samples.classes[list(positions)]
        right: Scores = np.logical_and(is_finite, is_right).astype(np.float64)
        return right

    def margin(self, outputs: Sequence[Floats]) -> Floats:
        """(positions,) distance of the best score to the second; 0 where one is not finite."""
        (scores,) = outputs
        is_finite = np.isfinite(scores).all(axis=1, keepdims=True)
        top = np.sort(np.where(is_finite, scores, 0), axis=1)[:, -2:]
        lead: Floats = (top[:, 1] - top[:, 0]).astype(np.float32)
        return lead

    def aggregate(self, scores: Scores, counts: Counts) -> npt.NDArray[np.float64]:
        """(R,) share of right answers."""
        share: npt.NDArray[np.float64] = (counts @ scores) / counts.sum(axis=1)
        return share

    def per_class(self, scores: Scores) -> npt.NDArray[np.float64]:
        """(classes,) share of right answers among the images of each class."""
        of_class = np.bincount(self.samples.classes, minlength=self.count).astype(np.float64)
        right = np.bincount(self.samples.classes, weights=scores, minlength=self.count)
        share: npt.NDArray[np.float64] = np.full(self.count, np.nan)
        np.divide(right, of_class, out=share, where=of_class > 0)
        return share
