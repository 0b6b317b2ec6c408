"""Folders of images: what is read, what is refused, and what the digest depends on."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contract.errors import ManifestError
from contract.manifest import Resize
from packager import calibration, images
from packager.calibration import load_calibration
from packager.images import ImageSet, list_images, read_images
from packager.preprocess import Fitting, Geometry, plan_preprocessing
from tests.support.packager_builders import write_image

SHAPE = (8, 8, 1)


def read(folder: Path, shape: tuple[int, int, int] = SHAPE) -> ImageSet:
    return read_images(list_images(folder, "evaluation"), shape, "evaluation")


def test_images_come_in_the_order_of_their_names_with_their_class_folders(tmp_path: Path) -> None:
    write_image(tmp_path / "b" / "1.png", value=3)
    write_image(tmp_path / "a" / "2.png", value=2)
    write_image(tmp_path / "a" / "1.png", value=1)
    found = read(tmp_path)
    assert found.folders == ("a", "a", "b")
    assert found.pixels[:, 0, 0, 0].tolist() == [1, 2, 3]
    assert found.pixels.shape == (3, 8, 8, 1)


def test_a_flat_folder_is_read_too_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png")
    (tmp_path / ".directory").write_text("settings of a file manager")
    assert read(tmp_path).folders == ("",)


def test_the_digest_depends_on_names_and_bytes_and_not_on_the_place(tmp_path: Path) -> None:
    write_image(tmp_path / "here" / "0" / "1.png")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    first = read(tmp_path / "here").sha256
    assert read(tmp_path / "there").sha256 == first
    (tmp_path / "there" / "0" / "1.png").rename(tmp_path / "there" / "0" / "2.png")
    assert read(tmp_path / "there").sha256 != first
    write_image(tmp_path / "here" / "0" / "1.png", value=9)
    assert read(tmp_path / "here").sha256 != first


@pytest.mark.parametrize("mode", ["1", "P", "RGB"])
def test_colours_are_converted_to_what_the_model_takes(tmp_path: Path, mode: str) -> None:
    write_image(tmp_path / "1.png", mode=mode, value=0)
    assert read(tmp_path).pixels.max() == 0
    assert read(tmp_path, (8, 8, 3)).pixels.shape == (1, 8, 8, 3)


def test_a_missing_folder_is_refused_by_its_purpose(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="there is no calibration folder"):
        load_calibration(tmp_path / "nowhere", SHAPE)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0").mkdir()
    with pytest.raises(ManifestError, match="has no image"):
        list_images(tmp_path, "evaluation")


def test_folders_inside_class_folders_are_refused_by_name(tmp_path: Path) -> None:
    write_image(tmp_path / "0" / "more" / "1.png")
    with pytest.raises(ManifestError, match="0/more is a folder"):
        list_images(tmp_path, "evaluation")


def test_a_pipe_among_the_images_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(ManifestError, match=r"x.png is no plain file"):
        list_images(tmp_path, "evaluation")


def test_an_image_of_another_size_is_refused_with_both_sizes(tmp_path: Path) -> None:
    write_image(tmp_path / "0" / "wide.png", size=(16, 12))
    with pytest.raises(ManifestError, match=r"0/wide.png is 16 x 12 pixels, the model takes 8 x 8"):
        read(tmp_path)


@pytest.mark.parametrize("content", [b"no picture", b"", b"\x89PNG\r\n\x1a\n\x00\x00"])
def test_a_file_that_is_no_image_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ManifestError, match=r"evaluation image x.png is no image that can be decoded"):
        read(tmp_path)


def test_an_image_that_is_cut_off_is_refused_by_name(tmp_path: Path) -> None:
    path = write_image(tmp_path / "x.bmp")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ManifestError, match=r"x.bmp is no image that can be decoded"):
        read(tmp_path)


def save(path: Path, image: Image.Image, **options: Any) -> None:
    image.save(path, **options)


def test_an_image_with_transparency_is_refused_because_its_pixels_are_not_settled(tmp_path: Path) -> None:
    save(tmp_path / "x.png", Image.new("RGBA", (8, 8), (9, 9, 9, 254)))
    with pytest.raises(ManifestError, match=r"x.png is transparent in places") as refused:
        read(tmp_path)
    assert "background" in refused.value.remedy


def test_a_palette_with_a_transparent_colour_is_refused_too(tmp_path: Path) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 9, 9, 9])
    save(tmp_path / "x.png", image, transparency=1)
    with pytest.raises(ManifestError, match="transparent in places"):
        read(tmp_path)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_an_alpha_channel_that_hides_nothing_is_dropped(tmp_path: Path, mode: str) -> None:
    colour = (40, 40, 40, 255) if mode == "RGBA" else (40, 255)
    save(tmp_path / "x.png", Image.new(mode, (8, 8), colour))
    assert set(read(tmp_path).pixels.ravel().tolist()) == {40}


def test_16_bit_gray_is_scaled_and_not_cut_off(tmp_path: Path) -> None:
    values = np.full((8, 8), 257 * 100 + 129, dtype=np.uint16)
    values[0, 0], values[0, 1], values[0, 2] = 0, 65_535, 257 * 100 + 128
    save(tmp_path / "x.png", Image.fromarray(values))
    found = read(tmp_path).pixels[0, :, :, 0]
    assert (found[0, 0], found[0, 1], found[0, 2], found[1, 0]) == (0, 255, 100, 101)


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    save(tmp_path / "x.tif", Image.new("CMYK", (8, 8), (255, 0, 0, 0)))
    found = read(tmp_path, (8, 8, 3)).pixels[0, 0, 0].tolist()
    assert found == [0, 255, 255]


@pytest.mark.parametrize("mode", ["F", "LAB", "I"])
def test_other_colour_modes_are_refused_by_name(tmp_path: Path, mode: str) -> None:
    save(tmp_path / "x.tif", Image.new(mode, (8, 8)))
    with pytest.raises(ManifestError, match=rf"x.tif has colour mode {mode}"):
        read(tmp_path)


def test_a_header_that_claims_a_monstrous_picture_is_refused_without_decoding_it(tmp_path: Path) -> None:
    write_image(tmp_path / "x.png")
    content = bytearray((tmp_path / "x.png").read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(ManifestError, match=r"evaluation image x.png is no image that can be decoded"):
        read(tmp_path)


def test_the_same_picture_in_another_file_format_has_the_same_digest(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", value=9)
    write_image(tmp_path / "b.bmp", value=9)
    write_image(tmp_path / "c.png", value=8)
    first, second, third = read(tmp_path).digests
    assert first == second != third


def test_a_file_that_vanished_is_refused_by_name(tmp_path: Path) -> None:
    files = list_images(write_image(tmp_path / "x.png").parent, "evaluation")
    files[0].path.unlink()
    with pytest.raises(ManifestError, match=r"x.png cannot be read: No such file"):
        read_images(files, SHAPE, "evaluation")


def test_a_file_that_is_too_large_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    with (tmp_path / "x.png").open("wb") as file:
        file.truncate(images.FILE_MAX_BYTES + 1)
    with pytest.raises(ManifestError, match="larger than 64 MiB"):
        read(tmp_path)


def test_a_set_that_would_fill_the_memory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    files = list_images(write_image(tmp_path / "x.png").parent, "evaluation") * 3
    with pytest.raises(ManifestError) as refused:
        read_images(files, (20_000, 20_000, 3), "evaluation")
    assert refused.value.remedy == "give at most 1 images"


def test_too_many_images_are_refused(tmp_path: Path) -> None:
    for number in range(calibration.MAX_CALIBRATION_IMAGES + 1):
        (tmp_path / f"{number}.png").touch()
    with pytest.raises(ManifestError, match="5001 images, at most 5000 are used"):
        load_calibration(tmp_path, SHAPE)


def test_calibration_images_are_mixed_the_same_way_every_time_so_that_no_class_comes_last(
    tmp_path: Path,
) -> None:
    for label in range(4):
        for number in range(25):
            write_image(tmp_path / "images" / str(label) / f"{number}.png", value=label)
    first = load_calibration(tmp_path / "images", SHAPE)
    assert set(first.folders[-25:]) == {"0", "1", "2", "3"}
    assert first.pixels[:, 0, 0, 0].tolist() == [int(folder) for folder in first.folders]
    assert first.sha256 == read(tmp_path / "images").sha256
    shutil.copytree(tmp_path / "images", tmp_path / "copy")
    assert load_calibration(tmp_path / "copy", SHAPE).folders == first.folders


def test_images_of_any_size_are_fitted_when_the_manifest_will_say_how(tmp_path: Path) -> None:
    recipe = plan_preprocessing(Geometry(8, 8, 3), (0.0,), (255.0,), fitting=Fitting(Resize.LETTERBOX, pad=9))
    write_image(tmp_path / "wide.png", size=(32, 16), value=200)
    write_image(tmp_path / "tall.jpg", size=(5, 20), mode="RGB", value=50)
    tall, wide = sorted(load_calibration(tmp_path, (8, 8, 3), recipe).pixels, key=np.max)
    assert wide[:, 0, 0].tolist() == [9, 9, 200, 200, 200, 200, 9, 9]
    assert tall[0, :, 0].tolist() == [9, 9, 9, 50, 50, 9, 9, 9]


def test_images_of_another_size_are_refused_with_what_to_do(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", size=(9, 8))
    with pytest.raises(ManifestError, match="is 9 x 8 pixels") as refused:
        read(tmp_path)
    assert "--resize" in refused.value.remedy
