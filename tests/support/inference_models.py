"""Tiny models that no converter makes: a look-up that can fail while it runs, and digits with parts taken away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.support.inference_slots import model_bytes

_TABLE = np.array([10.0, 11.0, 12.0, 13.0], np.float32)


def _packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(name: str, shape: list[int], kind: int, buffer: int = 0) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), shape, kind, buffer
    return tensor


def _gather(table: Any, indices: Any, constant: bytes, input_index: int) -> bytes:
    """A model of one GATHER: ``out`` (1,) is the row of a table (4,) at an index (1,); the other one is constant."""
    graph = schema.SubGraphT()
    graph.tensors = [table, indices, _tensor("out", [1], schema.TensorType.FLOAT32)]
    graph.inputs, graph.outputs = [input_index], [2]
    operator = schema.OperatorT()
    operator.inputs, operator.outputs, operator.opcodeIndex = [0, 1], [2], 0
    operator.builtinOptionsType, operator.builtinOptions = (
        schema.BuiltinOptions.GatherOptions,
        schema.GatherOptionsT(),
    )
    graph.operators = [operator]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.GATHER
    code.version = 1
    filled = schema.BufferT()
    filled.data = np.frombuffer(constant, np.uint8)
    model = schema.ModelT()
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    model.buffers = [schema.BufferT(), filled]
    return _packed(model)


def a_lookup() -> bytes:
    """Input ``index`` (1,) int32, output ``out`` (1,) float32: 10 plus the index. Fails for an index above 3."""
    return _gather(
        _tensor("table", [4], schema.TensorType.FLOAT32, buffer=1),
        _tensor("index", [1], schema.TensorType.INT32),
        _TABLE.tobytes(),
        input_index=1,
    )


def a_reshape(before: list[int], after: list[int]) -> bytes:
    """Input ``image``, output ``out``, both float32: the same values in another shape, so that images spell outputs."""
    graph = schema.SubGraphT()
    graph.tensors = [
        _tensor("image", before, schema.TensorType.FLOAT32),
        _tensor("shape", [len(after)], schema.TensorType.INT32, buffer=1),
        _tensor("out", after, schema.TensorType.FLOAT32),
    ]
    graph.inputs, graph.outputs = [0], [2]
    operator = schema.OperatorT()
    operator.inputs, operator.outputs, operator.opcodeIndex = [0, 1], [2], 0
    graph.operators = [operator]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RESHAPE
    code.version = 1
    filled = schema.BufferT()
    filled.data = np.frombuffer(np.array(after, np.int32).tobytes(), np.uint8)
    model = schema.ModelT()
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    model.buffers = [schema.BufferT(), filled]
    return _packed(model)


def an_average_pool(side: int, patch: int, dtype: str) -> bytes:
    """Input ``image`` (1, side, side, 3) float32 or int8, output ``out``: the means of patches, of the same type."""
    count = side // patch
    kind = {"float32": schema.TensorType.FLOAT32, "int8": schema.TensorType.INT8}[dtype]
    graph = schema.SubGraphT()
    graph.tensors = [_tensor("image", [1, side, side, 3], kind), _tensor("out", [1, count, count, 3], kind)]
    if dtype == "int8":
        for tensor in graph.tensors:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [1.0], [0]
    graph.inputs, graph.outputs = [0], [1]
    options = schema.Pool2DOptionsT()
    options.padding = schema.Padding.VALID
    options.strideW = options.strideH = options.filterWidth = options.filterHeight = patch
    operator = schema.OperatorT()
    operator.inputs, operator.outputs, operator.opcodeIndex = [0], [1], 0
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.Pool2DOptions, options
    graph.operators = [operator]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.AVERAGE_POOL_2D
    code.version = 2
    model = schema.ModelT()
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    model.buffers = [schema.BufferT()]
    return _packed(model)


def a_pair_of_reshapes() -> bytes:
    """Inputs ``a`` (2,) and ``b`` (3,), outputs ``a-out`` (2, 1) and ``b-out`` (3, 1), all float32: the same values."""
    graph = schema.SubGraphT()
    kind = schema.TensorType
    graph.tensors = [_tensor("a", [2], kind.FLOAT32), _tensor("b", [3], kind.FLOAT32)]
    graph.tensors += [_tensor("to-a", [2], kind.INT32, buffer=1), _tensor("to-b", [2], kind.INT32, buffer=2)]
    graph.tensors += [_tensor("a-out", [2, 1], kind.FLOAT32), _tensor("b-out", [3, 1], kind.FLOAT32)]
    graph.inputs, graph.outputs, graph.operators = [0, 1], [4, 5], []
    model = schema.ModelT()
    model.buffers = [schema.BufferT()]
    for place, size in enumerate((2, 3)):
        operator = schema.OperatorT()
        operator.inputs, operator.outputs, operator.opcodeIndex = [place, 2 + place], [4 + place], 0
        graph.operators.append(operator)
        filled = schema.BufferT()
        filled.data = np.frombuffer(np.array([size, 1], np.int32).tobytes(), np.uint8)
        model.buffers.append(filled)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RESHAPE
    code.version = 1
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    return _packed(model)


def a_model_that_always_fails() -> bytes:
    """Input ``table`` (4,) float32, output ``out`` (1,) float32. Loads, and fails whenever it runs."""
    return _gather(
        _tensor("table", [4], schema.TensorType.FLOAT32),
        _tensor("index", [1], schema.TensorType.INT32, buffer=1),
        np.array([9], np.int32).tobytes(),
        input_index=0,
    )


def _digits(change: Callable[[Any], None]) -> bytes:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model_bytes(), 0))
    change(model)
    return _packed(model)


def digits_without_signature() -> bytes:
    """The int8 digits model with nothing but its tensors' own names."""

    def change(model: Any) -> None:
        model.signatureDefs = None

    return _digits(change)


def digits_with_a_scale_per_row() -> bytes:
    """The int8 digits model with eight scales at its input."""

    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        quantization = graph.tensors[graph.inputs[0]].quantization
        quantization.scale = [float(quantization.scale[0])] * 8
        quantization.zeroPoint = [int(quantization.zeroPoint[0])] * 8
        quantization.quantizedDimension = 1

    return _digits(change)
