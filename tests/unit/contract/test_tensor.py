"""Faults of tensor descriptions."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.tensor import (
    ITEM_BYTES,
    MAX_ELEMENTS,
    ZERO_POINTS,
    DType,
    Layout,
    Quantization,
    TensorSpec,
    tensor_faults,
)

IMAGE = TensorSpec(
    name="image", shape=(-1, 8, 8, 3), dtype=DType.UINT8, layout=Layout.NHWC, value_range=(0, 255)
)
HUGE = 10**4299


def faults(**changes: Any) -> list[str]:
    return tensor_faults(msgspec.structs.replace(IMAGE, **changes), "inputs[0]")


def quantized(scales: tuple[float, ...], zero_points: tuple[int, ...], axis: int | None = None) -> list[str]:
    return faults(quantization=Quantization(scales=scales, zero_points=zero_points, axis=axis))


def test_a_sound_description_has_no_fault() -> None:
    assert faults() == []
    assert faults(shape=()) == []
    assert faults(value_range=None) == []


SPOILED: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "inputs[0]: name must have 1 to 256 characters"),
    ({"name": "n" * 257}, "inputs[0]: name must have 1 to 256 characters"),
    ({"shape": (1,) * 9}, "inputs[0]: rank 9 is above 8"),
    ({"shape": (1, 0)}, "inputs[0]: dimension 0 is neither positive nor -1"),
    ({"shape": (-2, 1)}, "inputs[0]: dimension -2 is neither positive nor -1"),
    ({"shape": (MAX_ELEMENTS + 1,)}, f"inputs[0]: more than {MAX_ELEMENTS} elements"),
    ({"shape": (HUGE,) * 8}, f"inputs[0]: more than {MAX_ELEMENTS} elements"),
    ({"shape": (1 << 14, 1 << 15)}, f"inputs[0]: more than {MAX_ELEMENTS} elements"),
    ({"value_range": (1.0, 1.0)}, "inputs[0]: value_range 1.0 to 1.0 is not a finite, rising range"),
    ({"value_range": (2.0, 1.0)}, "inputs[0]: value_range 2.0 to 1.0 is not a finite, rising range"),
    ({"value_range": (float("nan"), 1.0)}, "inputs[0]: value_range nan to 1.0 is not a finite, rising range"),
    ({"value_range": (0.0, float("inf"))}, "inputs[0]: value_range 0.0 to inf is not a finite, rising range"),
]


@pytest.mark.parametrize(("changes", "fault"), SPOILED)
def test_one_fault_is_named(changes: dict[str, Any], fault: str) -> None:
    assert faults(**changes) == [fault]


def test_a_tensor_as_large_as_allowed_is_sound() -> None:
    assert faults(shape=(MAX_ELEMENTS,)) == []
    assert faults(shape=(1,) * 8, name="n" * 256) == []


@pytest.mark.timeout(20)
def test_a_hostile_number_of_huge_dimensions_costs_nothing() -> None:
    assert faults(shape=(HUGE,) * 100_000) == ["inputs[0]: rank 100000 is above 8"]


def test_every_fault_is_listed() -> None:
    assert len(faults(name="", shape=(0,) * 9, value_range=(1.0, 0.0))) == 4


def test_sound_quantization_has_no_fault() -> None:
    assert quantized((0.5,), (128,)) == []
    assert quantized((0.5, 0.25, 0.125), (1, 2, 3), axis=3) == []
    assert quantized((0.5,), (0,), axis=0) == ["inputs[0]: 1 scales for -1 slices"]


QUANTIZED: list[tuple[tuple[float, ...], tuple[int, ...], int | None, str]] = [
    ((), (), None, "quantization has 0 scales and 0 zero points"),
    ((0.5,), (), None, "quantization has 1 scales and 0 zero points"),
    ((0.0,), (0,), None, "quantization scales must be finite and above 0"),
    ((float("inf"),), (0,), None, "quantization scales must be finite and above 0"),
    ((float("nan"),), (0,), None, "quantization scales must be finite and above 0"),
    ((0.5,), (256,), None, "zero points of uint8 must be 0 to 255"),
    ((0.5,), (-HUGE,), None, "zero points of uint8 must be 0 to 255"),
    ((0.5, 0.5), (0, 0), None, "2 scales need an axis"),
    ((0.5,), (0,), 4, "quantization axis 4 is outside the shape"),
    ((0.5,), (0,), -1, "quantization axis -1 is outside the shape"),
    ((0.5, 0.5), (0, 0), 3, "2 scales for 3 slices"),
]


@pytest.mark.parametrize(("scales", "zero_points", "axis", "fault"), QUANTIZED)
def test_a_fault_of_the_quantization_is_named(
    scales: tuple[float, ...], zero_points: tuple[int, ...], axis: int | None, fault: str
) -> None:
    assert quantized(scales, zero_points, axis) == [f"inputs[0]: {fault}"]


@pytest.mark.parametrize("dtype", [dtype for dtype in DType if dtype not in ZERO_POINTS])
def test_only_integers_of_eight_and_sixteen_bits_are_quantized(dtype: DType) -> None:
    quantization = Quantization(scales=(0.5,), zero_points=(0,))
    assert faults(dtype=dtype, quantization=quantization) == [f"inputs[0]: {dtype.value} cannot be quantized"]


@given(
    st.builds(
        TensorSpec,
        name=st.text(max_size=300),
        shape=st.lists(st.integers() | st.sampled_from([-1, 0, 1, 8, 1 << 20]), max_size=12).map(tuple),
        dtype=st.sampled_from(DType),
        value_range=st.none() | st.tuples(st.floats(), st.floats()),
        quantization=st.none()
        | st.builds(
            Quantization,
            scales=st.lists(st.floats(), max_size=4).map(tuple),
            zero_points=st.lists(st.integers(), max_size=4).map(tuple),
            axis=st.none() | st.integers(-2, 12),
        ),
    )
)
def test_any_description_is_judged_and_a_sound_one_can_be_allocated(spec: TensorSpec) -> None:
    if not tensor_faults(spec, "x"):
        assert 1 <= spec.elements() <= MAX_ELEMENTS
        assert spec.size_bytes() == spec.elements() * ITEM_BYTES[spec.dtype]


def test_size_counts_free_dimensions_as_asked() -> None:
    assert IMAGE.elements() == 192
    assert IMAGE.elements(free=2) == 384
    spec = msgspec.structs.replace(IMAGE, dtype=DType.FLOAT32)
    assert spec.size_bytes(free=2) == 1536
    assert set(ITEM_BYTES) == set(DType)
