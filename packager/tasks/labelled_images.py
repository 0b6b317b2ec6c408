"""Reads images that stand in a folder per class, and the names of the classes.

Guarantees: every image has a class that the model knows; nothing is guessed from similar names. Does not judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from contract.errors import ManifestError
from contract.identifiers import nearest
from contract.manifest import ImagePreprocessing
from packager.images import ImageFile, ImageSet, list_images, read_images

_PURPOSE = "evaluation"
_LABELS_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class LabelledImages:
    """Images with their true classes.

    Attributes:
        images: Decoded.
        classes: (N,) int64, index into the scores.
        labels: Class names in the order of the scores; empty when the folders are numbers.
    """

    images: ImageSet
    classes: npt.NDArray[np.int64]
    labels: tuple[str, ...]


def load_labels(path: Path, classes: int | None) -> tuple[str, ...]:
    """Read class names, one a line, in the order of the scores.

    Args:
        path: The file.
        classes: How many there must be; None where the model does not say.

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
    if not labels or classes not in {None, len(labels)}:
        faults.append(f"{len(labels)} lines, the model has {classes or 'more'} classes")
    if not all(labels):
        faults.append(f"line {labels.index('') + 1} is empty")
    double = sorted({label for label in labels if label and labels.count(label) > 1})
    faults += [f"{label!r} stands there twice" for label in double]
    if faults:
        raise ManifestError(
            f"labels {path.name} does not fit", faults=faults, remedy="one class name a line, in score order"
        )
    return labels


def load_labelled_images(
    folder: Path,
    shape: tuple[int, int, int],
    classes: int,
    labels: tuple[str, ...],
    recipe: ImagePreprocessing | None = None,
) -> LabelledImages:
    """Read the evaluation images.

    Args:
        folder: ``<class>/<image>``; the class is a label, or the score's index when there are no labels.
        shape: Height, width, channels of the model's input.
        classes: How many scores the model gives.
        labels: Class names; empty for none.
        recipe: How images of other sizes come to this one; None to refuse them.

    Raises:
        ManifestError: No images, one outside a class folder or that does not fit, or an unknown class.
    """
    files = list_images(folder, _PURPOSE)
    truth = true_classes(files, classes, labels)
    images = read_images(files, shape, _PURPOSE, recipe=recipe)
    return LabelledImages(images, truth, labels)


def true_classes(
    files: Sequence[ImageFile], classes: int, labels: tuple[str, ...], kind: str = "image"
) -> npt.NDArray[np.int64]:
    """(N,) the class of each file, which its folder names.

    Args:
        files: Images, or sounds.
        classes: How many scores the model gives.
        labels: Class names; empty for folders that are numbers.
        kind: What the files are, for error texts.

    Raises:
        ManifestError: One stands outside a class folder, or in one that the model does not know.
    """
    known = labels or tuple(str(index) for index in range(classes))
    for file in files:
        if not file.folder:
            raise ManifestError(
                f"{_PURPOSE} {kind} {file.name} stands outside a class folder",
                remedy=f"accuracy needs the true class: put it in <class>/<{kind}>",
            )
        if file.folder not in known:
            source = "not in the labels" if labels else f"not a class number from 0 to {classes - 1}"
            hint = nearest(file.folder, known) if labels else "rename it, or give --labels"
            raise ManifestError(f"{_PURPOSE} class folder {file.folder!r} is {source}", remedy=hint)
    index = {label: position for position, label in enumerate(known)}
    return np.array([index[file.folder] for file in files], dtype=np.int64)
