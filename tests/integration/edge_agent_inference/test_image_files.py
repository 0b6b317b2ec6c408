"""Image files through the SDK: what a worker answers, what it refuses, and that it goes on."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contract.errors import InputError
from edge_agent import connect, connect_async
from edge_agent.inference.client import Model
from edge_agent.inference.image_files import read_file
from edge_agent.inference.protocol import IMAGE_MAX_BYTES, IMAGE_MAX_SIDE
from tests.support.inference_slots import a_pool, images_of, serve, short_folder


@pytest.fixture(scope="module")
def served() -> Iterator[Path]:
    with short_folder() as folder, a_pool(folder) as (pool, crashes):
        serve(pool)
        yield folder
        assert crashes == []


@pytest.fixture
def model(served: Path) -> Iterator[Model]:
    with connect(served).model("digits") as opened:
        yield opened


def stored(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def digit(number: int, size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.fromarray(images_of(number)[0]).resize(size)


def test_bytes_a_path_and_its_text_are_answered_alike(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "three.png"
    path.write_bytes(stored(digit(3), "PNG"))
    wanted = model.infer(images_of(3)[0])
    for what in (path, str(path), path.read_bytes(), bytearray(path.read_bytes())):
        found = model.infer(what)
        assert found.label == "3"
        assert np.array_equal(found.outputs["probabilities"], wanted.outputs["probabilities"])


def test_asyncio_takes_them_too(served: Path, tmp_path: Path) -> None:
    path = tmp_path / "five.jpg"
    path.write_bytes(stored(digit(5, (640, 480))))

    async def ask() -> list[str | None]:
        async with connect_async(served) as fleet:
            model = fleet.model("digits")
            answers = await asyncio.gather(
                *(model.infer(what) for what in (path, str(path), path.read_bytes(), images_of(2)[0]))
            )
            with pytest.raises(InputError, match="cannot be read"):
                await model.infer(tmp_path / "missing.png")
            return [answer.label for answer in answers]

    assert asyncio.run(ask()) == ["5", "5", "5", "2"]


def test_a_camera_s_file_needs_only_room_for_its_bytes(model: Model) -> None:
    content = stored(digit(7, (4000, 3000)), quality=85)
    assert model.infer(content).label == "7"
    assert model.infer(images_of(1)[0]).label == "1"


def png_that_says(width: int, height: int) -> bytes:
    """A small file whose head promises a picture of this size."""
    content = bytearray(stored(digit(3), "PNG"))
    content[16:24] = struct.pack(">II", width, height)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an image file of 0 bytes"),
        (b"no picture", "no image that can be decoded as JPEG or PNG"),
        (stored(digit(3, (64, 64)))[:400], "no image that can be decoded"),
        (stored(digit(3), "BMP"), "no image that can be decoded as JPEG or PNG"),
        (stored(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), "PNG"), "transparent in places"),
        (png_that_says(6000, 6000), "6000 x 6000 pixels"),
        (png_that_says(IMAGE_MAX_SIDE + 1, 1), f"{IMAGE_MAX_SIDE + 1} x 1 pixels"),
        (png_that_says(60_000, 60_000), "no image that can be decoded"),
    ],
    ids=["empty", "text", "cut off", "another format", "transparent", "too large", "too wide", "a bomb"],
)
def test_what_cannot_be_decoded_is_refused_and_the_next_one_answered(
    model: Model, content: bytes, words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        model.infer(content)
    assert caught.value.remedy
    assert model.infer(stored(digit(4), "PNG")).label == "4"


def test_a_file_that_is_not_there_or_too_long_is_refused(model: Model, tmp_path: Path) -> None:
    with (tmp_path / "long.png").open("wb") as file:
        file.truncate(IMAGE_MAX_BYTES + 1)
    for path, words in ((tmp_path / "long.png", "larger than 64 MiB"), (tmp_path, "Is a directory")):
        with pytest.raises(InputError, match=words):
            model.infer(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_file(Path("a\0b"))
