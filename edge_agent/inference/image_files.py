"""Image files on the agent's side: what applications may send, and reading one from the disk.

Guarantees: a file is bounded before it is read, and before it is decoded. Imports no decoder: applications and workers
that see no files do not pay for one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from contract.errors import InputError
from edge_agent.inference.protocol import FILE_PIXELS_MAX, IMAGE_MAX_BYTES, IMAGE_MAX_SIDE

if TYPE_CHECKING:
    from contract.pictures import FittedPicture
    from contract.processing import ImagePreprocessing
    from contract.vision import Pixels

_FORMATS = ("JPEG", "PNG")
"""What cameras and programs write. Each format more is a parser more for files from outside."""


def fit_file(content: bytes, recipe: ImagePreprocessing) -> FittedPicture:
    """A file as a model takes it, and its own size; see ``contract.pictures.fit_picture``."""
    from contract.pictures import Limits, fit_picture  # not before it is needed: decoders take memory

    limits = Limits(_FORMATS, FILE_PIXELS_MAX, IMAGE_MAX_SIDE)
    return fit_picture(content, recipe, limits=limits)


def decode_file(content: bytes) -> Pixels:
    """A file in full, (H, W, 3) uint8 RGB; see ``contract.pictures.read_picture``."""
    from contract.pictures import Limits, read_picture  # as above

    return read_picture(content, 3, limits=Limits(_FORMATS, FILE_PIXELS_MAX, IMAGE_MAX_SIDE))


def read_file(path: Path) -> bytes:
    """An image file's bytes.

    Raises:
        InputError: It cannot be read, or has more than ``IMAGE_MAX_BYTES``.
    """
    try:
        with path.open("rb") as file:
            content = file.read(IMAGE_MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a zero in the name
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > IMAGE_MAX_BYTES:
        raise InputError(f"{path} is larger than {IMAGE_MAX_BYTES >> 20} MiB")
    return content
