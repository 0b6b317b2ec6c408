"""From pixels to inputs."""

from __future__ import annotations

import numpy as np
import pytest

from contract.errors import ConfigError
from contract.manifest import Color, Resize
from contract.tensor import Layout
from packager.preprocess import Fitting, Geometry, image_geometry, input_range, plan_preprocessing, to_inputs


def test_by_default_pixels_become_0_to_1_in_float32() -> None:
    plan = plan_preprocessing(Geometry(1, 2, 1), (0.0,), (255.0,))
    inputs = to_inputs(np.array([[[[0], [255]]]], dtype=np.uint8), plan)
    assert inputs.dtype == np.float32
    assert inputs.tolist() == [[[[0.0], [1.0]]]]
    assert input_range(plan) == (0.0, 1.0)


def test_one_channel_is_grayscale_and_three_are_rgb() -> None:
    assert plan_preprocessing(Geometry(8, 4, 1), (0.0,), (255.0,)).color is Color.GRAYSCALE
    rgb = plan_preprocessing(Geometry(8, 4, 3), (0.0,), (255.0,))
    assert (rgb.color, rgb.height, rgb.width) == (Color.RGB, 8, 4)


def test_one_value_stands_for_every_channel() -> None:
    plan = plan_preprocessing(Geometry(1, 1, 3), (127.5,), (127.5,))
    assert plan.mean == plan.std == (127.5, 127.5, 127.5)
    assert input_range(plan) == (-1.0, 1.0)


def test_each_channel_has_its_own_mean_and_std() -> None:
    plan = plan_preprocessing(Geometry(1, 1, 3), (10.0, 20.0, 30.0), (1.0, 2.0, 5.0))
    inputs = to_inputs(np.array([[[[20, 40, 80]]]], dtype=np.uint8), plan)
    assert inputs.tolist() == [[[[10.0, 10.0, 10.0]]]]
    assert input_range(plan) == (-10.0, 245.0)


@pytest.mark.parametrize("shape", [(0, 2, 2, 1), (5, 2, 2, 1)])
def test_the_number_of_images_is_kept(shape: tuple[int, ...]) -> None:
    plan = plan_preprocessing(Geometry(2, 2, 1), (0.0,), (255.0,))
    assert to_inputs(np.zeros(shape, dtype=np.uint8), plan).shape == shape


def test_the_fitting_stands_in_the_preprocessing() -> None:
    fitting = Fitting(Resize.LETTERBOX, pad=114, is_bgr=True)
    plan = plan_preprocessing(Geometry(8, 4, 3), (0.0,), (255.0,), fitting=fitting)
    assert (plan.resize, plan.pad, plan.color) == (Resize.LETTERBOX, 114, Color.BGR)


def test_an_order_of_colours_for_a_gray_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="takes gray images"):
        plan_preprocessing(Geometry(8, 4, 1), (0.0,), (255.0,), fitting=Fitting(is_bgr=True))


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((1, 8, 4, 3), Geometry(8, 4, 3)),
        ((-1, 8, 4, 1), Geometry(8, 4, 1)),
        ((1, 3, 8, 4), Geometry(8, 4, 3, Layout.NCHW)),
        ((1, 3, 8, 3), Geometry(3, 8, 3)),
        ((1, 8, 4, 2), None),
        ((2, 8, 4, 3), None),
        ((1, 0, 4, 3), None),
        ((1, 8, 3), None),
    ],
)
def test_an_input_is_an_image_when_one_end_has_one_or_three_channels(
    shape: tuple[int, ...], wanted: Geometry | None
) -> None:
    assert image_geometry(shape) == wanted


def test_channels_come_first_where_the_model_has_them_first() -> None:
    plan = plan_preprocessing(Geometry(1, 2, 3, Layout.NCHW), (0.0,), (1.0,))
    inputs = to_inputs(np.arange(6, dtype=np.uint8).reshape(1, 1, 2, 3), plan)
    assert inputs.shape == (1, 3, 1, 2)
    assert inputs[0, :, 0, 0].tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("option", ["--mean", "--std"])
def test_values_for_another_number_of_channels_are_refused(option: str) -> None:
    values = {"--mean": (0.0,), "--std": (1.0,), option: (1.0, 2.0)}
    with pytest.raises(ConfigError, match=f"{option} has 2 values, the model takes 3 channels"):
        plan_preprocessing(Geometry(2, 2, 3), values["--mean"], values["--std"])
