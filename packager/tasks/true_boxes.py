"""What is true of a detector's images: the form that all formats of annotations are read into, and what is refused.

PURE. Rules:

1. Nothing is repaired: a box outside its image or of an unknown class is refused with the file that says so.
2. A box may stand over an edge by ``SLACK_PIXELS``: annotation tools round, and some count pixels from 1.
3. Names are never matched by likeness; the nearest one is only told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contract.errors import ManifestError
from contract.identifiers import nearest

SLACK_PIXELS = 1.0
MAX_BOXES = 10_000
"""In one image; the most crowded of COCO's have 200 (own bound)."""
_FAULTS_SHOWN = 20
_SHOWN_CHARS = 80


@dataclass(frozen=True)
class TrueBox:
    """One object.

    Attributes:
        edges: Top, left, bottom, right in pixels.
        label: Its class.
        is_crowd: Whether it is a region with many objects of the class: hits on it count neither way, and it may be
            hit more than once.
        is_optional: Whether it need not be found: a hit on it counts neither way.
    """

    edges: tuple[float, float, float, float]
    label: int
    is_crowd: bool = False
    is_optional: bool = False

    @property
    def is_wanted(self) -> bool:
        """Whether it must be found."""
        return not (self.is_crowd or self.is_optional)


@dataclass(frozen=True)
class Vocabulary:
    """The classes of a model.

    Attributes:
        labels: Their names in the order of the scores; empty for none.
        count: How many there are.
    """

    labels: tuple[str, ...]
    count: int

    def of_name(self, name: str) -> int:
        """Number of a class.

        Raises:
            ValueError: There is none of this name.
        """
        if name in self.labels:
            return self.labels.index(name)
        shown = name[:_SHOWN_CHARS]
        if not self.labels:
            raise ValueError(
                f"class {shown!r} is a name, give --labels with all names in the order of the scores"
            )
        raise ValueError(f"class {shown!r} is not in the labels: {nearest(shown, self.labels)}")

    def of_number(self, number: int) -> int:
        """The number itself.

        Raises:
            ValueError: The model has no such class.
        """
        if not 0 <= number < self.count:
            raise ValueError(f"class {number} is not within 0 to {self.count - 1}")
        return number

    @property
    def names(self) -> tuple[str, ...]:
        """Labels, or numbers where there are none."""
        return self.labels or tuple(str(number) for number in range(self.count))


def number_of(text: str) -> float:
    """A finite number.

    Raises:
        ValueError: It is none.
    """
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:_SHOWN_CHARS]!r} is not finite")
    return value


def edge_fault(box: TrueBox, size: tuple[int, int]) -> str:
    """What is wrong with a box in an image of this height and width; empty when nothing is."""
    top, left, bottom, right = box.edges
    if not all(map(math.isfinite, box.edges)):
        return "a side is not finite"
    if not (bottom > top and right > left):
        return f"the box from ({left:g}, {top:g}) to ({right:g}, {bottom:g}) has no area"
    height, width = size
    if min(top, left) < -SLACK_PIXELS or bottom > height + SLACK_PIXELS or right > width + SLACK_PIXELS:
        return (
            f"the box from ({left:g}, {top:g}) to ({right:g}, {bottom:g}) is outside the image, "
            f"which has {width} x {height} pixels"
        )
    return ""


def refuse(what: str, faults: Sequence[str], remedy: str = "") -> None:
    """Raise when there are faults.

    Raises:
        ManifestError: With the first of them, and how many there are more.
    """
    if not faults:
        return
    shown = list(faults[:_FAULTS_SHOWN])
    if len(faults) > len(shown):
        shown.append(f"and {len(faults) - len(shown)} more")
    raise ManifestError(what, faults=shown, remedy=remedy)


def count_wanted(truths: Sequence[Sequence[TrueBox]], classes: int) -> npt.NDArray[np.float64]:
    """(N, classes) how many boxes of each class must be found in each image."""
    counts = np.zeros((len(truths), classes))
    for position, boxes in enumerate(truths):
        for box in boxes:
            counts[position, box.label] += box.is_wanted
    return counts
