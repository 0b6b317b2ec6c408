"""What a model file says of itself to Android's and MediaPipe's task libraries.

PURE. Rules:

1. Only what the metadata's schema can say truly is said. Where a library would feed a model wrongly (blue first,
   channels first), the input is a plain feature, and the library refuses the model instead.
2. Normalisation is (pixel - mean) / std in pixel units for every precision; what follows for integers is in the
   tensor's own quantization.
3. Labels are one a line in ``labels.txt``, in the order of the scores; none may hold a line break or another control
   character, which would shift or forge the lines after it.
4. A detector is described where its file ends in TFLite's own post-processing: boxes, classes, scores and a count, in
   this order (``TFLite_Detection_PostProcess``). Other detectors' outputs are plain features.
5. A wave is described by its rate; libraries bring what a microphone gives to it.

Schema: metadata_schema.fbs, version 1.5, of tflite-support and of MediaPipe. How MediaPipe reads it:
https://ai.google.dev/edge/litert/models/metadata.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from contract.errors import ManifestError
from contract.manifest import Color, ImagePreprocessing, Task
from contract.pixels import is_usual_image
from contract.tensor import TensorSpec

LABELS_FILE = "labels.txt"
_CLASSIFIERS = frozenset((Task.CLASSIFICATION.value, Task.AUDIO_CLASSIFICATION.value))
_PIXELS = (0.0, 255.0)
_SHOWN = 5


class Content(enum.IntEnum):
    """What a tensor holds: numbers of the schema's union ``ContentProperties``."""

    FEATURE = 1
    IMAGE = 2
    BOXES = 3
    AUDIO = 4


class LabelUse(enum.IntEnum):
    """What the lines of a label file name: numbers of the schema's ``AssociatedFileType``."""

    AXIS = 2
    VALUE = 3


class Space(enum.IntEnum):
    """Numbers of the schema's ``ColorSpaceType``."""

    RGB = 1
    GRAYSCALE = 2


@dataclass(frozen=True)
class TensorCard:
    """One input or output.

    Attributes:
        key: Its name in the model's signature.
        name: What libraries know it by.
        text: For people.
        content: What it holds.
        space: Colours of an image; None for anything else.
        size: Width and height of an image in pixels.
        mean: Per channel in pixel units; empty where nothing is normalised.
        std: Per channel in pixel units.
        low: Lowest values; empty where unknown.
        high: Highest values.
        labels: What the label file names in it; None for nothing.
        rate_hz: Values a second of a wave of one channel; 0 for anything else.
    """

    key: str
    name: str
    text: str
    content: Content = Content.FEATURE
    space: Space | None = None
    size: tuple[int, int] = (0, 0)
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    labels: LabelUse | None = None
    rate_hz: int = 0


@dataclass(frozen=True)
class ModelCard:
    """One model.

    Attributes:
        name: The model's.
        version: SemVer.
        text: For people.
        inputs: In any order; ``key`` tells which.
        outputs: In any order; ``key`` tells which.
        files: Name to content of what is appended to the model file.
    """

    name: str
    version: str
    text: str
    inputs: tuple[TensorCard, ...]
    outputs: tuple[TensorCard, ...]
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """What is described: the parts of a manifest that libraries care for.

    Attributes:
        name: Model name.
        version: SemVer.
        task: Value of the manifest's task.
        inputs: In the manifest's order; the first is what an image becomes.
        outputs: In the manifest's order.
        preprocessing: None for models that take no image.
        labels: Class names; empty for none.
        is_logits: Whether a classifier's scores still need a softmax.
        operators: Of the main graph in order, TFLite's names.
        rate_hz: Of the wave that the first input takes; 0 for no wave.
    """

    name: str
    version: str
    task: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocessing: ImagePreprocessing | None
    labels: tuple[str, ...]
    is_logits: bool
    operators: tuple[str, ...]
    rate_hz: int = 0


def describe_model(subject: Subject) -> ModelCard:
    """Describe a model for the task libraries.

    Raises:
        ManifestError: A label cannot stand in a file of labels.
    """
    return ModelCard(
        name=subject.name,
        version=subject.version,
        text=f"{subject.name} {subject.version}: {subject.task}.",
        inputs=tuple(
            _describe_first(spec, subject) if position == 0 else _plain(spec, "Input")
            for position, spec in enumerate(subject.inputs)
        ),
        outputs=_describe_outputs(subject),
        files={LABELS_FILE: label_file(subject.labels)} if subject.labels else {},
    )


def label_file(labels: Sequence[str]) -> bytes:
    """Labels as a file: UTF-8, one a line.

    Raises:
        ManifestError: One of them would not be a line of its own.
    """
    faults = [
        f"label {position} is {label[:80]!r}"
        for position, label in enumerate(labels)
        if not label.strip() or not label.isprintable()
    ]
    if faults:
        raise ManifestError(
            "labels must be text of one line each",
            faults=faults[:_SHOWN],
            remedy="remove empty ones, control characters and line breaks",
        )
    return "\n".join(labels).encode("utf-8")


def _describe_first(spec: TensorSpec, subject: Subject) -> TensorCard:
    if subject.rate_hz:
        text = f"Wave of one channel, {subject.rate_hz} values a second, -1 to 1"
        return TensorCard(spec.name, "audio_clip", text, Content.AUDIO, rate_hz=subject.rate_hz)
    return _describe_input(spec, subject.preprocessing)


def _describe_input(spec: TensorSpec, image: ImagePreprocessing | None) -> TensorCard:
    if image is None or not is_usual_image(image):
        return _plain(spec, "Input")
    low, high = ([(pixel - m) / s for m, s in zip(image.mean, image.std, strict=True)] for pixel in _PIXELS)
    return TensorCard(
        key=spec.name,
        name="image",
        text=f"{image.color.value} image of {image.width} x {image.height} pixels, {image.resize.value}",
        content=Content.IMAGE,
        space=Space.GRAYSCALE if image.color is Color.GRAYSCALE else Space.RGB,
        size=(image.width, image.height),
        mean=image.mean,
        std=image.std,
        low=tuple(low),
        high=tuple(high),
    )


def _plain(spec: TensorSpec, what: str, labels: LabelUse | None = None) -> TensorCard:
    low, high = ((spec.value_range[0],), (spec.value_range[1],)) if spec.value_range else ((), ())
    return TensorCard(spec.name, spec.name, f"{what} {spec.name}", low=low, high=high, labels=labels)


def _describe_outputs(subject: Subject) -> tuple[TensorCard, ...]:
    labels = bool(subject.labels)
    if subject.task in _CLASSIFIERS and len(subject.outputs) == 1:
        (scores,) = subject.outputs
        card = _plain(scores, "Scores of", labels=LabelUse.AXIS if labels else None)
        kind = "Logit" if subject.is_logits else "Score"
        return (replace(card, name="probability", text=f"{kind} of each class"),)
    if subject.task == Task.SEGMENTATION.value and len(subject.outputs) == 1:
        return (_plain(subject.outputs[0], "Scores in", labels=LabelUse.AXIS if labels else None),)
    if subject.task == Task.DETECTION.value and _ends_in_detections(subject):
        return _detections(subject.outputs, has_labels=labels)
    return tuple(_plain(spec, "Output") for spec in subject.outputs)


def _ends_in_detections(subject: Subject) -> bool:
    return len(subject.outputs) == 4 and subject.operators[-1:] == ("CUSTOM TFLite_Detection_PostProcess",)


def _detections(outputs: Sequence[TensorSpec], *, has_labels: bool) -> tuple[TensorCard, ...]:
    """Names and properties by which MediaPipe and Android tell the four outputs apart."""
    boxes, classes, scores, count = outputs
    return (
        TensorCard(boxes.name, "location", "Boxes: top, left, bottom, right", Content.BOXES),
        TensorCard(
            classes.name,
            "category",
            "Class of each box",
            labels=LabelUse.VALUE if has_labels else None,
        ),
        TensorCard(scores.name, "score", "Score of each box"),
        TensorCard(count.name, "number of detections", "How many boxes are used"),
    )
