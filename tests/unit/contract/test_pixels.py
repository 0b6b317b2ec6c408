"""Inputs that take pixels as they are: which they are, and that every pixel comes back as itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from contract.manifest import Color, ImagePreprocessing
from contract.pixels import is_usual_image, takes_pixels
from contract.tensor import Layout
from contract.vision import normalize_images, to_pixels

RECIPES = {
    "0 to 1": ((0.0,) * 3, (255.0,) * 3),
    "pixels": ((0.0,) * 3, (1.0,) * 3),
    "-1 to 1": ((127.5,) * 3, (127.5,) * 3),
    "centred": ((128.0,) * 3, (128.0,) * 3),
    "per channel": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "tiny steps": ((0.1, 0.2, 0.3), (1e-4, 1e4, 1e6)),
}


def a_recipe(name: str = "0 to 1", **changes: Any) -> ImagePreprocessing:
    mean, std = RECIPES[name]
    given: dict[str, Any] = {"width": 16, "height": 16, "color": Color.RGB, "mean": mean, "std": std}
    return ImagePreprocessing(**given | changes)


@pytest.mark.parametrize("name", RECIPES)
def test_every_pixel_comes_back_as_itself(name: str) -> None:
    pixels = np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), 3, axis=3)
    recipe = a_recipe(name)
    found = to_pixels(normalize_images(pixels, recipe), recipe)
    assert found.dtype == np.uint8
    assert np.array_equal(found, pixels)


def test_a_value_that_is_no_pixel_becomes_the_nearest() -> None:
    values = np.array([[-1.0, 0.4, 0.3 / 255], [1.6 / 255, 2.0, np.inf]], np.float32)
    assert to_pixels(values, a_recipe(width=2)).tolist() == [[0, 102, 0], [2, 255, 255]]


@pytest.mark.parametrize(
    ("name", "scale", "zero_point"),
    [
        ("0 to 1", 1 / 255, 0),
        ("0 to 1", float(np.float32(1 / 255)), 0),
        ("pixels", 1.0, 0),
        ("-1 to 1", float(np.float32(2 / 255)), 128),
        ("-1 to 1", 1 / 127.5, 127),
        ("centred", 1 / 128, 128),
        ("per channel", 1.0, 0),
    ],
)
def test_a_uint8_input_with_the_preprocessings_own_quantization_takes_pixels(
    name: str, scale: float, zero_point: int
) -> None:
    assert takes_pixels("uint8", scale, zero_point, a_recipe(name))


@pytest.mark.parametrize(
    ("name", "scale", "zero_point"),
    [
        ("0 to 1", 0.99 / 255, 0),
        ("0 to 1", 1 / 255, 1),
        ("0 to 1", 0.0, 0),
        ("-1 to 1", 1 / 127.5, 129),
        ("per channel", 1 / 57.375, 116),
        ("per channel", 1.0, 1),
    ],
)
def test_another_quantization_takes_none(name: str, scale: float, zero_point: int) -> None:
    assert not takes_pixels("uint8", scale, zero_point, a_recipe(name))


def test_other_types_and_inputs_that_are_no_images_take_none() -> None:
    assert not takes_pixels("int8", 1 / 255, 0, a_recipe())
    assert not takes_pixels("uint8", 1 / 255, 0, None)


@pytest.mark.parametrize("change", [{"color": Color.BGR}, {"layout": Layout.NCHW}])
def test_images_that_other_libraries_do_not_know_are_not_taken_as_they_are(change: dict[str, Any]) -> None:
    recipe = a_recipe(**change)
    assert not is_usual_image(recipe)
    assert not takes_pixels("uint8", 1 / 255, 0, recipe)


def test_gray_and_rgb_with_channels_last_are_usual() -> None:
    assert is_usual_image(a_recipe())
    assert is_usual_image(a_recipe(color=Color.GRAYSCALE, mean=(0.0,), std=(1.0,)))
    assert not is_usual_image(None)
