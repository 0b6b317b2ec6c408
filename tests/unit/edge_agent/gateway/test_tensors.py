"""Tensors in JSON and binary: what is taken is exact, what is not is told."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from contract.errors import InferenceError, InputError
from contract.tensor import DType
from edge_agent.gateway import tensors


def of_json(value: object, dtype: DType, *shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    return tensors.from_json(json.dumps(value).encode(), dtype, shape, "x")


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (DType.BOOL, [[True, False], [False, True]]),
        (DType.INT8, [[-128, 127], [0, 1]]),
        (DType.UINT8, [[0, 255], [1, 2]]),
        (DType.INT16, [[-32768, 32767], [0, 1]]),
        (DType.INT32, [[-(2**31), 2**31 - 1], [0, 1]]),
        (DType.INT64, [[-(2**63), 2**63 - 1], [0, 1]]),
        (DType.FLOAT32, [[0.25, -1], [3e38, 1]]),
        (DType.FLOAT16, [[0.25, -1], [65504, 1]]),
    ],
)
def test_every_datatype_comes_nested_flat_and_binary(dtype: DType, values: list[list[float]]) -> None:
    expected = np.array(values, dtype.value)
    flat = [each for row in values for each in row]
    binary = memoryview(expected.tobytes())

    for array in (
        of_json(values, dtype, 2, 2),
        of_json(flat, dtype, 2, 2),
        tensors.from_binary(binary, dtype, (2, 2), "x"),
    ):
        assert array.dtype == expected.dtype
        assert np.array_equal(array, expected)


@given(
    npst.arrays(
        np.float32, npst.array_shapes(max_dims=4, max_side=5), elements=st.floats(-1e6, 1e6, width=32)
    )
)
def test_what_goes_out_comes_in_again(array: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
    flat = json.dumps(tensors.to_json(array, "y")).encode()
    nested = json.dumps(array.tolist(), indent=1).encode()

    assert np.array_equal(tensors.from_json(flat, DType.FLOAT32, array.shape, "x"), array)
    assert np.array_equal(tensors.from_json(nested, DType.FLOAT32, array.shape, "x"), array)


def test_a_scalar_is_a_list_of_one() -> None:
    assert of_json([7], DType.INT32).shape == ()


def test_long_data_is_read_piece_by_piece() -> None:
    count = 200_000
    text = ("[" + ",".join(["0.5"] * count) + "]").encode()
    tracemalloc.start()
    try:
        array = tensors.from_json(text, DType.FLOAT32, (count,), "x")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert float(array.sum()) == count / 2
    assert peak < 8 * len(
        text
    )  # a list of floats would take eight times the text, and as much again as an array


@pytest.mark.parametrize(
    ("text", "dtype", "fault"),
    [
        (b"[[1,2,3],[4]]", DType.INT32, "flat or nested"),
        (b"[1,2,3]", DType.INT32, "flat or nested"),
        (b"[[1,2],[3,4],[5,6]]", DType.INT32, "flat or nested"),
        (b"[[[1,2],[3,4]]]", DType.INT32, "flat or nested"),
        (b"1", DType.INT32, "flat or nested"),
        (b"null", DType.INT32, "flat or nested"),
        (b'{"a":1}', DType.INT32, "flat or nested"),
        (b"[" * 100_000, DType.INT32, "flat or nested"),
        (b'["[,],[,]"]', DType.INT32, "cannot be read"),
        (b"[1,2,3,]", DType.INT32, "cannot be read"),
        (b"[1,,2,3]", DType.INT32, "cannot be read"),
        (b"[,,,]", DType.INT32, "cannot be read"),
        (b'[1,2,3,"4"]', DType.INT32, "cannot be read"),
        (b"[1,2,3,4.5]", DType.INT32, "cannot be read"),
        (b"[1,2,3,true]", DType.FLOAT32, "cannot be read"),
        (b"[1,2,3,NaN]", DType.FLOAT32, "cannot be read"),
        (b"[1,2,3,null]", DType.BOOL, "cannot be read"),
        (b"[1,2,3,99999999999999999999]", DType.INT64, "cannot be read"),
        (b"[1,2,3,128]", DType.INT8, "-128 to 127"),
        (b"[1,2,3,-1]", DType.UINT8, "0 to 255"),
    ],
)
def test_data_that_is_not_the_tensor_is_refused(text: bytes, dtype: DType, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        tensors.from_json(text, dtype, (2, 2), "x")


def test_too_few_elements_behind_the_right_commas_are_refused() -> None:
    with pytest.raises(InputError, match=r"cannot be read|elements"):
        tensors.from_json(b"[ ]", DType.INT32, (1,), "x")


def test_a_number_too_large_for_float32_gets_infinite_and_is_left_to_the_worker() -> None:
    assert np.isinf(of_json([1e300], DType.FLOAT32, 1)).all()


def test_binary_data_of_another_length_is_refused() -> None:
    with pytest.raises(InputError, match=r"7 bytes, FP32 \[2\] takes 8 bytes"):
        tensors.from_binary(memoryview(bytes(7)), DType.FLOAT32, (2,), "x")


def test_a_bool_is_one_byte_0_or_1() -> None:
    assert tensors.from_binary(memoryview(b"\0\1"), DType.BOOL, (2,), "x").tolist() == [False, True]
    with pytest.raises(InputError, match="0 or 1"):
        tensors.from_binary(memoryview(b"\0\2"), DType.BOOL, (2,), "x")


def test_datatypes_that_no_model_has_are_told_from_unknown_ones() -> None:
    assert {tensors.dtype_of(name, "x") for name in tensors.DATATYPES} == set(DType)
    assert tensors.datatype_of(DType.FLOAT16) == "FP16"
    with pytest.raises(InputError, match="BYTES is not supported"):
        tensors.dtype_of("BYTES", "x")
    with pytest.raises(InputError, match="unknown datatype 'fp32'"):
        tensors.dtype_of("fp32", "x")


@pytest.mark.parametrize("shape", [[0], [-1], [1] * 9, [1 << 40]])
def test_a_shape_that_cannot_be_is_refused(shape: list[int]) -> None:
    with pytest.raises(InputError):
        tensors.check_shape(shape, "x")


def test_an_output_that_is_not_finite_has_no_json() -> None:
    with pytest.raises(InferenceError, match="not finite"):
        tensors.to_json(np.array([np.inf], np.float32), "output 'y'")
