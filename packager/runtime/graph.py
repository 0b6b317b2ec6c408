"""Reads the operators of a TFLite flatbuffer into a graph that the predictions of delegate coverage understand.

Guarantees: nothing is executed, and weights are not copied. Does not verify the flatbuffer: offsets in a damaged
file lead anywhere, so untrusted bytes are read in a child process only (``packager.probe``).
"""

from __future__ import annotations

import re
import struct
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from contract.errors import ManifestError
from packager.coverage.graph import Graph, Node, Quantization, Tensor
from packager.runtime.objects import UNREADABLE

_VALUES_MOST = 64  # elements; shapes, axes, paddings and permutations have fewer
_INTEGER_FORMATS = {"int32": "i", "int64": "q"}
_TYPE_NAMES: dict[int, str] = {
    value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)
}
_OPERATOR_NAMES: dict[int, str] = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}
_OPTION_NAMES: tuple[dict[int, str], dict[int, str]] = (
    {value: name for name, value in vars(schema.BuiltinOptions).items() if isinstance(value, int)},
    {value: name for name, value in vars(schema.BuiltinOptions2).items() if isinstance(value, int)},
)
_CUSTOM_EDGETPU = "edgetpu-custom-op"


def read_graph(content: bytes) -> Graph:
    """Read the main graph of a model.

    Args:
        content: A TFLite flatbuffer.

    Raises:
        ManifestError: The options of an operator cannot be read.
    """
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    return Graph(
        tensors=[_tensor(model, graph.Tensors(i), content) for i in range(graph.TensorsLength())],
        nodes=[_node(model, graph.Operators(i)) for i in range(graph.OperatorsLength())],
        inputs=_numbers(graph, "Inputs"),
        outputs=_numbers(graph, "Outputs"),
        graphs=model.SubgraphsLength(),
    )


def is_edgetpu_model(content: bytes) -> bool:
    """Whether a model was compiled for the Edge TPU: an operator of it is ``edgetpu-custom-op``, whatever its name.

    Args:
        content: A TFLite flatbuffer.
    """
    model = schema.Model.GetRootAs(content, 0)
    codes = (model.OperatorCodes(i) for i in range(model.OperatorCodesLength()))
    return any((code.CustomCode() or b"").decode(errors="replace") == _CUSTOM_EDGETPU for code in codes)


def _tensor(model: Any, tensor: Any, content: bytes) -> Tensor:
    dtype = _TYPE_NAMES.get(tensor.Type(), f"type {tensor.Type()}")
    start, size = _place(model, tensor.Buffer(), content)
    shape = _numbers(tensor, "Shape")
    return Tensor(
        name=(tensor.Name() or b"").decode("utf-8", errors="replace"),
        dtype=dtype,
        shape=shape,
        quantization=_quantization(tensor.Quantization()),
        constant_bytes=size,
        values=_values(dtype, content[start : start + size]) if size else None,
        is_sparse=tensor.Sparsity() is not None,
        is_variable=bool(tensor.IsVariable()),
        is_dynamic=-1 in _numbers(tensor, "ShapeSignature"),
    )


def _place(model: Any, index: int, content: bytes) -> tuple[int, int]:
    """Where a buffer's data stands in the file, and how many bytes it has."""
    buffer = model.Buffers(index)
    if buffer.DataLength():
        field = buffer._tab.Offset(4)  # noqa: SLF001 - flatbuffers' own way to a vector without a copy
        return int(buffer._tab.Vector(field)), int(buffer.DataLength())  # noqa: SLF001 - as above
    # Offsets 0 and 1 mean none (schema.fbs, Buffer).
    size = int(buffer.Size()) if buffer.Offset() > 1 and buffer.Offset() < len(content) else 0
    return int(buffer.Offset()), size


def _values(dtype: str, data: bytes) -> tuple[int, ...] | None:
    letter = _INTEGER_FORMATS.get(dtype)
    if letter is None:
        return None
    count = len(data) // struct.calcsize(letter)
    if count > _VALUES_MOST:
        return None
    return struct.unpack_from(f"<{count}{letter}", data)


def _quantization(table: Any) -> Quantization | None:
    # interpreter_builder.cc, ParseQuantization: a table without scales means none.
    if table is None:
        return None
    if table.DetailsType() == schema.QuantizationDetails.BlockwiseQuantization:
        details = schema.BlockwiseQuantization()
        details.Init(table.Details().Bytes, table.Details().Pos)
        return Quantization((), (), int(table.QuantizedDimension()), int(details.BlockSize()))
    if not table.ScaleLength():
        return None
    return Quantization(
        scales=tuple(float(table.Scale(i)) for i in range(table.ScaleLength())),
        zero_points=_numbers(table, "ZeroPoint"),
        dimension=int(table.QuantizedDimension()),
    )


def _node(model: Any, operator: Any) -> Node:
    code = model.OperatorCodes(operator.OpcodeIndex())
    # Codes above 126 stand only in the newer field (schema.fbs, OperatorCode).
    number = max(int(code.DeprecatedBuiltinCode()), int(code.BuiltinCode()))
    return Node(
        operator=_OPERATOR_NAMES.get(number, f"OPERATOR_{number}"),
        inputs=_numbers(operator, "Inputs"),
        outputs=_numbers(operator, "Outputs"),
        options=_options(operator),
        custom=(code.CustomCode() or b"").decode("utf-8", errors="replace"),
        custom_options=bytes(operator.CustomOptionsAsNumpy()) if operator.CustomOptionsLength() else b"",
        version=int(code.Version()),
    )


def _options(operator: Any) -> dict[str, object]:
    for names, kind, table in (
        (_OPTION_NAMES[0], operator.BuiltinOptionsType(), operator.BuiltinOptions()),
        (_OPTION_NAMES[1], operator.BuiltinOptions2Type(), operator.BuiltinOptions2()),
    ):
        name = names.get(kind, "")
        reader = getattr(schema, f"{name}T", None)
        if table is None or reader is None:
            continue
        try:
            found = vars(reader.InitFromBuf(table.Bytes, table.Pos))
        except UNREADABLE as error:
            raise ManifestError(
                f"it is damaged: the {name} of an operator cannot be read ({error})"
            ) from error
        return {_snake(key): _plain(value) for key, value in found.items()}
    return {}


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _plain(value: Any) -> object:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return tuple(value.tolist() if hasattr(value, "tolist") else value)


def _numbers(table: Any, which: str) -> tuple[int, ...]:
    length, read = getattr(table, which + "Length")(), getattr(table, which)
    return tuple(int(read(i)) for i in range(length))
