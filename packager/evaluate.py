"""The images that accuracy is measured on, and the measuring.

Guarantees: every variant sees the same images, in the same order, with the same preprocessing, one at a time.
Does not judge: that is ``packager.gate``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from contract.errors import ManifestError
from contract.identifiers import nearest
from contract.manifest import ImagePreprocessing
from packager.images import ImageSet, list_images, read_images
from packager.preprocess import to_inputs

_PURPOSE = "evaluation"
_LABELS_MAX_BYTES = 1 << 20
_BLOCK = 64  # images preprocessed at once
_NO_CLASS = -1
LATENCY_RUNS = 50
LATENCY_WARM_UP = 10

Floats = npt.NDArray[np.float32]


class Model(Protocol):
    """What is evaluated; ``packager.runtime.interpreter.LoadedModel`` is one."""

    def run(self, samples: Floats) -> Floats:
        """(N, H, W, C) in, (N, classes) out."""
        ...

    def time_invocations(self, sample: Floats, *, runs: int, warm_up: int) -> list[float]:
        """Milliseconds of single runs."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """How one variant did.

    Attributes:
        right: How many best classes were the true one.
        samples: Of how many.
        best: (N,) int64 best class of each image; -1 where a score was not finite.
        margin: (N,) float32 distance of the best score to the second.
        spread: Highest minus lowest score over all images.
    """

    right: int
    samples: int
    best: npt.NDArray[np.int64]
    margin: Floats
    spread: float

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0 to 1 (top-1)."""
        return self.right / self.samples


@dataclass(frozen=True)
class EvaluationSet:
    """Images with their true classes.

    Attributes:
        images: Decoded.
        classes: (N,) int64, index into the scores.
        labels: Class names in the order of the scores; empty when the folders are numbers.
    """

    images: ImageSet
    classes: npt.NDArray[np.int64]
    labels: tuple[str, ...]


def load_labels(path: Path, classes: int) -> tuple[str, ...]:
    """Read class names, one a line, in the order of the scores.

    Raises:
        ManifestError: Not readable, not as many as scores, empty or double lines.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LABELS_MAX_BYTES).decode("utf-8")
    except OSError as error:
        raise ManifestError(f"labels {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"labels {path.name} is no UTF-8 text") from error
    labels = tuple(line.strip() for line in text.splitlines())
    faults = []
    if len(labels) != classes:
        faults.append(f"{len(labels)} lines, the model has {classes} classes")
    if not all(labels):
        faults.append(f"line {labels.index('') + 1} is empty")
    double = sorted({label for label in labels if label and labels.count(label) > 1})
    faults += [f"{label!r} stands there twice" for label in double]
    if faults:
        raise ManifestError(
            f"labels {path.name} does not fit", faults=faults, remedy="one class name a line, in score order"
        )
    return labels


def load_evaluation(
    folder: Path, shape: tuple[int, int, int], classes: int, labels: tuple[str, ...]
) -> EvaluationSet:
    """Read the evaluation images.

    Args:
        folder: ``<class>/<image>``; the class is a label, or the score's index when there are no labels.
        shape: Height, width, channels of the model's input.
        classes: How many scores the model gives.
        labels: Class names; empty for none.

    Raises:
        ManifestError: No images, one outside a class folder or that does not fit, or an unknown class.
    """
    files = list_images(folder, _PURPOSE)
    known = labels or tuple(str(index) for index in range(classes))
    for file in files:
        if not file.folder:
            raise ManifestError(
                f"{_PURPOSE} image {file.name} stands outside a class folder",
                remedy="accuracy needs the true class: put it in <class>/<image>",
            )
        if file.folder not in known:
            source = "not in the labels" if labels else f"not a class number from 0 to {classes - 1}"
            hint = nearest(file.folder, known) if labels else "rename it, or give --labels"
            raise ManifestError(f"{_PURPOSE} class folder {file.folder!r} is {source}", remedy=hint)
    images = read_images(files, shape, _PURPOSE)
    index = {label: position for position, label in enumerate(known)}
    return EvaluationSet(images, np.array([index[name] for name in images.folders], dtype=np.int64), labels)


def evaluate(
    model: Model,
    samples: EvaluationSet,
    preprocessing: ImagePreprocessing,
    advance: Callable[[int], None],
) -> Evaluation:
    """Measure accuracy over all images.

    Args:
        model: What is measured.
        samples: Images with true classes.
        preprocessing: From pixels to inputs.
        advance: Told how many images were done since it was told last.
    """
    pixels = samples.images.pixels
    best: list[npt.NDArray[np.int64]] = []
    margin: list[Floats] = []
    low, high = np.inf, -np.inf
    for start in range(0, len(pixels), _BLOCK):
        scores = model.run(to_inputs(pixels[start : start + _BLOCK], preprocessing))
        finite = np.isfinite(scores).all(axis=1)
        best.append(np.where(finite, scores.argmax(axis=1), _NO_CLASS))
        top = np.sort(scores, axis=1)[:, -2:]
        margin.append(np.where(finite, top[:, 1] - top[:, 0], 0).astype(np.float32))
        low = min(low, float(scores[finite].min(initial=np.inf)))
        high = max(high, float(scores[finite].max(initial=-np.inf)))
        advance(len(scores))
    chosen = np.concatenate(best)
    return Evaluation(
        right=int((chosen == samples.classes).sum()),
        samples=len(chosen),
        best=chosen,
        margin=np.concatenate(margin),
        spread=max(0.0, high - low),
    )


def measure_latency_ms(model: Model, samples: EvaluationSet, preprocessing: ImagePreprocessing) -> float:
    """Median of single invocations on this machine, one thread, after warm-up, in ms."""
    sample = to_inputs(samples.images.pixels[:1], preprocessing)[0]
    return statistics.median(model.time_invocations(sample, runs=LATENCY_RUNS, warm_up=LATENCY_WARM_UP))
