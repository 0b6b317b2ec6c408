"""How a detector's outputs become boxes: from options, labels and the shapes of the outputs to the manifest's decoding.

PURE. Rules:

1. What follows from shapes and the number of labels is taken from there, and told. What does not is asked for: another
   reading of the same numbers would give other boxes, or none, without an error.
2. What is said must fit the shapes; what cannot mean anything for the decoding is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from contract.errors import ConfigError, ManifestError
from contract.results import (
    BOX_VALUES,
    PostprocessedDecoding,
    SsdDecoding,
    Suppression,
    YoloDecoding,
    decoding_faults,
    yolo_values,
)
from contract.tensor import TensorSpec
from packager.tasks.true_boxes import Vocabulary

DetectionDecoding = SsdDecoding | YoloDecoding | PostprocessedDecoding
MAX_ANCHORS = 20_000
"""They stand in the manifest as numbers: 2,000 take 75 to 158 KB of its 1 MiB (docs/adr/0023)."""
_OPERATOR_NAMES = (
    (
        "TFLite_Detection_PostProcess",
        "TFLite_Detection_PostProcess:1",
        "TFLite_Detection_PostProcess:2",
        "TFLite_Detection_PostProcess:3",
    ),
    ("detection_boxes", "detection_classes", "detection_scores", "num_detections"),
)
"""Boxes, classes, scores, count as TensorFlow's object detection API calls them (export_tflite_ssd_graph_lib.py)."""


class DetectionOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of task ``detection``; see ``docs/reference/tasks.md``.

    Attributes:
        decoding: ``ssd``, ``yolo``, ``postprocessed``, or ``auto`` for what follows from the outputs' shapes.
        boxes: Name of the output with boxes.
        scores: Name of the output with scores.
        classes: Name of the output with classes (postprocessed).
        count: Name of the output with the number of boxes (postprocessed).
        anchors: File with centre y, centre x, height, width of an anchor a line, in fractions (ssd).
        scales: What centre y, centre x, height and width are divided by (ssd).
        sigmoid: Whether scores are logits (ssd).
        background: Whether the first score is of no class (ssd).
        objectness: Whether a score for any object stands before those of the classes (yolo).
        transposed: Whether the output is (1, values, boxes) and not (1, boxes, values) (yolo).
        pixels: Whether boxes are in pixels of the input and not in fractions of it (yolo).
        min_score: A box needs this score at least.
        max_overlap: Overlap with a better box, above which a box is dropped (ssd, yolo).
        max_detections: How many boxes an answer has at most (ssd, yolo).
        per_class: Whether only boxes of the same class suppress each other (ssd, yolo).
        iou: Overlap that makes a hit: 0.5 for mAP50; 0 for COCO's mean over 0.5 to 0.95.
    """

    decoding: Literal["auto", "ssd", "yolo", "postprocessed"] = "auto"
    boxes: str = ""
    scores: str = ""
    classes: str = ""
    count: str = ""
    anchors: str = ""
    scales: tuple[float, ...] = (10.0, 10.0, 5.0, 5.0)
    sigmoid: bool | None = None
    background: bool | None = None
    objectness: bool | None = None
    transposed: bool | None = None
    pixels: bool | None = None
    min_score: float = 0.25
    max_overlap: float = 0.45
    max_detections: int = 100
    per_class: bool = True
    iou: float = 0.0


_ONLY_FOR = {
    "ssd": ("anchors", "sigmoid", "background", "scales"),
    "yolo": ("objectness", "transposed", "pixels"),
    "postprocessed": ("classes", "count"),
}
_NOT_FOR = {"yolo": ("boxes", "scores"), "postprocessed": ("max_overlap", "max_detections", "per_class")}


@dataclass(frozen=True)
class DetectionPlan:
    """How outputs are read.

    Attributes:
        decoding: For the manifest.
        vocabulary: The model's classes.
        told: What was concluded and not said, a sentence each.
    """

    decoding: DetectionDecoding
    vocabulary: Vocabulary
    told: tuple[str, ...]


Anchors = tuple[tuple[float, float, float, float], ...]


def choose_form(outputs: Sequence[TensorSpec], options: DetectionOptions) -> str:
    """Which decoding it is: as said, or as the outputs' shapes say; empty when they do not."""
    if options.decoding != "auto":
        return options.decoding
    shapes = [spec.shape for spec in outputs]
    if len(shapes) == 1 and len(shapes[0]) == 3:
        return "yolo"
    if len(shapes) == 2 and all(len(shape) == 3 for shape in shapes) and shapes[0][1] == shapes[1][1]:
        return "ssd"
    return "postprocessed" if len(shapes) == 4 else ""


def output_faults(outputs: Sequence[TensorSpec], options: DetectionOptions) -> list[str]:
    """Why no boxes can be had of these outputs; empty when they can."""
    shapes = ", ".join(f"{spec.name} {spec.shape}" for spec in outputs)
    form = choose_form(outputs, options)
    if not form:
        return [f"the outputs {shapes} are of no known detector; say decoding=ssd, yolo or postprocessed"]
    wanted = {"yolo": (1, 1), "ssd": (2, MAX_ANCHORS), "postprocessed": (4, MAX_ANCHORS)}[form]
    if not wanted[0] <= len(outputs) <= wanted[1]:
        count = f"{wanted[0]} output{'s' if wanted[0] > 1 else ''}"
        return [f"decoding {form} needs {count}, there are {len(outputs)}: {shapes}"]
    return []


def plan_detection(
    outputs: Sequence[TensorSpec], options: DetectionOptions, labels: tuple[str, ...], anchors: Anchors
) -> DetectionPlan:
    """Decide how outputs are read.

    Args:
        outputs: Of the model, without ``output_faults``.
        options: What is said.
        labels: Class names; empty for none.
        anchors: As they were read; empty for none.

    Raises:
        ConfigError: Something must be said, contradicts, or means nothing here.
        ManifestError: What is said does not fit the outputs.
    """
    form = choose_form(outputs, options)
    told = [f"outputs are read as {form}"] if options.decoding == "auto" else []
    _check_meaning(form, options)
    if form == "ssd":
        ssd = _ssd(outputs, options, labels, anchors, told)
        decoding: DetectionDecoding = ssd
        count = _named(outputs, ssd.scores).shape[-1] - ssd.has_background
    elif form == "yolo":
        yolo = _yolo(outputs[0], options, labels, told)
        decoding = yolo
        count = yolo_values(yolo, outputs[0].shape) - BOX_VALUES - yolo.has_objectness
    else:
        decoding, count = _postprocessed(outputs, options, told), len(labels)
        if not labels:
            raise ConfigError(
                "the model does not say how many classes there are", remedy="give --labels with their names"
            )
    if faults := decoding_faults(decoding, outputs, len(labels)):
        raise ManifestError("the decoding does not fit the model", faults=faults)
    return DetectionPlan(decoding, Vocabulary(labels, count), tuple(told))


def _check_meaning(form: str, options: DetectionOptions) -> None:
    default = DetectionOptions()
    foreign = [name for other, names in _ONLY_FOR.items() if other != form for name in names]
    foreign += _NOT_FOR.get(form, ())
    faults = [
        f"{name} means nothing for decoding {form}"
        for name in foreign
        if getattr(options, name) != getattr(default, name)
    ]
    if not 0 <= options.iou <= 1 or not math.isfinite(options.iou):
        faults.append(f"iou {options.iou:g} is not within 0 to 1")
    if len(options.scales) != BOX_VALUES:
        faults.append(f"scales has {len(options.scales)} values, {BOX_VALUES} are needed")
    if faults:
        raise ConfigError("the task options do not fit together", faults=faults)


def _suppression(options: DetectionOptions) -> Suppression:
    return Suppression(
        min_score=options.min_score,
        max_overlap=options.max_overlap,
        max_detections=options.max_detections,
        per_class=options.per_class,
    )


def _ask(name: str, meaning: str) -> ConfigError:
    return ConfigError(
        f"the model does not say {meaning}", remedy=f"give --task-option {name}=true or {name}=false"
    )


def _named(outputs: Sequence[TensorSpec], name: str) -> TensorSpec:
    found = [spec for spec in outputs if spec.name == name]
    if not found:
        names = ", ".join(spec.name for spec in outputs)
        raise ConfigError(f"the model has no output {name[:80]!r}", remedy=f"it has {names}")
    return found[0]


def _ssd(
    outputs: Sequence[TensorSpec],
    options: DetectionOptions,
    labels: tuple[str, ...],
    anchors: Anchors,
    told: list[str],
) -> SsdDecoding:
    boxes, scores = options.boxes, options.scores
    if not (boxes and scores):
        of_boxes = [spec for spec in outputs if spec.shape[2:] == (BOX_VALUES,)]
        if len(outputs) != 2 or len(of_boxes) != 1 or boxes or scores:
            shapes = ", ".join(f"{spec.name} {spec.shape}" for spec in outputs)
            raise ConfigError(
                f"it is not clear which output has boxes and which has scores: {shapes}",
                remedy="give --task-option boxes=NAME and --task-option scores=NAME",
            )
        boxes = of_boxes[0].name
        scores = next(spec.name for spec in outputs if spec.name != boxes)
        told.append(f"boxes are in output {boxes}, scores in {scores}")
    if not anchors:
        raise ConfigError(
            "decoding ssd needs the model's anchors",
            remedy="give --task-option anchors=FILE: centre y, centre x, height, width a line, in fractions",
        )
    _named(outputs, boxes)
    background = options.background
    if background is None:
        more = _named(outputs, scores).shape[-1] - len(labels)
        if not labels or more not in {0, 1}:
            raise _ask("background", "whether the first score is of no class")
        background = more == 1
        told.append(
            f"the first score is of {'no' if background else 'the first'} class, as there are {len(labels)}"
        )
    if options.sigmoid is None:
        raise _ask("sigmoid", "whether its scores are logits")
    y, x, height, width = options.scales
    return SsdDecoding(
        boxes=boxes,
        scores=scores,
        anchors=anchors,
        scales=(y, x, height, width),
        sigmoid=options.sigmoid,
        has_background=background,
        suppression=_suppression(options),
    )


def _yolo(
    output: TensorSpec, options: DetectionOptions, labels: tuple[str, ...], told: list[str]
) -> YoloDecoding:
    if len(output.shape) != 3:
        raise ManifestError(
            f"output {output.name} has shape {output.shape}, decoding yolo needs three dimensions"
        )
    forms = [
        (has_objectness, is_transposed)
        for has_objectness in (False, True)
        for is_transposed in (True, False)
        if options.objectness in {None, has_objectness} and options.transposed in {None, is_transposed}
    ]
    if len(forms) > 1 and labels:
        values = {form: output.shape[1 if form[1] else 2] for form in forms}
        forms = [form for form in forms if values[form] == BOX_VALUES + form[0] + len(labels)]
    if len(forms) != 1:
        raise ConfigError(
            f"output {output.name} {output.shape} can be read in {len(forms) or 'no'} ways",
            remedy="give --labels, and --task-option objectness=... and transposed=... as the model was made",
        )
    ((has_objectness, is_transposed),) = forms
    if None in {options.objectness, options.transposed}:
        order = "(1, values, boxes)" if is_transposed else "(1, boxes, values)"
        told.append(f"the output is {order} {'with' if has_objectness else 'without'} objectness")
    if options.pixels is None:
        raise _ask(
            "pixels", "whether its boxes are in pixels of the input (true) or in fractions of it (false)"
        )
    return YoloDecoding(
        has_objectness=has_objectness,
        is_transposed=is_transposed,
        is_in_pixels=options.pixels,
        suppression=_suppression(options),
    )


def _postprocessed(
    outputs: Sequence[TensorSpec], options: DetectionOptions, told: list[str]
) -> PostprocessedDecoding:
    names = (options.boxes, options.classes, options.scores, options.count)
    if not any(names):
        present = {spec.name for spec in outputs}
        known = [names for names in _OPERATOR_NAMES if present.issuperset(names)]
        if known:
            names = known[0]
            told.append(f"boxes, classes, scores and count are in {', '.join(names)}")
    if not all(names):
        shapes = ", ".join(f"{spec.name} {spec.shape}" for spec in outputs)
        raise ConfigError(
            f"it is not clear which output is which: {shapes}",
            remedy="give --task-option boxes=NAME, classes=NAME, scores=NAME and count=NAME",
        )
    boxes, classes, scores, count = names
    return PostprocessedDecoding(
        boxes=boxes, classes=classes, scores=scores, count=count, min_score=options.min_score
    )
