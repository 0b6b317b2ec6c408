"""Reads what a TFLite flatbuffer says of itself, and how much memory running it takes.

Guarantees: nothing is executed. Does not verify the flatbuffer: offsets in a damaged file lead anywhere, so
untrusted bytes are read in a child process only (``packager.probe``).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from packager.description import ModelDescription, SignatureDescription, TensorDescription

_PAGE_BYTES = 64 * 1024
_TYPE_NAMES = {
    value: name.lower() for name, value in vars(schema.TensorType).items() if isinstance(value, int)
}
_OPERATOR_NAMES: dict[int, str] = {
    value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)
}
# Bytes of one element; TFLite keeps 4-bit activations in whole bytes. Types not named here are at most 16 bytes.
_ELEMENT_BYTES = {
    "float32": 4, "float16": 2, "bfloat16": 2, "int32": 4, "uint32": 4, "uint8": 1, "int8": 1, "int4": 1,
    "int2": 1, "bool": 1, "int16": 2, "uint16": 2, "int64": 8, "uint64": 8, "float64": 8, "complex64": 8,
}  # fmt: skip
_LARGEST_ELEMENT_BYTES = 16


def describe(content: bytes) -> ModelDescription:
    """Describe a model.

    Args:
        content: A TFLite flatbuffer that the native loader took.
    """
    model = schema.Model.GetRootAs(content, 0)
    graphs = [model.Subgraphs(i) for i in range(model.SubgraphsLength())]
    tensors = [graph.Tensors(i) for graph in graphs for i in range(graph.TensorsLength())]
    main = graphs[0]
    operators = (main.Operators(i) for i in range(main.OperatorsLength()))
    return ModelDescription(
        signatures=dict(
            _describe_signature(model, model.SignatureDefs(i)) for i in range(model.SignatureDefsLength())
        ),
        operators=tuple(
            _operator_name(model.OperatorCodes(operator.OpcodeIndex())) for operator in operators
        ),
        quantized_tensors=sum(_is_quantized(tensor) for tensor in tensors),
        half_tensors=sum(_TYPE_NAMES.get(tensor.Type()) == "float16" for tensor in tensors),
    )


def estimate_memory_bytes(content: bytes) -> int:
    """Estimate the memory that one interpreter takes with a model, from the file alone.

    The sum of the file (mapped or read whole), one more copy of its constants (XNNPACK packs weights into a layout
    of its own), and the tensor arena: the most bytes of intermediate tensors that are alive at once, per graph,
    when each lives from the operator that writes it to the last that reads it. Rounded up to 64 KiB. Scratch
    space of single operators is not in it. An estimate rather than a measurement so that the same model gives
    the same manifest everywhere; ``tests/benchmarks/packager/memory.py`` compares it with a process's growth.

    Args:
        content: A TFLite flatbuffer that the native loader took.
    """
    model = schema.Model.GetRootAs(content, 0)
    graphs = [model.Subgraphs(i) for i in range(model.SubgraphsLength())]
    constants = sum(_constant_bytes(model, i) for i in range(model.BuffersLength()))
    total = len(content) + constants + sum(_arena_bytes(model, graph) for graph in graphs)
    return math.ceil(total / _PAGE_BYTES) * _PAGE_BYTES


def _arena_bytes(model: Any, graph: Any) -> int:
    operators = [graph.Operators(i) for i in range(graph.OperatorsLength())]
    end = len(operators)
    first: dict[int, int] = dict.fromkeys(_indices(graph, "Inputs"), 0)
    last: dict[int, int] = dict.fromkeys(_indices(graph, "Outputs"), end)
    for step, operator in enumerate(operators):
        for index in _indices(operator, "Outputs"):
            first.setdefault(index, step)
            last[index] = max(last.get(index, 0), step)
        for index in _indices(operator, "Inputs"):
            last[index] = max(last.get(index, 0), step)
    change = [0] * (end + 2)
    for index, born in first.items():
        tensor = graph.Tensors(index)
        if not _constant_bytes(model, tensor.Buffer()):
            size = _tensor_bytes(tensor)
            change[born] += size
            change[last.get(index, born) + 1] -= size
    return max(itertools.accumulate(change))


def _constant_bytes(model: Any, index: int) -> int:
    # Some writers, litert-quantizer among them, put the data behind the flatbuffer and name its place and size.
    buffer = model.Buffers(index)
    return max(int(buffer.DataLength()), int(buffer.Size()))


def _indices(table: Any, which: str) -> Iterable[int]:
    # -1 stands for an optional tensor that is left out.
    length = getattr(table, which + "Length")()
    read = getattr(table, which)
    return [index for index in (int(read(i)) for i in range(length)) if index >= 0]


def _tensor_bytes(tensor: Any) -> int:
    elements = math.prod(max(1, int(tensor.Shape(i))) for i in range(tensor.ShapeLength()))
    return elements * _ELEMENT_BYTES.get(_TYPE_NAMES.get(tensor.Type(), ""), _LARGEST_ELEMENT_BYTES)


def _is_quantized(tensor: Any) -> bool:
    quantization = tensor.Quantization()
    return quantization is not None and quantization.ScaleLength() > 0


def _operator_name(code: Any) -> str:
    # Codes above 126 stand only in the newer field (schema.fbs, OperatorCode).
    number = max(int(code.DeprecatedBuiltinCode()), int(code.BuiltinCode()))
    return _OPERATOR_NAMES.get(number, f"OPERATOR_{number}")


def _describe_signature(model: Any, signature: Any) -> tuple[str, SignatureDescription]:
    graph = model.Subgraphs(signature.SubgraphIndex())
    described = SignatureDescription(
        inputs=_describe_border(graph, signature, "Inputs"),
        outputs=_describe_border(graph, signature, "Outputs"),
    )
    return _text(signature.SignatureKey()), described


def _describe_border(graph: Any, signature: Any, which: str) -> tuple[TensorDescription, ...]:
    """In the order of the graph, which is the one that runtimes have; signatures have another, by name."""
    read = getattr(signature, which)
    entries = [read(i) for i in range(getattr(signature, which + "Length")())]
    places = {index: place for place, index in enumerate(_indices(graph, which))}
    entries.sort(key=lambda entry: places.get(int(entry.TensorIndex()), len(places)))
    return tuple(_describe_tensor(graph, entry) for entry in entries)


def _describe_tensor(graph: Any, entry: Any) -> TensorDescription:
    tensor = graph.Tensors(entry.TensorIndex())
    # The signature shape has -1 for free dimensions; it is left out when there is none.
    which = "ShapeSignature" if tensor.ShapeSignatureLength() else "Shape"
    length, read = getattr(tensor, which + "Length")(), getattr(tensor, which)
    return TensorDescription(
        name=_text(entry.Name()),
        shape=tuple(int(read(i)) for i in range(length)),
        dtype=_TYPE_NAMES.get(tensor.Type(), f"type {tensor.Type()}"),
    )


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", errors="replace")
