"""The images that static quantization learns its ranges from.

Guarantees: all images of the folder are used, in an order that depends on their names alone, so the same folder gives
the same ranges. Does not need labels: class folders are possible and mean nothing here.

The order matters: litert-quantizer keeps a moving average of each range that forgets 5 % with every image
(``qsv_utils.moving_average_update``), so the last sixty decide. In the order of names these would all be of the last
classes; in the order of the names' digests every class is among them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from contract.errors import ManifestError
from contract.manifest import ImagePreprocessing
from packager.images import ImageSet, list_images, read_images

MAX_CALIBRATION_IMAGES = 5_000
"""A few hundred images settle the ranges; Google's guide to post-training quantization asks for 100 to 500
(https://ai.google.dev/edge/litert/models/post_training_quantization)."""
CALIBRATION_MAX_BYTES = 256 << 20
"""Decoded pixels: litert-quantizer holds all inputs at once as float32, which takes four times this."""
_PURPOSE = "calibration"


def load_calibration(
    folder: Path, shape: tuple[int, int, int], recipe: ImagePreprocessing | None = None
) -> ImageSet:
    """Read the calibration images, mixed.

    Args:
        folder: ``<image>`` or ``<class>/<image>``.
        shape: Height, width, channels of the model's input.
        recipe: How images of other sizes come to this one; None to refuse them.

    Raises:
        ManifestError: No images, too many, or one that does not fit.
    """
    files = list_images(folder, _PURPOSE)
    if len(files) > MAX_CALIBRATION_IMAGES:
        raise ManifestError(
            f"{_PURPOSE} folder {folder} has {len(files)} images, at most {MAX_CALIBRATION_IMAGES} are used",
            remedy="a few hundred that look like the field are enough",
        )
    found = read_images(files, shape, _PURPOSE, CALIBRATION_MAX_BYTES, recipe)
    digests = [hashlib.sha256(file.name.encode("utf-8", "surrogateescape")).digest() for file in files]
    order = sorted(range(len(files)), key=digests.__getitem__)
    return ImageSet(found.pixels[order], tuple(found.folders[position] for position in order), found.sha256)
