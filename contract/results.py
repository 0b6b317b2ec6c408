"""What becomes of the outputs of models that do not classify: boxes, maps of classes, embeddings.

PURE. Rules:

1. Describes only; ``contract.decoding`` does it.
2. A manifest has at most one decoding. Its kind says what the model is for, so it must fit the task.
3. With a decoding, applications get its results instead of the model's outputs, float32 like these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from contract.tensor import Layout, TensorSpec

MAX_DETECTIONS = 1_000
BOX_VALUES = 4


class Suppression(msgspec.Struct, frozen=True, kw_only=True):
    """Which boxes remain: the best first, and none that covers nearly the same as a better one.

    Attributes:
        min_score: A box needs this score at least, 0 to 1.
        max_overlap: Intersection over union with a better box, 0 to 1, above which a box is dropped.
        max_detections: How many boxes an answer has at most, 1 to 1000.
        per_class: Whether only boxes of the same class suppress each other.
    """

    min_score: float = 0.25
    max_overlap: float = 0.45
    max_detections: int = 100
    per_class: bool = True


class SsdDecoding(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="ssd"):
    """From the encoded boxes and scores of an SSD detector to boxes.

    Attributes:
        boxes: Name of the output (1, anchors, 4): encoded centre y, centre x, height, width.
        scores: Name of the output (1, anchors, classes).
        anchors: Centre y, centre x, height, width of each, as fractions of the input.
        scales: What centre y, centre x, height and width are divided by, each above 0.
        sigmoid: Whether the scores are logits that still need one.
        has_background: Whether the first score is of no class.
        suppression: Which boxes remain.
    """

    boxes: str
    scores: str
    anchors: tuple[tuple[float, float, float, float], ...]
    scales: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    sigmoid: bool = False
    has_background: bool = True
    suppression: Suppression = Suppression()


class YoloDecoding(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="yolo"):
    """From the only output of a YOLO detector to boxes: centre x, centre y, width, height, scores of the classes.

    Attributes:
        has_objectness: Whether a score for any object stands before those of the classes (YOLOv5); they are multiplied.
        is_transposed: Whether the output is (1, values, boxes) (YOLOv8) and not (1, boxes, values).
        is_in_pixels: Whether boxes are in pixels of the input and not in fractions of it.
        suppression: Which boxes remain.
    """

    has_objectness: bool = False
    is_transposed: bool = True
    is_in_pixels: bool = False
    suppression: Suppression = Suppression()


class PostprocessedDecoding(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="postprocessed"):
    """From a detector that ends in ``TFLite_Detection_PostProcess``, TFLite's own operator: it suppresses by itself.

    Attributes:
        boxes: Name of the output (1, n, 4): top, left, bottom, right in fractions of the input.
        classes: Name of the output (1, n).
        scores: Name of the output (1, n).
        count: Name of the output (1,): how many of the n are boxes.
        min_score: A box needs this score at least, 0 to 1.
    """

    boxes: str
    classes: str
    scores: str
    count: str
    min_score: float = 0.25


class SegmentationDecoding(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="segmentation"):
    """From a score for each class and pixel to the best class of each pixel.

    Attributes:
        layout: ``NHWC`` or ``NCHW``: whether the scores of a pixel come last or first.
    """

    layout: Layout = Layout.NHWC


class ClassMapDecoding(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="class-map"):
    """From the only output (1, H, W) or (1, H, W, 1), which holds the best class of each pixel, to float32."""


class EmbeddingDecoding(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="embedding"):
    """From the only output (1, values) to an embedding of length 1, so that a dot product is the cosine."""


Decoding = (
    SsdDecoding
    | YoloDecoding
    | PostprocessedDecoding
    | SegmentationDecoding
    | ClassMapDecoding
    | EmbeddingDecoding
)
TASK_OF: dict[type, str] = {
    SsdDecoding: "detection",
    YoloDecoding: "detection",
    PostprocessedDecoding: "detection",
    SegmentationDecoding: "segmentation",
    ClassMapDecoding: "segmentation",
    EmbeddingDecoding: "embedding",
}
"""Value of the task that a decoding belongs to."""


def decoding_faults(decoding: Decoding, outputs: Sequence[TensorSpec], labels: int) -> list[str]:
    """List every fault of a description; empty when it is sound.

    Args:
        decoding: The description.
        outputs: Of the model.
        labels: How many there are; 0 for none.
    """
    classes = -1
    if isinstance(decoding, SsdDecoding):
        faults = _suppression_faults(decoding.suppression) + _ssd_faults(decoding, outputs)
        if not faults:
            classes = _named(outputs, decoding.scores).shape[2] - decoding.has_background
    elif isinstance(decoding, PostprocessedDecoding):
        faults = _postprocessed_faults(decoding, outputs)
    elif len(outputs) != 1:
        faults = [f"decoding: one output is possible, there are {len(outputs)}"]
    elif isinstance(decoding, YoloDecoding):
        shape, first = outputs[0].shape, BOX_VALUES + decoding.has_objectness
        faults = _suppression_faults(decoding.suppression)
        if len(shape) != 3 or min(shape[1:]) < 1 or yolo_values(decoding, shape) <= first:
            wanted = "(1, values, boxes)" if decoding.is_transposed else "(1, boxes, values)"
            faults.append(
                f"decoding: outputs[0] has shape {shape}, not {wanted} with more than {first} values"
            )
        else:
            classes = yolo_values(decoding, shape) - first
    elif isinstance(decoding, SegmentationDecoding):
        faults, classes = _segmentation_faults(decoding, outputs[0].shape)
    elif isinstance(decoding, ClassMapDecoding):
        shape = outputs[0].shape
        is_map = len(shape) in {3, 4} and min(shape[1:]) > 0 and shape[3:] in {(), (1,)}
        faults = [] if is_map else [f"decoding: outputs[0] has shape {shape}, not (1, H, W)"]
    else:
        shape = outputs[0].shape
        faults = (
            []
            if len(shape) == 2 and shape[1] > 0
            else [f"decoding: outputs[0] has shape {shape}, not (1, values)"]
        )
    if not faults and labels and classes not in {-1, labels}:
        faults.append(f"labels: {labels} for {classes} classes")
    return faults


def yolo_values(decoding: YoloDecoding, shape: Sequence[int]) -> int:
    """How many values a box has."""
    return shape[1] if decoding.is_transposed else shape[2]


def _segmentation_faults(decoding: SegmentationDecoding, shape: Sequence[int]) -> tuple[list[str], int]:
    if decoding.layout not in {Layout.NHWC, Layout.NCHW}:
        return [f"decoding: layout {decoding.layout.value} is none of maps, use NHWC or NCHW"], -1
    if len(shape) != 4 or min(shape[1:]) < 1:
        return [f"decoding: outputs[0] has shape {tuple(shape)}, not one score for each class and pixel"], -1
    classes = shape[3] if decoding.layout is Layout.NHWC else shape[1]
    return ([] if classes > 1 else ["decoding: outputs[0] has one class, at least two are needed"]), classes


def _named(outputs: Sequence[TensorSpec], name: str) -> TensorSpec:
    return next(spec for spec in outputs if spec.name == name)


def _missing(outputs: Sequence[TensorSpec], *names: str) -> list[str]:
    known = {spec.name for spec in outputs}
    return [f"decoding: {name[:80]!r} is no output" for name in names if name not in known]


def _postprocessed_faults(decoding: PostprocessedDecoding, outputs: Sequence[TensorSpec]) -> list[str]:
    names = (decoding.boxes, decoding.classes, decoding.scores, decoding.count)
    faults = _missing(outputs, *names)
    if faults:
        return faults
    boxes, classes, scores, count = (tuple(_named(outputs, name).shape[1:]) for name in names)
    if len(boxes) != 2 or boxes[1] != BOX_VALUES or not 1 <= boxes[0] <= MAX_DETECTIONS:
        faults.append(
            f"decoding: boxes have shape {(1, *boxes)}, not (1, n, {BOX_VALUES}) with up to {MAX_DETECTIONS}"
        )
    faults += [
        f"decoding: {what} have shape {(1, *shape)}, not {(1, boxes[0])}"
        for what, shape in (("classes", classes), ("scores", scores))
        if shape != boxes[:1]
    ]
    if count not in {(), (1,)}:
        faults.append(f"decoding: the count has shape {(1, *count)}, not (1,)")
    if not 0 <= decoding.min_score <= 1:
        faults.append("decoding: min_score must be 0 to 1")
    return faults


def _ssd_faults(decoding: SsdDecoding, outputs: Sequence[TensorSpec]) -> list[str]:
    faults = _missing(outputs, decoding.boxes, decoding.scores)
    if faults:
        return faults
    count = len(decoding.anchors)
    boxes, scores = (_named(outputs, name).shape for name in (decoding.boxes, decoding.scores))
    if tuple(boxes[1:]) != (count, BOX_VALUES):
        faults.append(
            f"decoding: boxes have shape {boxes}, not (1, {count}, {BOX_VALUES}) for {count} anchors"
        )
    if len(scores) != 3 or scores[1] != count or scores[2] - decoding.has_background < 1:
        faults.append(f"decoding: scores have shape {scores}, not (1, {count}, classes) for {count} anchors")
    if not all(math.isfinite(value) for anchor in decoding.anchors for value in anchor):
        faults.append("decoding: anchors must be finite")
    if not all(math.isfinite(scale) and scale > 0 for scale in decoding.scales):
        faults.append("decoding: scales must be finite and above 0")
    return faults


def _suppression_faults(rules: Suppression) -> list[str]:
    faults: list[str] = []
    if not (0 <= rules.min_score <= 1 and 0 <= rules.max_overlap <= 1):
        faults.append("decoding: min_score and max_overlap must be 0 to 1")
    if not 1 <= rules.max_detections <= MAX_DETECTIONS:
        faults.append(f"decoding: max_detections must be 1 to {MAX_DETECTIONS}")
    return faults
