"""Tensors as the Open Inference Protocol writes them, in JSON and in binary.

PURE. Rules:

1. Nothing is converted but JSON's one kind of number: another datatype, shape or length is refused, and the text says
   what was expected.
2. JSON data is flat or nested, row by row; nested data has exactly the shape. It becomes an array piece by piece, so
   that what it takes in memory is a small multiple of its text, whatever the text is.
3. Binary data is little-endian, row by row, without padding (Triton's binary tensor data extension).

Source: https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md, "Tensor Data".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from contract.errors import InferenceError, InputError
from contract.tensor import MAX_RANK, DType

DATATYPES: dict[str, DType] = {
    "BOOL": DType.BOOL,
    "INT8": DType.INT8,
    "INT16": DType.INT16,
    "INT32": DType.INT32,
    "INT64": DType.INT64,
    "UINT8": DType.UINT8,
    "FP16": DType.FLOAT16,
    "FP32": DType.FLOAT32,
}
_NAMES = {dtype: name for name, dtype in DATATYPES.items()}
UNUSED = frozenset(("UINT16", "UINT32", "UINT64", "FP64", "BF16", "BYTES"))
"""Datatypes of the protocol that no TFLite model here has."""
_PIECE_BYTES = 1 << 16
_NOT_SKELETON = bytes(set(range(256)) - set(b"[],"))
_FLOATS = msgspec.json.Decoder(list[float])
_INTS = msgspec.json.Decoder(list[int])
_BOOLS = msgspec.json.Decoder(list[bool])


def datatype_of(dtype: DType) -> str:
    """The protocol's name of an element type."""
    return _NAMES[dtype]


def dtype_of(datatype: str, where: str) -> DType:
    """The element type that the protocol's name means.

    Raises:
        InputError: No model here has it.
    """
    if datatype in DATATYPES:
        return DATATYPES[datatype]
    known = ", ".join(DATATYPES)
    if datatype in UNUSED:
        raise InputError(f"{where}: datatype {datatype} is not supported", remedy=f"use one of {known}")
    raise InputError(f"{where}: unknown datatype {datatype[:40]!r}", remedy=f"use one of {known}")


def check_shape(shape: Sequence[int], where: str) -> tuple[int, ...]:
    """A shape whose elements can be counted.

    Raises:
        InputError: It has too many dimensions, or one that is not positive.
    """
    if len(shape) > MAX_RANK:
        raise InputError(f"{where}: {len(shape)} dimensions, at most {MAX_RANK} are possible")
    if any(not 1 <= size < 1 << 31 for size in shape):
        raise InputError(f"{where}: every dimension must be positive")
    return tuple(shape)


def from_binary(content: memoryview, dtype: DType, shape: tuple[int, ...], where: str) -> npt.NDArray[Any]:
    """A view of binary tensor data.

    Raises:
        InputError: It has another length than its datatype and shape say, or a BOOL is neither 0 nor 1.
    """
    stored = np.dtype(dtype.value).newbyteorder("<")
    wanted = math.prod(shape) * stored.itemsize
    if len(content) != wanted:
        raise InputError(
            f"{where}: {len(content)} bytes, {datatype_of(dtype)} {list(shape)} takes {wanted} bytes"
        )
    if dtype is DType.BOOL and np.frombuffer(content, np.uint8).max() > 1:
        raise InputError(f"{where}: a BOOL is one byte, 0 or 1")
    return np.frombuffer(content, stored).reshape(shape)


def from_json(text: bytes, dtype: DType, shape: tuple[int, ...], where: str) -> npt.NDArray[Any]:
    """An array of JSON tensor data.

    Args:
        text: A JSON value.
        dtype: What its elements are.
        shape: Of the tensor.
        where: How to call it in errors.

    Raises:
        InputError: It has another shape, or elements of another kind or range.
    """
    count = math.prod(shape)
    skeleton = text.translate(None, _NOT_SKELETON)
    # Counted before it is built: a shape says nothing about how much text there is.
    if skeleton.count(b",") != count - 1 or skeleton not in (_skeleton((count,)), _skeleton(shape)):
        raise InputError(f"{where}: data is not {list(shape)}, flat or nested")
    flat = text.translate(None, b"[]")
    if dtype is DType.BOOL:
        return _fill(flat, _BOOLS, np.empty(count, np.bool_), where).reshape(shape)
    if dtype in {DType.FLOAT16, DType.FLOAT32}:
        floats = _fill(flat, _FLOATS, np.empty(count, np.float64), where)
        with np.errstate(over="ignore"):  # what gets infinite is refused where every input is checked
            return floats.astype(dtype.value).reshape(shape)
    ints = _fill(flat, _INTS, np.empty(count, np.int64), where)
    bounds = np.iinfo(dtype.value)
    if int(ints.min()) < bounds.min or int(ints.max()) > bounds.max:
        raise InputError(f"{where}: {datatype_of(dtype)} holds {bounds.min} to {bounds.max}")
    return ints.astype(dtype.value).reshape(shape)


def _skeleton(shape: tuple[int, ...]) -> bytes:
    """The brackets and commas of a nested tensor."""
    text = b""
    for size in reversed(shape or (1,)):
        text = b"[" + (text + b",") * (size - 1) + text + b"]"
    return text


def _fill(
    text: bytes, decoder: msgspec.json.Decoder[list[Any]], array: npt.NDArray[Any], where: str
) -> npt.NDArray[Any]:
    """Decode a flat list without its brackets, piece by piece."""
    start = filled = 0
    try:
        while start < len(text):
            end = text.find(b",", start + _PIECE_BYTES)
            end = len(text) if end < 0 else end
            values = decoder.decode(b"[" + text[start:end] + b"]")
            array[filled : filled + len(values)] = values
            filled += len(values)
            start = end + 1
    except (msgspec.DecodeError, OverflowError, ValueError) as error:
        raise InputError(f"{where}: data cannot be read: {error}") from error
    if filled != len(array):
        raise InputError(f"{where}: {filled} elements in place of {len(array)}")
    return array


def to_json(array: npt.NDArray[np.float32], where: str) -> list[float]:
    """An output's elements, row by row.

    Raises:
        InferenceError: One is not finite, which JSON has no word for.
    """
    if not np.isfinite(array).all():
        raise InferenceError(
            f"{where} is not finite, which JSON cannot say", remedy="ask for it with binary_data"
        )
    elements: list[float] = array.reshape(-1).tolist()
    return elements
