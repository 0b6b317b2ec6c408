"""Models in the forms that people publish and quantizers stumble over, made from the digits model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from tests.support.packager_models import changed_model

_TYPES = {"float32": schema.TensorType.FLOAT32, "float16": schema.TensorType.FLOAT16}
_TYPES |= {"int32": schema.TensorType.INT32}


def add_constant(model: Any, name: str, value: npt.NDArray[Any]) -> int:
    """A new constant in the main graph; gives its tensor's position."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(value.tobytes(), dtype=np.uint8)
    model.buffers.append(buffer)
    return add_tensor(model, name, value.shape, str(value.dtype), len(model.buffers) - 1)


def add_tensor(model: Any, name: str, shape: Sequence[int], dtype: str, buffer: int = 0) -> int:
    """A new tensor in the main graph; gives its position."""
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = (
        name,
        np.array(shape, np.int32),
        _TYPES[dtype],
        buffer,
    )
    tensor.hasRank = True
    model.subgraphs[0].tensors.append(tensor)
    return len(model.subgraphs[0].tensors) - 1


def make_operator(
    model: Any, code: int, inputs: Sequence[int], outputs: Sequence[int], version: int = 1
) -> Any:
    """An operator for the main graph, not yet in it."""
    entry = schema.OperatorCodeT()
    entry.builtinCode = entry.deprecatedBuiltinCode = code
    entry.version = version
    model.operatorCodes.append(entry)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
    return operator


def floats_of(model: Any, index: int) -> npt.NDArray[np.float32]:
    """The value of a float32 constant of the main graph."""
    tensor = model.subgraphs[0].tensors[index]
    raw = bytes(model.buffers[tensor.buffer].data)
    return np.frombuffer(raw, dtype=np.float32).reshape(tensor.shape)


def release(model: Any, index: int) -> None:
    """Make a constant of the main graph a computed tensor."""
    tensor = model.subgraphs[0].tensors[index]
    model.buffers[tensor.buffer].data, tensor.buffer = None, 0


def store_as_half(model: Any) -> None:
    """Store every float32 constant as float16 behind a DEQUANTIZE, as converters do."""
    graph = model.subgraphs[0]
    weights = [
        index
        for index, tensor in enumerate(graph.tensors)
        if tensor.type == schema.TensorType.FLOAT32 and model.buffers[tensor.buffer].data is not None
    ]
    for index in weights:
        half = add_constant(model, f"half_{index}", floats_of(model, index).astype(np.float16))
        release(model, index)
        dequantize = make_operator(model, schema.BuiltinOperator.DEQUANTIZE, [half], [index], version=3)
        graph.operators.insert(0, dequantize)


def half_without_signature() -> bytes:
    """As MediaPipe publishes models: float16 weights, no signature."""

    def change(model: Any) -> None:
        store_as_half(model)
        model.signatureDefs = None

    return changed_model(change)


def shared_half_constant() -> bytes:
    """One float16 constant that two DEQUANTIZE operators unfold: the bias of the first two convolutions that fit."""

    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        second = next(one for one in graph.operators[1:] if _bias(model, one).shape == (64,))
        third = next(one for one in graph.operators if one is not second and _bias(model, one).shape == (64,))
        half = add_constant(model, "shared", _bias(model, second).astype(np.float16))
        for operator in (second, third):
            output = add_tensor(model, f"bias_{operator.inputs[2]}", (64,), "float32")
            operator.inputs[2] = output
            unfold = make_operator(model, schema.BuiltinOperator.DEQUANTIZE, [half], [output], version=3)
            graph.operators.insert(0, unfold)

    return changed_model(_writable(change))


def _bias(model: Any, operator: Any) -> npt.NDArray[np.float32]:
    if len(operator.inputs) < 3:
        return np.empty(0, np.float32)
    return floats_of(model, int(operator.inputs[2]))


def _writable(change: Any) -> Any:
    def changed(model: Any) -> None:
        for operator in model.subgraphs[0].operators:
            operator.inputs = np.array(operator.inputs)
        change(model)

    return changed


def sparse_half() -> bytes:
    """The last layer pruned by half, its weights sparse (CSR) float16 behind DENSIFY and DEQUANTIZE."""

    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        place, layer = next(
            (place, one)
            for place, one in enumerate(graph.operators)
            if model.operatorCodes[one.opcodeIndex].builtinCode == schema.BuiltinOperator.FULLY_CONNECTED
        )
        weights = floats_of(model, int(layer.inputs[1])).astype(np.float16)
        keep = np.abs(weights) >= np.median(np.abs(weights))
        stored = add_constant(model, "sparse", weights[keep])
        graph.tensors[stored].shape = np.array(weights.shape, np.int32)
        graph.tensors[stored].sparsity = _csr(keep)
        dense = add_tensor(model, "dense", weights.shape, "float16")
        release(model, int(layer.inputs[1]))
        graph.operators[place:place] = [
            make_operator(model, schema.BuiltinOperator.DENSIFY, [stored], [dense]),
            make_operator(
                model, schema.BuiltinOperator.DEQUANTIZE, [dense], [int(layer.inputs[1])], version=3
            ),
        ]

    return changed_model(change)


def _csr(keep: npt.NDArray[np.bool_]) -> Any:
    sparsity = schema.SparsityParametersT()
    sparsity.traversalOrder = np.array([0, 1], np.int32)
    rows, columns = schema.DimensionMetadataT(), schema.DimensionMetadataT()
    rows.format, rows.denseSize = schema.DimensionType.DENSE, keep.shape[0]
    columns.format = schema.DimensionType.SPARSE_CSR
    columns.arraySegmentsType = columns.arrayIndicesType = schema.SparseIndexVector.Int32Vector
    columns.arraySegments, columns.arrayIndices = schema.Int32VectorT(), schema.Int32VectorT()
    columns.arraySegments.values = np.concatenate([[0], np.cumsum(keep.sum(axis=1))]).astype(np.int32)
    columns.arrayIndices.values = np.nonzero(keep)[1].astype(np.int32)
    sparsity.dimMetadata = [rows, columns]
    return sparsity


def old_codes() -> bytes:
    """As converters before 2020 wrote operator codes: in the deprecated field alone."""

    def change(model: Any) -> None:
        for code in model.operatorCodes:
            code.builtinCode = 0

    return changed_model(change)


def free_batch(dimensions: Sequence[int] = (-1, 8, 8, 1)) -> bytes:
    """A free batch, and the shape of the one RESHAPE computed from it at run time, as Keras' Flatten gives."""

    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        for tensor in graph.tensors:
            if model.buffers[tensor.buffer].data is None:
                tensor.shapeSignature = np.array([-1, *tensor.shape[1:]], np.int32)
        graph.tensors[graph.inputs[0]].shapeSignature = np.array(dimensions, np.int32)
        operators = schema.BuiltinOperator
        place, reshape = next(
            (place, one)
            for place, one in enumerate(graph.operators)
            if model.operatorCodes[one.opcodeIndex].builtinCode == operators.RESHAPE
        )
        width = int(graph.tensors[reshape.outputs[0]].shape[1])
        shape = add_tensor(model, "shape", (4,), "int32")
        batch, packed = add_tensor(model, "batch", (), "int32"), add_tensor(model, "packed", (2,), "int32")
        marks = [add_constant(model, f"mark_{mark}", np.array([mark], np.int32)) for mark in (0, 1, 1)]
        rest = add_constant(model, "rest", np.array(width, np.int32))
        pick = make_operator(model, operators.STRIDED_SLICE, [shape, *marks], [batch])
        pick.builtinOptionsType = schema.BuiltinOptions.StridedSliceOptions
        pick.builtinOptions = schema.StridedSliceOptionsT()
        pick.builtinOptions.shrinkAxisMask = 1
        pack = make_operator(model, operators.PACK, [batch, rest], [packed])
        pack.builtinOptionsType = schema.BuiltinOptions.PackOptions
        pack.builtinOptions = schema.PackOptionsT()
        pack.builtinOptions.valuesCount = 2
        source = int(reshape.inputs[0])
        ask = make_operator(model, operators.SHAPE, [source], [shape])
        ask.builtinOptionsType, ask.builtinOptions = (
            schema.BuiltinOptions.ShapeOptions,
            schema.ShapeOptionsT(),
        )
        ask.builtinOptions.outType = schema.TensorType.INT32
        graph.operators[place:place] = [ask, pick, pack]
        reshape.inputs = np.array([source, packed], np.int32)
        reshape.builtinOptionsType, reshape.builtinOptions = 0, None

    return changed_model(change)
