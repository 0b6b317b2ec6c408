"""The images that static quantization learns its ranges from.

Guarantees: all images of the folder are used, in the order of their names, so the same folder gives the same
ranges. Does not need labels: class folders are possible and mean nothing here.
"""

from __future__ import annotations

from pathlib import Path

from contract.errors import ManifestError
from packager.images import ImageSet, list_images, read_images

MAX_CALIBRATION_IMAGES = 5_000
"""Calibration keeps every intermediate tensor and looks at it; a few hundred images settle the ranges
(https://ai.google.dev/edge/litert/models/post_training_quantization asks for 100 to 500)."""
_PURPOSE = "calibration"


def load_calibration(folder: Path, shape: tuple[int, int, int]) -> ImageSet:
    """Read the calibration images.

    Args:
        folder: ``<image>`` or ``<class>/<image>``.
        shape: Height, width, channels of the model's input.

    Raises:
        ManifestError: No images, too many, or one that does not fit.
    """
    files = list_images(folder, _PURPOSE)
    if len(files) > MAX_CALIBRATION_IMAGES:
        raise ManifestError(
            f"{_PURPOSE} folder {folder} has {len(files)} images, at most {MAX_CALIBRATION_IMAGES} are used",
            remedy="a few hundred that look like the field are enough",
        )
    return read_images(files, shape, _PURPOSE)
