"""Inference requests of the Open Inference Protocol, read and matched with what a model takes.

PURE. Rules:

1. Every length that the sender gives is checked against the bytes that are there; what is left over is a fault too.
2. Parameters of extensions that change what is computed, and that are not supported, are refused; others that are
   not known are passed over, since senders add their own.
3. Inputs go by name. Besides its own tensor, a model that takes images takes one as UINT8 [height, width] or
   [height, width, 1 or 3], or a JPEG or PNG file as one binary BYTES element.

Source: kserve/open-inference-protocol; Triton's binary tensor data, sequence, classification and shared memory
extensions (https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from contract.errors import InputError, TooLargeError
from contract.tensor import DType
from edge_agent.gateway import tensors
from edge_agent.inference.protocol import Welcome

MAX_TENSORS = 64
JSON_MAX_BYTES = 1 << 20
"""JSON of one request: it is read on the gateway's only thread, and others wait meanwhile."""
BYTES = "BYTES"
"""Datatype of an image file."""
_LENGTH_BYTES = 4
_PARAMETERS_MAX_BYTES = 4096
_REFUSED = {
    "shared_memory_region": "shared memory is not supported: send the tensor in the body",
    "sequence_id": "sequences are not supported: every request stands for itself",
    "priority": "priorities are not supported: requests are served in the order in which they come",
    "classification": "classification is not supported: the best class is in the response's parameters",
}
"""Parameters that may not be passed over, and why."""

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class _Given(msgspec.Struct, frozen=True):
    name: _Name
    shape: list[int]
    datatype: str
    parameters: msgspec.Raw = msgspec.Raw(b"{}")
    data: msgspec.Raw = msgspec.Raw()


class _Wanted(msgspec.Struct, frozen=True):
    name: _Name
    parameters: msgspec.Raw = msgspec.Raw(b"{}")


class _Request(msgspec.Struct, frozen=True):
    inputs: list[_Given]
    id: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    outputs: list[_Wanted] = []
    parameters: msgspec.Raw = msgspec.Raw(b"{}")


_REQUEST = msgspec.json.Decoder(_Request)
_PARAMETERS: msgspec.json.Decoder[dict[str, str | int | float | bool | None]] = msgspec.json.Decoder(
    dict[str, str | int | float | bool | None]
)
_Parameters = dict[str, "str | int | float | bool | None"]


@dataclass(frozen=True)
class Given:
    """An input as it came: ``content`` where it is binary, else ``text``, a JSON value; a file has no ``dtype``."""

    name: str
    dtype: DType | None
    shape: tuple[int, ...]
    text: bytes
    content: memoryview | None


@dataclass(frozen=True)
class InferRequest:
    """A request.

    Attributes:
        id: To be given back; empty for none.
        timeout_s: The longest that the sender waits; None when it does not say.
        inputs: In the order in which they came.
        wanted: Output name to whether it is wanted in binary; None for all outputs.
        is_binary: Whether outputs are wanted in binary where ``wanted`` says nothing.
    """

    id: str
    timeout_s: float | None
    inputs: tuple[Given, ...]
    wanted: dict[str, bool] | None
    is_binary: bool


def parse_infer(body: memoryview, header_bytes: int | None) -> InferRequest:
    """Read the body of an inference request.

    Args:
        body: All of it.
        header_bytes: Length of its JSON part, from ``Inference-Header-Content-Length``; None when all of it is JSON.

    Raises:
        InputError: It breaks a rule of the protocol.
        TooLargeError: Its JSON is too long.
    """
    if header_bytes is not None and header_bytes > len(body):
        raise InputError(f"Inference-Header-Content-Length is {header_bytes}, the body has {len(body)} bytes")
    end = len(body) if header_bytes is None else header_bytes
    if end > JSON_MAX_BYTES:
        raise TooLargeError(
            f"the JSON has {end} bytes, at most {JSON_MAX_BYTES} are taken",
            remedy="send large tensors in binary: binary_data_size, and Inference-Header-Content-Length in the head",
        )
    try:
        raw = _REQUEST.decode(body[:end])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"the request cannot be read: {error}") from error
    if not 1 <= len(raw.inputs) <= MAX_TENSORS or len(raw.outputs) > MAX_TENSORS:
        raise InputError(f"a request has 1 to {MAX_TENSORS} inputs, and up to {MAX_TENSORS} outputs")
    parameters = _parameters(raw.parameters, "parameters")
    inputs = _inputs(raw.inputs, body[end:])
    names = [given.name for given in inputs]
    if len(set(names)) != len(names):
        raise InputError("an input is given twice")
    is_binary = _flag(parameters, "binary_data_output", default=False)
    return InferRequest(
        id=raw.id,
        timeout_s=_timeout_s(parameters),
        inputs=inputs,
        wanted=_wanted(raw.outputs, is_binary=is_binary),
        is_binary=is_binary,
    )


def _inputs(found: list[_Given], content: memoryview) -> tuple[Given, ...]:
    inputs: list[Given] = []
    used = 0
    for given in found:
        where = f"input {given.name!r}"
        parameters = _parameters(given.parameters, where)
        size = parameters.get("binary_data_size")
        piece: memoryview | None = None
        if size is not None:
            if bytes(given.data):
                raise InputError(f"{where} has both data and binary_data_size")
            if type(size) is not int or not 0 <= size <= len(content) - used:
                raise InputError(f"{where}: binary_data_size {size!r} with {len(content) - used} bytes left")
            piece = content[used : used + size]
            used += size
        elif not bytes(given.data):
            raise InputError(f"{where} has neither data nor binary_data_size")
        inputs.append(
            Given(
                name=given.name,
                dtype=None if given.datatype == BYTES else tensors.dtype_of(given.datatype, where),
                shape=tensors.check_shape(given.shape, where),
                text=bytes(given.data),
                content=piece,
            )
        )
    if used != len(content):
        raise InputError(f"{len(content) - used} bytes after the last binary tensor")
    return tuple(inputs)


def _wanted(found: list[_Wanted], *, is_binary: bool) -> dict[str, bool] | None:
    if not found:
        return None
    wanted: dict[str, bool] = {}
    for output in found:
        where = f"output {output.name!r}"
        parameters = _parameters(output.parameters, where)
        if output.name in wanted:
            raise InputError(f"{where} is wanted twice")
        wanted[output.name] = _flag(parameters, "binary_data", default=is_binary)
    return wanted


def _parameters(raw: msgspec.Raw, where: str) -> _Parameters:
    text = bytes(raw)
    if len(text) > _PARAMETERS_MAX_BYTES:
        raise InputError(f"{where}: parameters have {len(text)} bytes, at most {_PARAMETERS_MAX_BYTES}")
    try:
        found = _PARAMETERS.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"{where}: parameters cannot be read: {error}") from error
    for name, why in _REFUSED.items():
        if found.get(name):
            raise InputError(f"{where}: {why}")
    return found


def _flag(parameters: _Parameters, name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise InputError(f"{name} is true or false")
    return value


def _timeout_s(parameters: _Parameters) -> float | None:
    """Triton's parameter ``timeout``, in microseconds; 0 means none."""
    value = parameters.get("timeout")
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise InputError("timeout is a number of microseconds")
    return value / 1e6 or None


def check_fit(request: InferRequest, welcome: Welcome) -> None:
    """Check names, datatypes and shapes before any data is read.

    Raises:
        InputError: The model takes or gives something else; the text says what.
    """
    is_taken = _is_image(request, welcome) or _is_file(request, welcome)
    faults = [] if is_taken else _input_faults(request, welcome)
    known = {place.name for place in welcome.outputs}
    faults += [f"{name!r} is no output" for name in request.wanted or () if name not in known]
    if faults:
        raise InputError(f"{welcome.model} does not take this", faults=faults, remedy=_taken(welcome))


def _input_faults(request: InferRequest, welcome: Welcome) -> list[str]:
    places = {place.name: place for place in welcome.inputs}
    names = {given.name for given in request.inputs}
    faults = [f"{given.name!r} is no input" for given in request.inputs if given.name not in places]
    faults += [f"{name!r} is missing" for name in places if name not in names]
    for given in request.inputs:
        place = places.get(given.name)
        if place is not None and (given.shape, given.dtype) != (place.shape, place.dtype):
            is_so, must_be = _shown(given.dtype, given.shape), _shown(place.dtype, place.shape)
            faults.append(f"{given.name!r} is {is_so}, must be {must_be}")
    return faults


def feed_arrays(
    request: InferRequest, welcome: Welcome
) -> npt.NDArray[Any] | bytes | dict[str, npt.NDArray[Any]]:
    """What the SDK is asked.

    Raises:
        InputError: Data is not what its datatype and shape say.
    """
    if _is_file(request, welcome):
        return _file_in(request.inputs[0])
    arrays: dict[str, npt.NDArray[Any]] = {}
    for given in request.inputs:
        where = f"input {given.name!r}"
        if given.dtype is None:
            raise InputError(f"{where} is {BYTES}, which only one image file can be")
        if given.content is not None:
            arrays[given.name] = tensors.from_binary(given.content, given.dtype, given.shape, where)
        else:
            arrays[given.name] = tensors.from_json(given.text, given.dtype, given.shape, where)
    if _is_image(request, welcome):
        return np.asarray(arrays[request.inputs[0].name])
    return arrays


def _is_image(request: InferRequest, welcome: Welcome) -> bool:
    given = request.inputs[0]
    place = welcome.inputs[0]
    return (
        welcome.takes_images
        and len(request.inputs) == 1
        and given.name == place.name
        and given.dtype is DType.UINT8
        and len(given.shape) in {2, 3}
        and (given.dtype, given.shape) != (place.dtype, place.shape)
    )


def _is_file(request: InferRequest, welcome: Welcome) -> bool:
    given = request.inputs[0]
    return (
        welcome.takes_files
        and len(request.inputs) == 1
        and given.name == welcome.inputs[0].name
        and given.dtype is None
        and math.prod(given.shape) == 1
    )


def _file_in(given: Given) -> bytes:
    """The one element of a BYTES tensor: its length in four bytes, little-endian, then itself.

    Raises:
        InputError: It came as JSON, or its length is another.
    """
    where = f"input {given.name!r}"
    if given.content is None:
        raise InputError(
            f"{where}: JSON holds no image file", remedy="send it in binary, with binary_data_size"
        )
    size = int.from_bytes(given.content[:_LENGTH_BYTES], "little")
    if len(given.content) < _LENGTH_BYTES or size != len(given.content) - _LENGTH_BYTES:
        raise InputError(f"{where}: one BYTES element of {size} bytes in {len(given.content)} bytes")
    return bytes(given.content[_LENGTH_BYTES:])


def _shown(dtype: DType | None, shape: tuple[int, ...]) -> str:
    return f"{BYTES if dtype is None else tensors.datatype_of(dtype)} {list(shape)}"


def _taken(welcome: Welcome) -> str:
    taken = ", ".join(f"{place.name!r} {_shown(place.dtype, place.shape)}" for place in welcome.inputs)
    given = ", ".join(repr(place.name) for place in welcome.outputs)
    image = ", or an image UINT8 [height, width, 1 or 3]" if welcome.takes_images else ""
    image += ", or a JPEG or PNG file BYTES [1]" if welcome.takes_files else ""
    return f"send {taken}{image}; outputs are {given}"
