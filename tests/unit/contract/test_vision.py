"""Images as models take them, in every mode; Pillow is the witness for filters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from contract.processing import Color, ImagePreprocessing, Resize
from contract.tensor import Layout
from contract.vision import Box, fit_image, normalize_images, place, prepare_image


def a_recipe(
    width: int = 3,
    height: int = 2,
    *,
    color: Color = Color.GRAYSCALE,
    resize: Resize = Resize.STRETCH,
    pad: int = 0,
    layout: Layout = Layout.NHWC,
) -> ImagePreprocessing:
    """Values 0 to 1 for gray, and others for each colour channel."""
    is_gray = color is Color.GRAYSCALE
    return ImagePreprocessing(
        width=width,
        height=height,
        color=color,
        mean=(0.0,) if is_gray else (10.0, 20.0, 30.0),
        std=(255.0,) if is_gray else (2.0, 4.0, 8.0),
        resize=resize,
        pad=pad,
        layout=layout,
    )


def noise(height: int, width: int, channels: int = 1) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(1).integers(0, 256, (height, width, channels), np.uint8)


# Values


def test_an_image_of_the_right_size_is_only_normalised() -> None:
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)

    real = prepare_image(pixels, a_recipe())

    assert real.shape == (1, 2, 3, 1)
    assert real.dtype == np.float32
    assert np.array_equal(real[0], pixels.astype(np.float32) / np.float32(255))


def test_every_channel_has_its_own_mean_and_std() -> None:
    real = prepare_image(np.full((2, 3, 3), 30, np.uint8), a_recipe(color=Color.RGB))

    assert real[0, 0, 0].tolist() == [10.0, 2.5, 0.0]


def test_blue_comes_first_before_mean_and_std_are_applied() -> None:
    pixels = np.tile(np.array([40, 30, 20], np.uint8), (2, 3, 1))

    real = prepare_image(pixels, a_recipe(color=Color.BGR))

    assert real[0, 0, 0].tolist() == [5.0, 2.5, 1.25]


def test_channels_come_first_where_the_model_wants_it() -> None:
    pixels = noise(2, 3, 3)
    last = prepare_image(pixels, a_recipe(color=Color.RGB))

    first = prepare_image(pixels, a_recipe(color=Color.RGB, layout=Layout.NCHW))

    assert first.shape == (1, 3, 2, 3)
    assert first.flags.c_contiguous
    assert np.array_equal(first.transpose(0, 2, 3, 1), last)


def test_the_image_itself_is_left_alone() -> None:
    pixels = np.full((2, 3, 3), 30, np.uint8)

    prepare_image(pixels, a_recipe(color=Color.BGR))

    assert (pixels == 30).all()


def test_gray_becomes_rgb_by_repeating_it() -> None:
    real = prepare_image(np.full((2, 3, 1), 40, np.uint8), a_recipe(color=Color.RGB))

    assert real[0, 0, 0].tolist() == [15.0, 5.0, 1.25]


def test_rgb_becomes_gray_by_luma() -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[:, :, 1] = 200

    assert np.allclose(prepare_image(pixels, a_recipe()) * 255, 117)  # 0.587 of green


def test_many_images_give_what_each_gives_alone() -> None:
    fitted = np.stack([noise(2, 3, 3), noise(2, 3, 3)[::-1]])
    recipe = a_recipe(color=Color.BGR, layout=Layout.NCHW)

    together = normalize_images(fitted, recipe)

    assert np.array_equal(together, np.concatenate([prepare_image(one, recipe) for one in fitted]))


# Sizes


def test_another_size_is_stretched_as_pillow_does() -> None:
    pixels = noise(40, 30)

    fitted = fit_image(pixels, a_recipe())

    wanted = Image.fromarray(pixels[:, :, 0]).resize((3, 2), Image.Resampling.BILINEAR)
    assert np.array_equal(fitted[:, :, 0], np.asarray(wanted))


def test_a_wide_image_in_a_letterbox_has_bars_above_and_below() -> None:
    pixels = noise(20, 40, 3)

    fitted = fit_image(pixels, a_recipe(8, 8, color=Color.RGB, resize=Resize.LETTERBOX, pad=114))

    wanted = Image.fromarray(pixels).resize((8, 4), Image.Resampling.BILINEAR)
    assert np.array_equal(fitted[2:6], np.asarray(wanted))
    assert (fitted[:2] == 114).all()
    assert (fitted[6:] == 114).all()


def test_a_tall_image_in_a_letterbox_has_bars_left_and_right_the_wider_one_right() -> None:
    fitted = fit_image(np.full((80, 10, 1), 9, np.uint8), a_recipe(8, 8, resize=Resize.LETTERBOX, pad=7))

    assert fitted[0, :, 0].tolist() == [7, 7, 7, 9, 7, 7, 7, 7]


def test_a_wide_image_loses_its_sides_to_a_centre_crop() -> None:
    pixels = noise(20, 41)

    fitted = fit_image(pixels, a_recipe(10, 10, resize=Resize.CENTER_CROP))

    wanted = Image.fromarray(pixels[:, 10:30, 0]).resize((10, 10), Image.Resampling.BILINEAR)
    assert np.array_equal(fitted[:, :, 0], np.asarray(wanted))


def test_a_tall_image_loses_top_and_bottom_and_is_not_filtered_when_the_rest_fits() -> None:
    pixels = noise(9, 4)

    fitted = fit_image(pixels, a_recipe(4, 5, resize=Resize.CENTER_CROP))

    assert np.array_equal(fitted, pixels[2:7])


@pytest.mark.parametrize("resize", list(Resize))
def test_an_image_of_the_same_shape_fills_the_input_in_every_mode(resize: Resize) -> None:
    where = place(40, 60, a_recipe(6, 4, resize=resize))

    assert where.source == Box(0, 0, 60, 40)
    assert where.target == Box(0, 0, 6, 4)


@given(
    *[st.integers(1, 300)] * 4,
    st.sampled_from([Resize.LETTERBOX, Resize.CENTER_CROP]),
)
def test_a_part_lies_inside_the_whole_and_keeps_the_aspect_ratio_within_a_pixel(
    height: int, width: int, target_height: int, target_width: int, resize: Resize
) -> None:
    recipe = a_recipe(target_width, target_height, resize=resize)

    where = place(height, width, recipe)

    for box, limits in ((where.source, (width, height)), (where.target, (target_width, target_height))):
        assert 0 <= box.left <= box.left + box.width <= limits[0]
        assert 0 <= box.top <= box.top + box.height <= limits[1]
        assert min(box.width, box.height) >= 1
    if resize is Resize.LETTERBOX:
        got, ideal = (
            (where.target.width, where.target.height),
            min(target_width / width, target_height / height),
        )
        assert abs(got[0] - max(1, width * ideal)) <= 0.5 + 1e-6
        assert abs(got[1] - max(1, height * ideal)) <= 0.5 + 1e-6
    else:
        got, ideal = (
            (where.source.width, where.source.height),
            min(width / target_width, height / target_height),
        )
        assert abs(got[0] - max(1, target_width * ideal)) <= 0.5 + 1e-6
        assert abs(got[1] - max(1, target_height * ideal)) <= 0.5 + 1e-6
