"""Pictures of squares, discs and triangles: what the detector and the segmenter of the tests were taught on.

The same seed gives the same pictures on every machine; drawn with numpy alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LABELS = ("square", "disc", "triangle")
SIZE = 48
_COLORS = np.array([[200, 70, 60], [70, 190, 80], [70, 90, 210]], np.float64)


@dataclass(frozen=True)
class Shapes:
    """One picture.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        classes: Number of each object's kind, 0 to 2.
        boxes: (objects, 4) top, left, bottom, right in whole pixels; right and bottom are outside.
        mask: (H, W) uint8: 0 for nothing, else the kind's number plus 1.
    """

    pixels: npt.NDArray[np.uint8]
    classes: tuple[int, ...]
    boxes: npt.NDArray[np.int64]
    mask: npt.NDArray[np.uint8]


def draw(seed: int, height: int = SIZE, width: int = SIZE) -> Shapes:
    """A picture with one to three objects that do not cover each other."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    slope = random.uniform(-40, 40, (2, 3))
    pixels = random.uniform(60, 190, 3) + (rows / height)[..., None] * slope[0]
    pixels += (columns / width)[..., None] * slope[1]
    mask = np.zeros((height, width), np.uint8)
    classes: list[int] = []
    boxes: list[tuple[int, int, int, int]] = []
    for _ in range(int(random.integers(1, 4))):
        kind = int(random.integers(0, len(LABELS)))
        side = int(random.uniform(0.22, 0.5) * min(height, width))
        tall, wide = side, max(4, int(side * random.uniform(0.8, 1.25)))
        tall, wide = min(tall, height - 1), min(wide, width - 1)
        top, left = int(random.integers(0, height - tall)), int(random.integers(0, width - wide))
        if mask[max(0, top - 1) : top + tall + 1, max(0, left - 1) : left + wide + 1].any():
            continue
        inside = _shape(kind, tall, wide)
        mask[top : top + tall, left : left + wide][inside] = kind + 1
        color = _COLORS[kind] + random.uniform(-45, 45, 3)
        pixels[top : top + tall, left : left + wide][inside] = color
        classes.append(kind)
        boxes.append((top, left, top + tall, left + wide))
    pixels += random.normal(0, 10, pixels.shape)
    return Shapes(
        pixels=pixels.clip(0, 255).astype(np.uint8),
        classes=tuple(classes),
        boxes=np.array(boxes, np.int64).reshape(-1, 4),
        mask=mask,
    )


def _shape(kind: int, tall: int, wide: int) -> npt.NDArray[np.bool_]:
    """(tall, wide) which pixels belong to it; it touches all four sides."""
    y = (np.arange(tall)[:, None] + 0.5) / tall
    x = (np.arange(wide)[None, :] + 0.5) / wide
    if kind == 0:
        return np.ones((tall, wide), bool)
    if kind == 1:
        found: npt.NDArray[np.bool_] = (y - 0.5) ** 2 + (x - 0.5) ** 2 <= 0.25
        return found
    inside: npt.NDArray[np.bool_] = np.abs(x - 0.5) <= y / 2
    return inside
