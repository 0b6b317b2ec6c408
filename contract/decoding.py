"""From a model's outputs to boxes, maps of classes and embeddings.

PURE. Rules:

1. Packager and agent both use this and nothing else. It imports numpy: only processes that run models import it.
2. SSD boxes are decoded as TFLite's own operator does (tensorflow/lite/kernels/detection_postprocess.cc,
   ``DecodeCenterSizeBoxes``). A box has one class, the best of its scores; of equal ones the lower index.
3. Suppression is greedy, best score first, of equal ones the lower index; it looks at the best ``CANDIDATES`` boxes.
4. A box with a side that is not finite or not above 0 is none.
5. Boxes are top, left, bottom, right in fractions of the image, as TFLite's operator gives them; those that an answer
   has no use for are 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.processing import ImagePreprocessing
from contract.results import (
    BOX_VALUES,
    ClassMapDecoding,
    Decoding,
    EmbeddingDecoding,
    PostprocessedDecoding,
    SegmentationDecoding,
    SsdDecoding,
    Suppression,
    YoloDecoding,
)
from contract.tensor import Layout
from contract.vision import boxes_of_image

Floats = npt.NDArray[np.float32]
CANDIDATES = 4_096


class Decoder:
    """A manifest's decoding, ready for one request after the other.

    Attributes:
        results: Name and shape of everything that it gives, float32. Detection: ``boxes`` (1, n, 4), ``classes``
            (1, n), ``scores`` (1, n), ``count`` (1,). Segmentation: ``classes`` (1, H, W). Embedding: the model's own.
    """

    def __init__(
        self,
        decoding: Decoding,
        outputs: Sequence[tuple[str, tuple[int, ...]]],
        recipe: ImagePreprocessing | None,
    ) -> None:
        """Bind to a model.

        Args:
            decoding: Sound for these outputs (``decoding_faults``).
            outputs: Name and shape with batch 1.
            recipe: From an image to the input; None for a model that is fed with tensors.
        """
        self._decoding = decoding
        self._recipe = recipe
        self._names = [name for name, _ in outputs]
        if isinstance(decoding, SsdDecoding):
            self._anchors = np.array(decoding.anchors, np.float32)
        self.results = self._describe(outputs)

    def _describe(
        self, outputs: Sequence[tuple[str, tuple[int, ...]]]
    ) -> tuple[tuple[str, tuple[int, ...]], ...]:
        decoding, first = self._decoding, outputs[0]
        if isinstance(decoding, EmbeddingDecoding):
            return (first,)
        if isinstance(decoding, ClassMapDecoding):
            return (("classes", (1, *first[1][1:3])),)
        if isinstance(decoding, SegmentationDecoding):
            size = first[1][1:3] if decoding.layout is Layout.NHWC else first[1][2:4]
            return (("classes", (1, *size)),)
        if isinstance(decoding, PostprocessedDecoding):
            count = dict(outputs)[decoding.boxes][1]
        else:
            count = decoding.suppression.max_detections
        return (
            ("boxes", (1, count, BOX_VALUES)),
            ("classes", (1, count)),
            ("scores", (1, count)),
            ("count", (1,)),
        )

    def decode(self, outputs: Sequence[Floats], size: tuple[int, int] | None) -> list[Floats]:
        """The results of one request.

        Args:
            outputs: In the order that it was bound with, batch 1, real values.
            size: Height and width of the image; None for a request with tensors: boxes are in fractions of the input.
        """
        decoding = self._decoding
        if isinstance(decoding, EmbeddingDecoding):
            return [unit_length(outputs[0])]
        if isinstance(decoding, ClassMapDecoding):
            return [outputs[0].astype(np.float32).reshape(self.results[0][1])]
        if isinstance(decoding, SegmentationDecoding):
            axis = 3 if decoding.layout is Layout.NHWC else 1
            return [outputs[0].argmax(axis=axis).astype(np.float32)]
        found, classes, best = self._detect(decoding, outputs)
        if size is not None and self._recipe is not None:
            found = boxes_of_image(found, size, self._recipe)
        results = [np.zeros(shape, np.float32) for _, shape in self.results]
        for result, values in zip(results, (found.clip(0.0, 1.0), classes, best), strict=False):
            result[0, : len(best)] = values
        results[3][0] = len(best)
        return results

    def _detect(
        self, decoding: SsdDecoding | YoloDecoding | PostprocessedDecoding, outputs: Sequence[Floats]
    ) -> tuple[Floats, npt.NDArray[Any], Floats]:
        """Boxes in fractions of the input, classes and scores."""
        if isinstance(decoding, PostprocessedDecoding):
            return self._postprocessed(decoding, outputs)
        if isinstance(decoding, SsdDecoding):
            boxes, scores = self._ssd(decoding, outputs)
        else:
            boxes, scores = self._yolo(decoding, outputs[0][0])
        kept, classes, best = suppress(boxes, scores, decoding.suppression)
        return boxes[kept], classes, best

    def _postprocessed(
        self, decoding: PostprocessedDecoding, outputs: Sequence[Floats]
    ) -> tuple[Floats, Floats, Floats]:
        named = dict(zip(self._names, outputs, strict=True))
        boxes, classes, scores = (
            named[name][0] for name in (decoding.boxes, decoding.classes, decoding.scores)
        )
        # A count that is not a number is below every position.
        counted = np.arange(len(scores)) < named[decoding.count].reshape(-1)[0]
        with np.errstate(invalid="ignore", over="ignore"):
            sides = boxes[:, 2:] - boxes[:, :2]
            usable = np.isfinite(sides).all(axis=1) & (sides > 0).all(axis=1) & (scores >= decoding.min_score)
        usable &= counted & (classes >= 0)
        return boxes[usable], np.rint(classes[usable]), scores[usable]

    def _ssd(self, decoding: SsdDecoding, outputs: Sequence[Floats]) -> tuple[Floats, Floats]:
        encoded = outputs[self._names.index(decoding.boxes)][0]
        scores = outputs[self._names.index(decoding.scores)][0, :, int(decoding.has_background) :]
        steps = encoded / np.array(decoding.scales, np.float32)
        with np.errstate(over="ignore"):
            centre = steps[:, :2] * self._anchors[:, 2:] + self._anchors[:, :2]
            half = np.exp(steps[:, 2:]) * self._anchors[:, 2:] / np.float32(2)
            if decoding.sigmoid:
                scores = np.float32(1) / (np.float32(1) + np.exp(-scores))
            return np.concatenate([centre - half, centre + half], axis=1), scores

    def _yolo(self, decoding: YoloDecoding, output: Floats) -> tuple[Floats, Floats]:
        rows = output.T if decoding.is_transposed else output
        first = BOX_VALUES + decoding.has_objectness
        scores = rows[:, first:] * rows[:, BOX_VALUES:first] if decoding.has_objectness else rows[:, first:]
        centre, half = rows[:, 1::-1], rows[:, 3:1:-1] / np.float32(2)
        boxes = np.concatenate([centre - half, centre + half], axis=1)
        if decoding.is_in_pixels and self._recipe is not None:
            boxes /= np.array([self._recipe.height, self._recipe.width] * 2, np.float32)
        return boxes, scores


def settle(
    decoding: Decoding | None, names: Sequence[str], outputs: Sequence[npt.NDArray[Any]]
) -> list[npt.NDArray[Any]]:
    """Outputs with nothing in them but what the model computed.

    TFLite's detection operator fills as many rows as it found boxes and leaves the others as they were in memory
    (detection_postprocess.cc): they differ from run to run and may be NaN. They become 0 here.

    Args:
        decoding: Of the manifest.
        names: Of the outputs.
        outputs: (N, ...) each, in the order of the names.
    """
    if not isinstance(decoding, PostprocessedDecoding):
        return list(outputs)
    named = dict(zip(names, outputs, strict=True))
    count = named[decoding.count].reshape(len(named[decoding.count]), -1)[:, :1]
    for name in (decoding.boxes, decoding.classes, decoding.scores):
        values = named[name]
        used = np.arange(values.shape[1]) < count
        named[name] = np.where(used.reshape(*used.shape, *[1] * (values.ndim - 2)), values, 0).astype(
            values.dtype
        )
    return [named[name] for name in names]


def unit_length(values: Floats) -> Floats:
    """(..., values) each of length 1; nothing but zeros stays so."""
    length = np.sqrt(np.square(values, dtype=np.float64).sum(axis=-1, keepdims=True))
    return (values / np.where(length > 0, length, 1)).astype(np.float32)


def suppress(
    boxes: Floats, scores: Floats, rules: Suppression
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
    """Which boxes remain, best first.

    Args:
        boxes: (N, 4) top, left, bottom, right.
        scores: (N, classes).
        rules: What remains.

    Returns:
        Index, class and score of each.
    """
    classes = scores.argmax(axis=1)
    best: Floats = scores.max(axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        sides = boxes[:, 2:] - boxes[:, :2]
        areas = sides[:, 0] * sides[:, 1]
        usable = np.isfinite(areas) & (sides > 0).all(axis=1) & (best >= rules.min_score)
    order = np.flatnonzero(usable)
    order = order[np.argsort(-best[order], kind="stable")][:CANDIDATES]
    kept: list[np.intp] = []
    while order.size and len(kept) < rules.max_detections:
        one, rest = order[0], order[1:]
        kept.append(one)
        low = np.maximum(boxes[rest, :2], boxes[one, :2])
        shared = (np.minimum(boxes[rest, 2:], boxes[one, 2:]) - low).clip(0.0).prod(axis=1)
        is_near = shared > np.float32(rules.max_overlap) * (areas[rest] + areas[one] - shared)
        if rules.per_class:
            is_near &= classes[rest] == classes[one]
        order = rest[~is_near]
    chosen = np.array(kept, dtype=np.intp)
    return chosen, classes[chosen], best[chosen]
