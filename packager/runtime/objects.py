"""Unpacks a TFLite flatbuffer into objects that can be changed, and packs them again.

Guarantees: the same objects give the same bytes; data that stands behind the flatbuffer is brought inside; buffers
are aligned as TFLite's schema asks. Does not verify the flatbuffer: offsets in a damaged file lead anywhere, so
untrusted bytes are unpacked in a child process only (``packager.normalize.child``).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from contract.errors import ManifestError
from contract.manifest import ARTIFACT_MAX_BYTES

_IDENTIFIER = b"TFL3"  # schema.fbs, file_identifier
_BUFFER_ALIGNMENT = 16  # schema.fbs: Buffer.data has force_align: 16
_SLACK_BYTES = 64 << 20  # for everything but buffers; real models need far less
_TYPE_NAMES: dict[int, str] = {
    value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)
}
_OPERATOR_NAMES: dict[int, str] = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}
UNREADABLE = (struct.error, ValueError, IndexError, OverflowError)
"""What the schema's readers raise where a reference leads out of the file, or a list is longer than it."""


class _Buffer(schema.BufferT):  # type: ignore[misc]  # the schema has no types
    """A buffer that packs itself aligned, and in one copy."""

    def Pack(self, builder: Any) -> Any:  # noqa: N802 - the schema's name
        """Write it."""
        content = bytes(self.data) if self.data is not None and len(self.data) else b""
        vector = None
        if content:
            builder.StartVector(1, len(content), _BUFFER_ALIGNMENT)
            builder.head -= len(content)
            builder.Bytes[builder.head : builder.head + len(content)] = content
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)


def unpack_model(content: bytes) -> Any:
    """Unpack a model into the schema's ``ModelT``; every buffer's ``data`` is a ``(bytes,) uint8`` array or None.

    Raises:
        ManifestError: Something that ``packager.runtime.verify`` leaves alone, the options of an operator, cannot be
            read.
    """
    try:
        model = flatbuffer_utils.read_model_from_bytearray(content)
    except UNREADABLE as error:
        raise ManifestError(f"it is damaged: an operator's options cannot be read ({error})") from error
    for graph in model.subgraphs:
        # A list that is left out is an empty one, to LiteRT too.
        graph.inputs, graph.outputs = graph.inputs or [], graph.outputs or []
    for position, found in enumerate(model.buffers):
        model.buffers[position] = make_buffer(b"" if found.data is None else bytes(found.data))
    return model


def pack_model(model: Any) -> bytes:
    """Pack a ``ModelT`` into a .tflite file.

    Raises:
        ManifestError: It would be larger than a flatbuffer can be.
    """
    if sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None) > (
        ARTIFACT_MAX_BYTES - _SLACK_BYTES
    ):
        raise ManifestError("its float32 form is larger than a .tflite file can be")
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


def make_buffer(content: bytes) -> Any:
    """A buffer with this content; without any, the mark of a tensor that is no constant."""
    buffer = _Buffer()
    buffer.data = np.frombuffer(content, dtype=np.uint8) if content else None
    return buffer


def make_signature(
    key: str, inputs: Sequence[tuple[str, int]], outputs: Sequence[tuple[str, int]], graph: int = 0
) -> Any:
    """An entry point: names with the positions of their tensors in a graph."""
    signature = schema.SignatureDefT()
    signature.signatureKey = key
    signature.subgraphIndex = graph
    signature.inputs = [_make_entry(*entry) for entry in inputs]
    signature.outputs = [_make_entry(*entry) for entry in outputs]
    return signature


def _make_entry(name: str, tensor: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name, tensor
    return entry


def operator_name(model: Any, operator: Any) -> str:
    """TFLite's name of an operator in upper case; a custom one gives ``CUSTOM`` and its own name."""
    code = model.operatorCodes[operator.opcodeIndex]
    # Codes above 126 stand only in the newer field (schema.fbs, OperatorCode).
    number = max(int(code.deprecatedBuiltinCode), int(code.builtinCode))
    name = _OPERATOR_NAMES.get(number, f"OPERATOR_{number}")
    return f"{name} {text_of(code.customCode)}" if name == "CUSTOM" else name


def renew_codes(model: Any) -> int:
    """Write operator codes into the field of today where they stand in the deprecated one alone; gives how many."""
    old = [code for code in model.operatorCodes if int(code.builtinCode) < int(code.deprecatedBuiltinCode)]
    for code in old:
        code.builtinCode = code.deprecatedBuiltinCode
    return len(old)


def type_name(tensor: Any) -> str:
    """TFLite's name of a tensor's type in lower case."""
    return _TYPE_NAMES.get(int(tensor.type), f"type {tensor.type}")


def constant_of(model: Any, tensor: Any) -> npt.NDArray[np.uint8] | None:
    """The bytes of a constant; None for a tensor that is computed or fed."""
    data: npt.NDArray[np.uint8] | None = model.buffers[tensor.buffer].data
    return data


def text_of(raw: bytes | str | None) -> str:
    """A name as text; what is no UTF-8 is replaced."""
    return raw.decode("utf-8", errors="replace") if isinstance(raw, bytes) else raw or ""


def signature_order(model: Any) -> tuple[list[str], list[str]]:
    """Names that the only signature gives to the main graph's inputs and outputs, in the order of the graph."""
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    sides = ((graph.inputs, signature.inputs), (graph.outputs, signature.outputs))
    names = [{int(entry.tensorIndex): text_of(entry.name) for entry in entries} for _, entries in sides]
    inputs, outputs = (
        [known.get(int(index), "") for index in indices]
        for (indices, _), known in zip(sides, names, strict=True)
    )
    return inputs, outputs


def add_tensor(
    graph: Any, name: str, shape: Sequence[int], kind: str, quantization: tuple[float, int] | None = None
) -> int:
    """A new tensor that is computed or fed; gives its position.

    Args:
        graph: Where it is added.
        name: Of the tensor.
        shape: Of fixed sizes.
        kind: TFLite's type in lower case.
        quantization: Scale and zero point; None for none.
    """
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = name, [int(size) for size in shape], 0
    tensor.type = getattr(schema.TensorType, kind.upper())
    if quantization is not None:
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [quantization[0]], [quantization[1]]
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def add_operator(model: Any, name: str, inputs: Sequence[int], output: int, *, version: int) -> Any:
    """An operator without options, whose code is added to the model; the caller puts it into a graph.

    Args:
        model: ``ModelT``.
        name: TFLite's, in upper case.
        inputs: Positions of tensors.
        output: Position of a tensor.
        version: Of the operator's code.
    """
    number = getattr(schema.BuiltinOperator, name)
    known = [(code.builtinCode, code.version) for code in model.operatorCodes]
    if (number, version) not in known:
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = number, number, version
        model.operatorCodes.append(code)
        known.append((number, version))
    operator = schema.OperatorT()
    operator.opcodeIndex = known.index((number, version))
    operator.inputs, operator.outputs = list(inputs), [output]
    table = f"{name.capitalize()}Options"
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, table)
    operator.builtinOptions = getattr(schema, f"{table}T")()
    return operator


def add_metadata(model: Any, name: str, content: bytes) -> None:
    """Store content under a name in a model, instead of what stood there."""
    entries = [entry for entry in model.metadata or [] if text_of(entry.name) != name]
    # The buffer of an entry that goes stays as an empty one: others are known by their places.
    for entry in model.metadata or []:
        if text_of(entry.name) == name:
            model.buffers[entry.buffer] = make_buffer(b"")
    model.buffers.append(make_buffer(content))
    entry = schema.MetadataT()
    entry.name, entry.buffer = name, len(model.buffers) - 1
    model.metadata = [*entries, entry]
