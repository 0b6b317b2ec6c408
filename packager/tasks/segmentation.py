"""Segmentation: a class for each pixel, measured as mean intersection over union.

Guarantees: outputs become a map of classes through ``contract.decoding.Decoder`` with the manifest's own decoding; the
map is laid over the mask in the mask's own size by ``contract.vision.map_of_image``. Does not judge.

Intersections and unions are counted in pixels and added over all images before they are divided, as for Pascal VOC
(Everingham et al., 2010, section 4.2). A class counts when a mask has it; one that only the model sees lowers others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from contract.decoding import Decoder
from contract.errors import ConfigError, ManifestError
from contract.manifest import Task as TaskName
from contract.results import ClassMapDecoding, SegmentationDecoding, decoding_faults
from contract.tensor import DType, Layout, TensorSpec
from contract.vision import map_of_image
from packager.calibration import load_calibration
from packager.description import Source, whole_shape
from packager.preprocess import image_geometry, plan_preprocessing
from packager.tasks.detection import image_faults
from packager.tasks.kind import DataRequest, Kind, Loaded, Presentation
from packager.tasks.labelled_images import load_labels
from packager.tasks.masks import MaskedImages, MaskRules, load_masked_images
from packager.tasks.metrics import overlaps
from packager.tasks.prepared_images import PreparedImages
from packager.tasks.sampled import SampledTask
from packager.tasks.task import Array, Counts, Scores

METRIC = "mIoU"
SegmentationForm = SegmentationDecoding | ClassMapDecoding


class SegmentationOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of task ``segmentation``; see ``docs/reference/tasks.md``.

    Attributes:
        layout: Where the scores of a pixel stand in the output: ``NHWC`` last, ``NCHW`` first; ``auto`` for what
            follows from shapes and labels.
        ignored: Number in a mask of pixels that count neither way, 0 to 255.
    """

    layout: Literal["auto", "NHWC", "NCHW"] = "auto"
    ignored: Annotated[int, msgspec.Meta(ge=0, le=255)] = 255


@dataclass(frozen=True)
class Segmentation(SampledTask):
    """Masked images, with the way from the model's output to a map of classes; a ``packager.tasks.task.Task``.

    Attributes:
        samples: The images.
        masks: What is true of them.
        decoding: From the output to a map.
        output: Name and shape of the model's output.
        names: Of the classes.
    """

    samples: PreparedImages
    masks: MaskedImages
    decoding: SegmentationForm
    output: tuple[str, tuple[int, ...]]
    names: tuple[str, ...]
    _decoder: Decoder = field(init=False, repr=False, compare=False)
    _truth: npt.NDArray[np.float64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "_decoder", Decoder(self.decoding, [self.output], self.samples.preprocessing)
        )
        truth = [np.bincount(mask[mask != self.masks.ignored], minlength=256) for mask in self.masks.masks]
        object.__setattr__(self, "_truth", np.array(truth, np.float64)[:, : len(self.names)])

    @property
    def metric(self) -> str:
        """Mean over the classes of intersection over union."""
        return METRIC

    @property
    def scoring(self) -> str:
        """The classes, what is ignored, and the decoding."""
        decoding = msgspec.json.encode(self.decoding).decode()
        return f"{METRIC} of {len(self.names)} without {self.masks.ignored}, decoded by {decoding}"

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels, or numbers where there are none."""
        return self.names

    @property
    def absent(self) -> tuple[str, ...]:
        """Classes that no mask has."""
        return tuple(
            name for name, count in zip(self.names, self._truth.sum(axis=0), strict=True) if not count
        )

    @property
    def strata(self) -> npt.NDArray[np.int64]:
        """(N,) of the classes in each image the one that fewest images have; of equally rare ones the lower."""
        has = self._truth > 0
        rarity = np.where(has, has.sum(axis=0), len(has) + 1)
        return np.asarray(rarity.argmin(axis=1), np.int64)

    def score(self, outputs: Sequence[Array], positions: Sequence[int]) -> Scores:
        """(positions, 2, classes) pixels in intersection and union; no pixel of a sample with NaN is right."""
        (output,) = outputs
        return np.stack(
            [self._overlap(output[row : row + 1], position) for row, position in enumerate(positions)]
        )

    def _overlap(self, output: Array, position: int) -> Scores:
        if not np.isfinite(output).all():
            return np.stack([np.zeros(len(self.names)), self._truth[position]])
        mask = self.masks.masks[position]
        (classes,) = self._decoder.decode([output], mask.shape)
        found = map_of_image(classes[0].astype(np.int64), mask.shape, self.samples.preprocessing)
        counted = mask != self.masks.ignored
        true, seen = mask[counted].astype(np.int64), found[counted]
        count = len(self.names)
        right = np.bincount(true[true == seen], minlength=count)
        claimed = np.bincount(seen[(seen >= 0) & (seen < count)], minlength=count)
        return np.stack([right, self._truth[position] + claimed - right]).astype(np.float64)

    def measure(self, scores: Scores) -> float:
        """Mean over the classes that masks have; 0 where every pixel is ignored."""
        found = self.per_class(scores)
        return float(np.nanmean(found)) if (found >= 0).any() else 0.0

    def aggregate(self, scores: Scores, counts: Counts) -> npt.NDArray[np.float64]:
        """(R,) mean over the classes that the masks of a draw have; 0 where every pixel is ignored."""
        known = counts @ self._truth > 0
        shared, either = counts @ scores[:, 0], counts @ scores[:, 1]
        shares = np.where(known, shared / np.maximum(either, 1), 0.0).sum(axis=1)
        mean: npt.NDArray[np.float64] = shares / np.maximum(known.sum(axis=1), 1)
        return mean

    def per_class(self, scores: Scores) -> npt.NDArray[np.float64]:
        """(classes,) intersection over union; NaN for a class that no mask has."""
        shared, either = scores.sum(axis=0)
        true = self._truth.sum(axis=0)
        return overlaps(shared, true - shared, either - true)


def plan_segmentation(
    source: Source, options: SegmentationOptions, labels: tuple[str, ...]
) -> tuple[SegmentationForm, int]:
    """Decide how the output is read, and how many classes there are.

    Raises:
        ConfigError: It must be said, or the number of classes is not known.
        ManifestError: What is said does not fit the output.
    """
    (output,) = source.outputs
    if _is_map(output):
        if not labels:
            raise ConfigError(
                "the model does not say how many classes there are", remedy="give --labels with their names"
            )
        return ClassMapDecoding(), len(labels)
    layout = _layout(source, options, labels)
    decoding = SegmentationDecoding(layout=layout)
    if faults := decoding_faults(decoding, source.outputs, len(labels)):
        raise ManifestError("the decoding does not fit the model", faults=faults)
    return decoding, output.shape[3 if layout is Layout.NHWC else 1]


def _is_map(output: TensorSpec) -> bool:
    return len(output.shape) == 3 or (output.shape[3:] == (1,) and output.dtype is not DType.FLOAT32)


def _layout(source: Source, options: SegmentationOptions, labels: tuple[str, ...]) -> Layout:
    if options.layout != "auto":
        return Layout(options.layout)
    shape = source.outputs[0].shape
    geometry = image_geometry(source.inputs[0].shape)
    assert geometry is not None  # noqa: S101 - checked by _border_faults
    last, first = (
        count == len(labels) if labels else size == (geometry.height, geometry.width)
        for count, size in ((shape[3], shape[1:3]), (shape[1], shape[2:4]))
    )
    if last == first:
        raise ConfigError(
            f"it is not clear where in the output {shape} the scores of a pixel are",
            remedy="give --labels, or --task-option layout=NHWC (last) or layout=NCHW (first)",
        )
    return Layout.NHWC if last else Layout.NCHW


def _border_faults(source: Source, _: Any) -> list[str]:
    faults = image_faults(source)
    if len(source.outputs) != 1:
        return [*faults, f"{len(source.outputs)} outputs, one is possible"]
    (output,) = source.outputs
    if len(output.shape) not in {3, 4}:
        faults.append(f"output {output.name} has shape {output.shape}, not (1, H, W, classes) or (1, H, W)")
    elif not _is_map(output) and output.dtype is not DType.FLOAT32:
        faults.append(f"output {output.name} is {output.dtype.value}, scores must be {DType.FLOAT32.value}")
    return faults


def _load(request: DataRequest) -> Loaded:
    source, options = request.source, request.options
    geometry = image_geometry(source.inputs[0].shape)
    assert geometry is not None  # noqa: S101 - checked by _border_faults
    labels = load_labels(request.labels, None) if request.labels else ()
    decoding, count = plan_segmentation(source, options, labels)
    preprocessing = plan_preprocessing(geometry, request.mean, request.std, fitting=request.fitting)
    recipe = preprocessing if request.fitting.resize else None
    rules = MaskRules(count, options.ignored)
    samples = load_masked_images(request.evaluation, geometry.shape, rules, recipe)
    calibration = (
        load_calibration(request.calibration, geometry.shape, recipe) if request.calibration else None
    )
    output = source.outputs[0]
    return Loaded(
        task=Segmentation(
            samples=PreparedImages(samples.images, preprocessing, samples.sha256),
            masks=samples,
            decoding=decoding,
            output=(output.name, whole_shape(output)),
            names=labels or tuple(str(number) for number in range(count)),
        ),
        calibration=PreparedImages(calibration, preprocessing) if calibration else None,
        presentation=Presentation(
            task=TaskName.SEGMENTATION, preprocessing=preprocessing, decoding=decoding, labels=labels
        ),
    )


KIND = Kind(
    name="segmentation",
    wants="one float32 image (1, H, W, C) in, scores (1, H, W, classes) or a map of classes (1, H, W) out",
    options=SegmentationOptions,
    borders=_border_faults,
    load=_load,
)
