from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import InputError
from edge_agent.inference.preprocess import Quantizer, check_finite


def a_quantizer(count: int, *, scale: float = 0.5, zero_point: int = 0, dtype: str = "int8") -> Quantizer:
    return Quantizer("image", (count,), scale, zero_point, np.dtype(dtype))


def test_quantizing_rounds_ties_to_even() -> None:
    real = np.array([0.25, 0.75, -0.25, 0.3, 0.2], np.float32)

    assert a_quantizer(5).quantize(real).tolist() == [0, 2, 0, 1, 0]


def test_quantizing_clips_to_the_type() -> None:
    real = np.array([1e9, -1e9], np.float32)

    assert a_quantizer(2).quantize(real).tolist() == [127, -128]
    assert a_quantizer(2, zero_point=128, dtype="uint8").quantize(real).tolist() == [255, 0]


@given(
    st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=20),
    st.floats(1e-3, 10.0),
    st.integers(-128, 127),
)
def test_quantized_values_are_at_most_half_a_step_away(values: list[float], scale: float, zero: int) -> None:
    real = np.array(values, np.float32)

    stored = a_quantizer(len(values), scale=scale, zero_point=zero).quantize(real).astype(np.float64)

    back = (stored - zero) * scale
    inside = (back > (-128 - zero) * scale) & (back < (127 - zero) * scale)
    assert (np.abs(back - real)[inside] <= scale * 0.5 + 1e-3).all()


def test_a_quantizer_can_be_used_again() -> None:
    quantizer = a_quantizer(1)

    assert quantizer.quantize(np.array([5.0], np.float32)).tolist() == [10]
    assert quantizer.quantize(np.array([1.0], np.float32)).tolist() == [2]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_tensor_with_a_value_that_is_not_finite_is_refused_by_name(value: float) -> None:
    with pytest.raises(InputError, match="'image'"):
        check_finite(np.array([0.0, value], np.float32), "image")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("count", "place"),
    [(1, 0), (64, 63), (65_536, 65_535), (150_000, 0), (150_000, 70_000), (150_000, 149_999)],
)
def test_quantizing_refuses_a_value_that_is_not_finite_wherever_it_is(
    value: float, count: int, place: int
) -> None:
    quantizer = a_quantizer(count)
    real = np.ones(count, np.float32)
    real[place] = value

    with pytest.raises(InputError, match="'image'"):
        quantizer.quantize(real)
    assert quantizer.quantize(np.ones(count, np.float32)).tolist() == [2] * count


@pytest.mark.parametrize(("dtype", "zero"), [("int8", -3), ("uint8", 128), ("int16", 0)])
@pytest.mark.parametrize("count", [1, 64, 65_536, 65_537, 150_528])
def test_many_values_are_quantized_as_all_at_once(dtype: str, zero: int, count: int) -> None:
    real = np.random.default_rng(1).normal(0, 40, count).astype(np.float32)
    limits = np.iinfo(dtype)

    stored = a_quantizer(count, scale=0.3, zero_point=zero, dtype=dtype).quantize(real)

    at_once = np.clip(np.rint(real / np.float32(0.3)) + np.float32(zero), limits.min, limits.max)
    assert stored.dtype == dtype
    assert np.array_equal(stored, at_once.astype(dtype))


@pytest.mark.filterwarnings("error")
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=20),
    st.floats(1.401298464324817e-45, 3.4028234663852886e38, width=32),
    st.sampled_from([("int8", -128), ("int8", 127), ("int8", 3), ("uint8", 0), ("uint8", 128), ("int16", 0)]),
)
def test_values_beyond_the_range_are_its_ends_for_every_scale(
    values: list[float], scale: float, kind: tuple[str, int]
) -> None:
    dtype, zero = kind
    limits, real = np.iinfo(dtype), np.array(values, np.float32)

    stored = a_quantizer(len(values), scale=scale, zero_point=zero, dtype=dtype).quantize(real)

    with np.errstate(over="ignore"):
        steps = np.rint(real / np.float32(scale)) + np.float32(zero)
    assert stored.tolist() == np.clip(steps, limits.min, limits.max).tolist()


def test_a_tensor_keeps_its_shape() -> None:
    quantizer = Quantizer("image", (1, 2, 3), 0.5, 0, np.dtype(np.int8))

    assert quantizer.quantize(np.ones((1, 2, 3), np.float32)).tolist() == [[[2] * 3] * 2]


def test_large_finite_values_are_not_mistaken_for_infinite_ones() -> None:
    check_finite(np.full(4, 3e38, np.float32), "image")

    assert a_quantizer(4, scale=1e-3).quantize(np.full(4, 3e38, np.float32)).tolist() == [127] * 4


def test_whole_numbers_are_always_finite() -> None:
    check_finite(np.array([1], np.int32), "image")
