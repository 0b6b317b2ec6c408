"""Preprocessing of the tests' detector and segmenter."""

from __future__ import annotations

from contract.manifest import Color, ImagePreprocessing, Resize
from tests.support.vision_shapes import SIZE


def recipe_of(resize: Resize = Resize.STRETCH, size: int = SIZE) -> ImagePreprocessing:
    """Pixels as 0 to 1."""
    return ImagePreprocessing(
        width=size, height=size, color=Color.RGB, mean=(0.0,) * 3, std=(255.0,) * 3, resize=resize
    )
