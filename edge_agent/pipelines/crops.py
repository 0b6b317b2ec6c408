"""From the boxes that a detector found to the parts of the image that are looked at again.

PURE. Rules:

1. Boxes are as ``contract.decoding`` gives them: top, left, bottom, right in fractions of the image, of any size.
2. The best scores first, of equal ones the one that the detector named first; scores below the least are left out.
3. A box is padded, widened to whole pixels and clipped to the image. One with nothing in it, or with a side that is
   not finite, is skipped and counted; it takes no place among the ``top``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
_DIGITS = 3
"""Decimals of a pixel that count: float32 fractions of 8192 pixels are that exact, and 0.3 of 10 pixels is 3."""


class Rules(NamedTuple):
    """Which boxes, and how much around them; see ``edge_agent.pipelines.settings.StageSettings``."""

    min_score: float
    top: int
    padding: float


class Rectangle(NamedTuple):
    """Whole pixels; ``bottom`` and ``right`` are outside."""

    top: int
    left: int
    bottom: int
    right: int


class Selection(NamedTuple):
    """What is looked at again, the best first.

    Attributes:
        rows: Which of the detector's boxes.
        rectangles: Their places in the image, none empty.
        skipped: How many boxes with a sufficient score had nothing of the image in them.
    """

    rows: list[int]
    rectangles: list[Rectangle]
    skipped: int


def select_boxes(outputs: Mapping[str, Floats], size: tuple[int, int], rules: Rules) -> Selection:
    """Choose what is looked at again.

    Args:
        outputs: A detector's ``boxes`` (1, n, 4), ``scores`` (1, n) and ``count`` (1,).
        size: Height and width of the image, pixels.
        rules: Which.
    """
    count = int(outputs["count"].reshape(-1)[0])
    boxes, scores = outputs["boxes"][0, :count], outputs["scores"][0, :count]
    rows: list[int] = []
    rectangles: list[Rectangle] = []
    skipped = 0
    for row in (-scores).argsort(kind="stable").tolist():
        if not scores[row] >= rules.min_score:
            continue
        place = rectangle_of(boxes[row].tolist(), size, rules.padding)
        if place is None:
            skipped += 1
        elif len(rows) < rules.top:
            rows.append(row)
            rectangles.append(place)
    return Selection(rows, rectangles, skipped)


def rectangle_of(box: list[float], size: tuple[int, int], padding: float) -> Rectangle | None:
    """A box in whole pixels; None when there is nothing of the image in it.

    Args:
        box: Top, left, bottom, right, fractions of the image.
        size: Height and width of the image, pixels.
        padding: Share of each side that is added at both of its ends.
    """
    if not all(map(math.isfinite, box)):
        return None
    top, left, bottom, right = box
    if bottom <= top or right <= left:
        return None
    tall, wide = (bottom - top) * padding, (right - left) * padding
    place = Rectangle(
        _within(math.floor, (top - tall) * size[0], size[0]),
        _within(math.floor, (left - wide) * size[1], size[1]),
        _within(math.ceil, (bottom + tall) * size[0], size[0]),
        _within(math.ceil, (right + wide) * size[1], size[1]),
    )
    return place if place.bottom > place.top and place.right > place.left else None


def _within(whole: Callable[[float], int], value: float, limit: int) -> int:
    return min(limit, max(0, whole(round(value, _DIGITS))))


def crop(pixels: npt.NDArray[np.uint8], place: Rectangle) -> npt.NDArray[np.uint8]:
    """The part (h, w, C) of an image (H, W, C); a view."""
    return pixels[place.top : place.bottom, place.left : place.right]
