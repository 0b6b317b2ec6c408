"""Images of the digits example."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

EVALUATION = Path(__file__).resolve().parents[2] / "examples" / "digits" / "evaluation"


def image_of(digit: str) -> npt.NDArray[np.uint8]:
    """The first evaluation image of a digit, (8, 8) uint8 gray."""
    path = min((EVALUATION / digit).glob("*.png"))
    with Image.open(path) as image:
        return np.asarray(image.convert("L"), np.uint8)
