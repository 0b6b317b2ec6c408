"""Bytes and camera buffers to what a model can be asked.

Guarantees: what cannot be read is an InputError; nothing is unpickled; a decoded image or array is never larger than
the worker takes, and that is known before it is decoded. A JPEG stays as it is: the worker decodes it, at a part of its
size where that will do, as the packager did when it measured the model.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from contract.errors import InputError
from edge_agent.inference.image_files import read_file
from edge_agent.inference.protocol import IMAGE_MAX_BYTES

SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".webp"))
_GRAY_MODES = frozenset(("1", "L", "I", "I;16", "F"))
_NPY_MAGIC = b"\x93NUMPY"
_JPEG_MAGIC = b"\xff\xd8\xff"
"""Start of image, and of the marker after it (ITU-T T.81, annex B)."""
# A pixel is at most three bytes.
_MAX_PIXELS = IMAGE_MAX_BYTES // 3


def list_images(folder: Path) -> list[Path]:
    """Images in a folder and its folders, in the order of their paths; empty when there is no folder."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def load_image(path: Path) -> npt.NDArray[np.uint8] | bytes:
    """Read an image file, and decode it unless it is a JPEG.

    Returns:
        (H, W) gray or (H, W, 3) RGB uint8, 0-255; transparency is dropped. Of a JPEG its bytes.

    Raises:
        InputError: It is no image that can be read.
    """
    return decode_image(read_file(path), str(path))


def decode_image(content: bytes, name: str) -> npt.NDArray[np.uint8] | bytes:
    """The same of an image's bytes: JPEG, PNG, BMP, WebP and what else pillow reads."""
    if content.startswith(_JPEG_MAGIC):
        return content
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise InputError(f"{name} has {image.width} x {image.height} pixels, more than {_MAX_PIXELS}")
            return np.asarray(image.convert("L" if image.mode in _GRAY_MODES else "RGB"), np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{name} cannot be read as an image: {error}") from error


def decode_payload(payload: bytes, name: str) -> npt.NDArray[Any] | bytes:
    """An image's bytes, or a ``.npy`` file of numbers.

    Raises:
        InputError: It is neither.
    """
    if not payload.startswith(_NPY_MAGIC):
        return decode_image(payload, name)
    try:
        # Reading from bytes that are there, it cannot allocate more than they hold.
        array = np.lib.format.read_array(io.BytesIO(payload), allow_pickle=False)
    except (ValueError, EOFError, SyntaxError, MemoryError, OverflowError) as error:
        raise InputError(f"{name} cannot be read as a .npy array: {error}") from error
    return np.asarray(array)


def decode_camera(
    content: bytes, pixel_format: str, width: int, height: int
) -> npt.NDArray[np.uint8] | bytes:
    """A buffer of a V4L2 camera, as ``load_image`` gives it.

    Args:
        content: The buffer's bytes.
        pixel_format: Its four-character code: ``MJPG``, ``JPEG``, ``YUYV``, ``RGB3``, ``BGR3`` or ``GREY``.
        width: Pixels.
        height: Pixels.

    Raises:
        InputError: Another format, or a buffer that was cut off.
    """
    if pixel_format in {"MJPG", "JPEG"}:
        return decode_image(content, "a camera's frame")
    bytes_per_pixel = {"YUYV": 2, "RGB3": 3, "BGR3": 3, "GREY": 1}.get(pixel_format)
    if bytes_per_pixel is None:
        raise InputError(f"the camera gives {pixel_format}, which is not read")
    wanted = width * height * bytes_per_pixel
    if len(content) < wanted or (pixel_format == "YUYV" and width % 2):
        raise InputError(f"a camera's frame of {len(content)} bytes is cut off, {wanted} were due")
    pixels = np.frombuffer(content, np.uint8, wanted)
    if pixel_format == "GREY":
        return pixels.reshape(height, width).copy()
    if pixel_format == "YUYV":
        return yuyv_to_rgb(pixels.reshape(height, width // 2, 4))
    planes = pixels.reshape(height, width, 3)
    return (planes[:, :, ::-1] if pixel_format == "BGR3" else planes).copy()


def yuyv_to_rgb(pairs: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Pixels of a camera to RGB, as ITU-R BT.601 with limited range: what UVC cameras send unless they say otherwise.

    Args:
        pairs: (H, W / 2, 4) uint8: Y0 U Y1 V of two neighbours each.

    Returns:
        (H, W, 3) uint8 RGB, 0-255.
    """
    height, half = pairs.shape[:2]
    luma = (pairs[:, :, 0::2].reshape(height, half * 2).astype(np.float32) - 16) * np.float32(255 / 219)
    chroma = pairs[:, :, 1::2].astype(np.float32) - 128
    # BT.601, clause 3.5: Kr 0.299, Kb 0.114; chroma has 224 steps.
    u, v = (np.repeat(chroma[:, :, index], 2, axis=1) * np.float32(255 / 224) for index in (0, 1))
    rgb = np.stack((luma + 1.402 * v, luma - 0.344136 * u - 0.714136 * v, luma + 1.772 * u), axis=2)
    return np.asarray(np.clip(np.rint(rgb), 0, 255), np.uint8)
