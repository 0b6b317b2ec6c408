"""From the bytes of an image file to a model's input; the one door to decoders of image files.

Guarantees:

1. Packager and agent both decode with this and nothing else, so that what was measured is what runs.
2. A JPEG that is larger than needed is decoded at a half, a quarter or an eighth of its size (Pillow's ``draft``,
   libjpeg's scaled inverse DCT): the smallest of these that is not smaller than what the model takes. Everything else,
   and a JPEG that is not twice as large, is decoded in full and goes the way of ``contract.vision``.
3. What is looked at and what is filled is computed from the file's own size, so answers fit the file, not the draft.
4. Sizes are checked before anything is decoded. Whatever a decoder raises comes out as an InputError.
5. The orientation that a camera notes (EXIF) is not applied: the pixels are taken as they are stored.
"""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from contract.errors import InputError
from contract.processing import ImagePreprocessing
from contract.vision import Pixels, Placement, fit_image, place

_EIGHT_BITS = frozenset(("1", "L", "P", "RGB"))
_PRINT = frozenset(("CMYK", "YCbCr"))
_SIXTEEN_BITS = frozenset(("I;16", "I;16L", "I;16B", "I;16N"))
_ALPHA = frozenset(("LA", "PA", "RGBA"))
_OPAQUE = 255
_BROKEN = (
    *(OSError, ValueError, SyntaxError, TypeError, AttributeError, RuntimeError),
    *(LookupError, ArithmeticError, EOFError, MemoryError, struct.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)
"""What Pillow's decoders raise for files that are broken, cut off or made to harm."""


@dataclass(frozen=True)
class Limits:
    """What is decoded at all.

    Attributes:
        formats: Names that Pillow has for them; None for all that it knows.
        pixels: Most of a file, before it is made smaller.
        side: Longest side in pixels.
    """

    formats: tuple[str, ...] | None = None
    pixels: int = 1 << 30
    side: int = 1 << 16


UNLIMITED = Limits()
"""Pillow's own bound holds: 179 million pixels."""


@dataclass(frozen=True)
class FittedPicture:
    """A picture at the model's size: pixels (height, width, channels) uint8, and the file's own (height, width)."""

    pixels: Pixels
    size: tuple[int, int]


def fit_picture(
    content: bytes, recipe: ImagePreprocessing, *, what: str = "the image", limits: Limits = UNLIMITED
) -> FittedPicture:
    """Decode a file, colour and size.

    Args:
        content: Of the file.
        recipe: What the model wants.
        what: It is, for errors.
        limits: What is decoded at all.

    Raises:
        InputError: It cannot be decoded, is too large, or its colours are not settled.
    """
    with _opened(content, what, limits) as image:
        width, height = image.size
        where = place(height, width, recipe)
        # As many pixels for the whole picture as make the part that is looked at no smaller than it is to become.
        wanted = (
            -(-width * where.target.width // where.source.width),
            -(-height * where.target.height // where.source.height),
        )
        drafted = image.draft(None, wanted)
        settled = _settled(image, recipe.channels, what)
        settled.load()
        share = 1.0 if drafted is None else drafted[1][2] / width
        if share == 1.0:
            pixels = fit_image(_pixels_of(settled, recipe.channels), recipe)
        else:
            pixels = _reduce(settled, where, share, recipe)
    return FittedPicture(pixels, (height, width))


def read_picture(
    content: bytes, channels: int, *, what: str = "the image", limits: Limits = UNLIMITED
) -> Pixels:
    """Decode a file in full: (H, W, channels) uint8, gray or RGB. See ``fit_picture``."""
    with _opened(content, what, limits) as image:
        return _pixels_of(_settled(image, channels, what), channels)


def size_of_picture(
    content: bytes, *, what: str = "the image", limits: Limits = UNLIMITED
) -> tuple[int, int]:
    """Height and width that a file says it has; its pixels are not looked at. See ``fit_picture``."""
    with _opened(content, what, limits) as image:
        return image.height, image.width


@contextlib.contextmanager
def _opened(content: bytes, what: str, limits: Limits) -> Iterator[Image.Image]:
    try:
        with Image.open(io.BytesIO(content), formats=limits.formats) as image:
            width, height = image.size
            if max(width, height) > limits.side or width * height > limits.pixels:
                raise InputError(
                    f"{what} has {width} x {height} pixels; {limits.pixels} are possible, {limits.side} a side",
                    remedy="make it smaller before it is sent",
                )
            yield image
    except _BROKEN as error:
        kinds = "" if limits.formats is None else f" as {' or '.join(limits.formats)}"
        raise InputError(
            f"{what} is no image that can be decoded{kinds}", remedy="save it again as PNG or JPEG"
        ) from error


def _settled(image: Image.Image, channels: int, what: str) -> Image.Image:
    mode = "L" if channels == 1 else "RGB"
    settled = _eight_bits(image, what)
    return settled if settled.mode == mode else settled.convert(mode)


def _pixels_of(image: Image.Image, channels: int) -> Pixels:
    return np.asarray(image, np.uint8).reshape(image.height, image.width, channels)


def _reduce(image: Image.Image, where: Placement, share: float, recipe: ImagePreprocessing) -> Pixels:
    """As ``fit_image``, of a picture that was decoded at a part of its size."""
    source, target = where.source, where.target
    box = (
        source.left * share,
        source.top * share,
        (source.left + source.width) * share,
        (source.top + source.height) * share,
    )
    resized = image.resize((target.width, target.height), Image.Resampling.BILINEAR, box)
    inner = _pixels_of(resized, recipe.channels)
    if inner.shape == (recipe.height, recipe.width, recipe.channels):
        return inner
    fitted = np.full((recipe.height, recipe.width, recipe.channels), recipe.pad, np.uint8)
    fitted[target.top : target.top + target.height, target.left : target.left + target.width] = inner
    return fitted


def _eight_bits(image: Image.Image, what: str) -> Image.Image:
    """The same picture with 8 bits a channel, as gray, RGB or palette; refused where that is not settled.

    16-bit gray is scaled from 0-65535 to 0-255 and rounded (PNG, third edition, section 13.12). 16-bit colour comes out
    of Pillow with its upper 8 bits. CMYK and YCbCr become RGB by Pillow's plain formulas, without colour profiles.
    """
    if image.mode in _ALPHA or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        if with_alpha.getchannel("A").getextrema()[0] != _OPAQUE:
            raise InputError(
                f"{what} is transparent in places, and nothing says what lies behind it",
                remedy="put it on the background that your application uses, and save it without transparency",
            )
        return with_alpha.convert("RGB")
    if image.mode in _SIXTEEN_BITS:
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values * 255 + 32_767) // 65_535).astype(np.uint8))
    if image.mode in _PRINT:
        return image.convert("RGB")
    if image.mode not in _EIGHT_BITS:
        raise InputError(
            f"{what} has colour mode {image.mode}",
            remedy="save it as gray or RGB, with 8 or 16 bits a channel",
        )
    return image
