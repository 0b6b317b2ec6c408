"""What an application hands to ``infer``, and what is sent of it.

PURE. Rules:

1. Another shape or dtype than the model's is refused, but for rules 2 and 3, and the text says what it takes.
2. For a float32 input, real numbers of its shape become float32: float64 and float16, and integers in Python lists,
   which have no dtype of their own. Integer arrays stay refused, as they may be pixels that were not scaled, and so
   does a finite number that float32 does not hold. Integer inputs take their own dtype alone.
3. An image is left to the worker.
4. An array that is the model's own input is taken as that, also when it could pass for an image, and before anything
   else is looked at.
5. Bytes are an image file. What is in it is for the worker to find out, who decodes it as the packager does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from contract.errors import InputError
from contract.tensor import DType
from edge_agent.inference.protocol import (
    IMAGE_MAX_BYTES,
    AreaTensor,
    Request,
    Welcome,
    file_fault,
    image_fault,
)

_LONGEST_FLOAT_BYTES = 8
"""Of float64; longer ones differ from machine to machine."""
_NO_ARRAY = (ValueError, TypeError)
"""What numpy, and tensors of other libraries, raise: rows that differ in length, memory of another device."""


class Feed(NamedTuple):
    """The inputs in the model's order, or an image (H, W, C) uint8, or an image file; its bytes in the area."""

    tensors: tuple[npt.NDArray[Any], ...]
    image: npt.NDArray[np.uint8] | None
    image_bytes: int
    file: bytes = b""


def feed_of(what: npt.ArrayLike | Mapping[str, npt.ArrayLike], welcome: Welcome) -> Feed:
    """Decide how a request is sent.

    Args:
        what: See ``Model.infer``.
        welcome: What the worker takes.

    Raises:
        InputError: It is nothing that the model takes.
    """
    if isinstance(what, (bytes, bytearray)):
        return _file(bytes(what), welcome)
    if isinstance(what, Mapping):
        return _tensors(what, welcome)
    try:
        array = np.asarray(what)
    except _NO_ARRAY as error:
        raise _no_array(error, welcome) from error
    if len(welcome.inputs) == 1 and not _fault(array, welcome.inputs[0]):
        return Feed((array,), None, 0)
    if welcome.takes_images and array.dtype == np.uint8 and array.ndim in {2, 3}:
        return _image(array)
    if len(welcome.inputs) > 1:
        names = ", ".join(repr(place.name) for place in welcome.inputs)
        raise InputError(f"{welcome.model} has several inputs: give a mapping with {names}")
    real, fault = _real(what, array, welcome.inputs[0])
    if fault:
        raise InputError(
            f"{welcome.model} does not take {_shown(array)}", faults=[fault], remedy=_wanted(welcome)
        )
    return Feed((real,), None, 0)


def _tensors(what: Mapping[str, npt.ArrayLike], welcome: Welcome) -> Feed:
    known = {place.name for place in welcome.inputs}
    faults = [f"{name!r} is no input" for name in what if name not in known]
    faults += [f"{name!r} is missing" for name in sorted(known - what.keys())]
    try:
        arrays = {name: np.asarray(value) for name, value in what.items()}
    except _NO_ARRAY as error:
        raise _no_array(error, welcome) from error
    for place in welcome.inputs:
        if place.name in arrays and _fault(arrays[place.name], place):
            arrays[place.name], fault = _real(what[place.name], arrays[place.name], place)
            faults += [fault] if fault else []
    if faults:
        raise InputError(f"{welcome.model} does not take this", faults=faults, remedy=_wanted(welcome))
    return Feed(tuple(arrays[place.name] for place in welcome.inputs), None, 0)


def _image(array: npt.NDArray[np.uint8]) -> Feed:
    pixels = array[:, :, np.newaxis] if array.ndim == 2 else array
    height, width, channels = pixels.shape
    fault = image_fault(Request(0, height, width, channels), IMAGE_MAX_BYTES)
    if fault:
        raise InputError(fault, remedy="give (H, W), (H, W, 1) or (H, W, 3) uint8, gray or RGB")
    return Feed((), pixels, pixels.size)


def _file(content: bytes, welcome: Welcome) -> Feed:
    if not welcome.takes_images:
        raise InputError(f"{welcome.model} takes tensors, not images", remedy=_wanted(welcome))
    if not welcome.takes_files:
        raise InputError(
            f"the worker of {welcome.model} takes no image files yet",
            remedy="install the same litefleet version in the application and the agent, or decode it first",
        )
    fault = file_fault(len(content), IMAGE_MAX_BYTES)
    if fault:
        raise InputError(fault, remedy="give the bytes of a JPEG or PNG file")
    return Feed((), None, len(content), content)


def _no_array(error: Exception, welcome: Welcome) -> InputError:
    return InputError(
        f"{welcome.model} takes arrays, and this is none", faults=[str(error)], remedy=_wanted(welcome)
    )


def _real(given: npt.ArrayLike, array: npt.NDArray[Any], place: AreaTensor) -> tuple[npt.NDArray[Any], str]:
    """An array that is not the input's own as float32; and why it cannot be, empty when it can.

    Args:
        given: What the application handed over.
        array: The same, as numpy sees it.
        place: The input.
    """
    kind, item_bytes = array.dtype.kind, array.dtype.itemsize
    is_real = (kind == "f" and item_bytes <= _LONGEST_FLOAT_BYTES) or (kind in "iu" and _is_of_ints(given))
    if array.shape != place.shape or place.dtype is not DType.FLOAT32 or not is_real:
        return array, _fault(array, place)
    with np.errstate(over="ignore"):
        real = array.astype(np.float32)
    lost = np.isfinite(array) & ~np.isfinite(real)
    if lost.any():
        return array, f"{place.name!r} holds {array[lost][0]}, beyond what a float32 holds"
    return real, ""


def _is_of_ints(given: npt.ArrayLike) -> bool:
    """Whether integers came as Python's own, and not in an array, nor in a list of arrays."""
    first: Any = given
    while isinstance(first, (list, tuple)) and first:
        first = first[0]
    return isinstance(first, int)


def _fault(array: npt.NDArray[Any], place: AreaTensor) -> str:
    """Why an array is not an input; empty when it is."""
    if array.shape == place.shape and array.dtype == np.dtype(place.dtype.value):
        return ""
    return f"{place.name!r} is {_shown(array)}, must be {place.shape} {place.dtype.value}"


def _shown(array: npt.NDArray[Any]) -> str:
    return f"{array.shape} {array.dtype}"


def _wanted(welcome: Welcome) -> str:
    wanted = ", ".join(f"{place.name!r} {place.shape} {place.dtype.value}" for place in welcome.inputs)
    image = (
        ", or an image (H, W), (H, W, 1) or (H, W, 3) uint8, or a JPEG or PNG file"
        if welcome.takes_images
        else ""
    )
    return f"give {wanted}{image}"
