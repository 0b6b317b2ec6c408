"""Which form a quantized model's inputs and outputs get."""

from __future__ import annotations

import pytest

from contract.manifest import Color, ImagePreprocessing
from packager.border.plan import Form, Stored, plan_input, plan_output

IMAGE = ImagePreprocessing(width=8, height=8, color=Color.RGB, mean=(0.0,) * 3, std=(255.0,) * 3)
BLUE_FIRST = ImagePreprocessing(width=8, height=8, color=Color.BGR, mean=(0.0,) * 3, std=(255.0,) * 3)
OWN = Stored("int8", 1 / 255, -128)
OTHER = Stored("int8", 0.02, -3)
WIDE = Stored("int16", 1 / 32767, 0)
FLOAT = Stored("float32", 0.0, 0)
NUMBERS = Stored("int8", 0.0, 0)


@pytest.mark.parametrize(
    ("stored", "image", "form"),
    [
        (OWN, IMAGE, Form.PIXELS),
        (OTHER, IMAGE, Form.RAW),
        (WIDE, IMAGE, Form.RAW),
        (WIDE, BLUE_FIRST, Form.REAL),
        (FLOAT, IMAGE, Form.KEPT),
        (NUMBERS, IMAGE, Form.KEPT),
        (OWN, BLUE_FIRST, Form.REAL),
        (OWN, None, Form.REAL),
        (OTHER, None, Form.REAL),
        (WIDE, None, Form.REAL),
        (Stored("int32", 0.0, 0), None, Form.KEPT),
    ],
)
def test_an_input_becomes_pixels_or_real_values(
    stored: Stored, image: ImagePreprocessing | None, form: Form
) -> None:
    assert plan_input(stored, image) is form


@pytest.mark.parametrize(
    ("stored", "image", "form"),
    [
        (OWN, IMAGE, Form.BYTES),
        (OTHER, IMAGE, Form.KEPT),
        (OWN, BLUE_FIRST, Form.KEPT),
        (OWN, None, Form.KEPT),
        (WIDE, IMAGE, Form.KEPT),
        (FLOAT, IMAGE, Form.KEPT),
    ],
)
def test_an_accelerator_computes_no_floats_for_its_input(
    stored: Stored, image: ImagePreprocessing | None, form: Form
) -> None:
    assert plan_input(stored, image, is_for_accelerator=True) is form


@pytest.mark.parametrize("stored", [OWN, OTHER, WIDE])
def test_outputs_become_real_values(stored: Stored) -> None:
    assert plan_output(stored, [Form.KEPT]) is Form.REAL


@pytest.mark.parametrize("stored", [FLOAT, NUMBERS, Stored("int64", 0.0, 0)])
def test_outputs_that_are_what_they_say_stay(stored: Stored) -> None:
    assert plan_output(stored, [Form.PIXELS]) is Form.KEPT


def test_an_accelerators_outputs_become_bytes_where_its_image_does() -> None:
    assert plan_output(OTHER, [Form.BYTES], is_for_accelerator=True) is Form.BYTES
    assert plan_output(OTHER, [Form.KEPT], is_for_accelerator=True) is Form.KEPT
    assert plan_output(WIDE, [Form.BYTES], is_for_accelerator=True) is Form.KEPT
