"""Image files as a model takes them: reduced decoding, colours, limits, and files that are broken."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from contract.errors import InputError
from contract.pictures import Limits, fit_picture, read_picture, size_of_picture
from contract.processing import Color, ImagePreprocessing, Resize
from contract.vision import fit_image


def a_recipe(side: int = 32, resize: Resize = Resize.STRETCH, channels: int = 3) -> ImagePreprocessing:
    return ImagePreprocessing(
        height=side,
        width=side,
        mean=(0.0,) * channels,
        std=(255.0,) * channels,
        resize=resize,
        color=Color.RGB if channels == 3 else Color.GRAYSCALE,
    )


def a_photo(width: int, height: int) -> Image.Image:
    """Smooth colours with a hard edge; the same at every call."""
    rows, columns = np.mgrid[0:height, 0:width]
    planes = [
        127 + 127 * np.sin(rows / height * 7 + columns / width * 3),
        255.0 * columns / width,
        np.where(rows * 2 > height, 200, 30),
    ]
    return Image.fromarray(np.stack(planes, axis=2).astype(np.uint8))


def stored(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def in_full(content: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_a_large_jpeg_is_what_pillows_own_draft_and_resize_give() -> None:
    content = stored(a_photo(640, 360))
    with Image.open(io.BytesIO(content)) as image:
        image.draft("RGB", (32, 32))
        assert image.size == (80, 45)
        wanted = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR))

    fitted = fit_picture(content, a_recipe())

    assert np.array_equal(fitted.pixels, wanted)
    assert fitted.size == (360, 640)


@pytest.mark.parametrize("resize", list(Resize))
@pytest.mark.parametrize("size", [(640, 360), (359, 641), (5000, 70), (70, 5000), (67, 64), (513, 511)])
def test_a_reduced_jpeg_looks_as_one_decoded_in_full(resize: Resize, size: tuple[int, int]) -> None:
    content = stored(a_photo(*size), quality=95)
    recipe = a_recipe(resize=resize)

    fitted = fit_picture(content, recipe)

    full = fit_image(in_full(content), recipe)
    assert fitted.size == (size[1], size[0])
    difference = np.abs(fitted.pixels.astype(int) - full.astype(int))
    # The hard edge between two rows of pixels may fall to either side; the rest is as near as JPEG itself.
    assert np.median(difference) <= 2
    assert difference.mean() < 6


@pytest.mark.parametrize("resize", list(Resize))
@pytest.mark.parametrize(
    ("kind", "size"), [("JPEG", (63, 50)), ("JPEG", (32, 32)), ("PNG", (640, 360)), ("PNG", (20, 90))]
)
def test_what_is_not_reduced_is_the_same_as_its_pixels_to_the_bit(
    resize: Resize, kind: str, size: tuple[int, int]
) -> None:
    content = stored(a_photo(*size), kind)
    recipe = a_recipe(resize=resize)
    assert np.array_equal(fit_picture(content, recipe).pixels, fit_image(in_full(content), recipe))


def test_gray_is_taken_from_a_colour_jpeg_and_the_other_way_round() -> None:
    coloured, gray = stored(a_photo(320, 320)), stored(a_photo(320, 320).convert("L"))
    assert fit_picture(coloured, a_recipe(channels=1)).pixels.shape == (32, 32, 1)
    three = fit_picture(gray, a_recipe()).pixels
    assert np.array_equal(three[..., 0], three[..., 2])


@pytest.mark.parametrize("mode", ["CMYK", "L", "RGB"])
def test_every_kind_of_jpeg_is_reduced(mode: str) -> None:
    fitted = fit_picture(stored(a_photo(640, 640).convert(mode)), a_recipe())
    assert fitted.pixels.shape == (32, 32, 3)
    assert fitted.pixels.std() > 10


def test_the_orientation_that_a_camera_notes_is_not_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = stored(a_photo(640, 320), exif=exif)
    assert fit_picture(content, a_recipe()).size == (320, 640)
    assert np.array_equal(
        fit_picture(content, a_recipe()).pixels, fit_picture(stored(a_photo(640, 320)), a_recipe()).pixels
    )


def test_what_is_transparent_is_refused_and_what_is_opaque_is_not() -> None:
    clear = stored(Image.new("RGBA", (8, 8), (9, 9, 9, 0)), "PNG")
    with pytest.raises(InputError, match="the cat is transparent in places"):
        fit_picture(clear, a_recipe(), what="the cat")
    assert fit_picture(stored(Image.new("RGBA", (8, 8), (9, 9, 9, 255)), "PNG"), a_recipe()).pixels.max() == 9


def test_16_bit_gray_is_scaled_and_floats_are_refused() -> None:
    content = stored(Image.fromarray(np.full((8, 8), 65_535, np.uint16)), "PNG")
    assert read_picture(content, 1).max() == 255
    with pytest.raises(InputError, match="colour mode F"):
        read_picture(stored(Image.new("F", (8, 8)), "TIFF"), 1)


def test_too_many_pixels_and_too_long_a_side_are_refused_before_they_are_decoded() -> None:
    content = stored(a_photo(200, 100))[:700]  # the head alone: decoding it would fail
    for limits in (Limits(pixels=19_999), Limits(side=199)):
        with pytest.raises(InputError, match="the image has 200 x 100 pixels"):
            fit_picture(content, a_recipe(), limits=limits)
    assert size_of_picture(content, limits=Limits(pixels=20_000, side=200)) == (100, 200)


def test_formats_that_are_not_asked_for_are_refused() -> None:
    content = stored(a_photo(20, 20), "BMP")
    assert read_picture(content, 3).shape == (20, 20, 3)
    with pytest.raises(InputError, match="no image that can be decoded as JPEG or PNG"):
        read_picture(content, 3, limits=Limits(formats=("JPEG", "PNG")))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_spoiled_files_are_refused_or_decoded_and_nothing_else(kind: str) -> None:
    content = stored(a_photo(160, 160), kind)
    chance = random.Random(11)
    refused = 0
    for _ in range(150):
        spoiled = bytearray(content[: chance.randrange(1, len(content) + 1)])
        for _ in range(chance.randrange(6)):
            spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
        try:
            assert fit_picture(bytes(spoiled), a_recipe(8)).pixels.shape == (8, 8, 3)
        except InputError:
            refused += 1
    assert refused > 20
