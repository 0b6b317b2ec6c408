"""Builds small TFLite models operator by operator, for the tests of delegate coverage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

_DTYPES: dict[str, Any] = {
    "float32": np.float32, "float16": np.float16, "int8": np.int8, "uint8": np.uint8, "int16": np.int16,
    "int32": np.int32, "int64": np.int64, "bool": np.bool_,
}  # fmt: skip


class ModelBuilder:
    """One graph; tensors are known by their index."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.operatorCodes = []
        self.model.buffers = [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs, self.graph.outputs = [], []
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str = "float32",
        scale: float | Sequence[float] | None = None,
        zero_point: int = 0,
        dimension: int = 0,
    ) -> int:
        """A computed tensor; with a scale, or one for each slice along a dimension."""
        made = schema.TensorT()
        made.name = f"t{len(self.graph.tensors)}"
        made.shape = np.array(shape, dtype=np.int32)
        made.type = getattr(schema.TensorType, dtype.upper())
        made.buffer = 0
        if scale is not None:
            scales = [scale] if isinstance(scale, float) else list(scale)
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale = np.array(scales, dtype=np.float32)
            made.quantization.zeroPoint = np.array([zero_point] * len(scales), dtype=np.int64)
            made.quantization.quantizedDimension = dimension
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def input(self, shape: Sequence[int], dtype: str = "float32", **quantization: Any) -> int:
        """An input of the model."""
        index = self.tensor(shape, dtype, **quantization)
        self.graph.inputs.append(index)
        return index

    def constant(
        self, values: npt.ArrayLike, dtype: str = "float32", shape: Sequence[int] | None = None, **kind: Any
    ) -> int:
        """A tensor whose data stands in the file."""
        data: npt.NDArray[Any] = np.asarray(values, dtype=_DTYPES[dtype])
        data = data if shape is None else np.broadcast_to(data, shape)
        index = self.tensor(data.shape, dtype, **kind)
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), dtype=np.uint8)
        self.model.buffers.append(buffer)
        self.graph.tensors[index].buffer = len(self.model.buffers) - 1
        return index

    def node(
        self,
        operator: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        version: int = 1,
        **options: Any,
    ) -> int:
        """An operator; options as in the schema's object API with the name of their table as ``table``."""
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, operator)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = version
        if operator == "CUSTOM":
            code.customCode = options.pop("custom")
        self.model.operatorCodes.append(code)
        made = schema.OperatorT()
        made.opcodeIndex = len(self.model.operatorCodes) - 1
        made.inputs = np.array(inputs, dtype=np.int32)
        made.outputs = np.array(outputs, dtype=np.int32)
        table = options.pop("table", None)
        if table:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, table)
            made.builtinOptions = getattr(schema, f"{table}T")()
            for name, value in options.items():
                setattr(made.builtinOptions, name, value)
        self.graph.operators.append(made)
        return outputs[0]

    def build(self, *outputs: int) -> bytes:
        """The .tflite file."""
        self.graph.inputs = np.array(self.graph.inputs, dtype=np.int32)
        self.graph.outputs = np.array(outputs, dtype=np.int32)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
