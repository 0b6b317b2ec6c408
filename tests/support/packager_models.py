"""Models for the packager's tests, made from the digits model by changing its flatbuffer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.support.packager_builders import DIGITS


def digits_model(version: str = "1.0.0") -> bytes:
    """The float model as it is in the repository."""
    return (DIGITS / f"digits-{version}.tflite").read_bytes()


def changed_model(change: Callable[[Any], None]) -> bytes:
    """The digits model after a change to its unpacked flatbuffer (``ModelT``)."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(digits_model(), 0))
    change(model)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def without_signature() -> bytes:
    """As older converters and MediaPipe write models."""

    def change(model: Any) -> None:
        model.signatureDefs = None

    return changed_model(change)


def with_names_that_are_not_unique() -> bytes:
    """A model that runs well and that litert-quantizer refuses."""

    def change(model: Any) -> None:
        tensors = model.subgraphs[0].tensors
        tensors[14].name = tensors[13].name

    return changed_model(change)


def with_output_shape(shape: tuple[int, ...]) -> bytes:
    """A model whose file claims another output shape than its graph gives."""

    def change(model: Any) -> None:
        tensor = model.subgraphs[0].tensors[model.subgraphs[0].outputs[0]]
        tensor.shape = tensor.shapeSignature = np.array(shape, dtype=np.int32)

    return changed_model(change)


def crashing() -> bytes:
    """A well-formed flatbuffer that crashes the native loader (SIGSEGV in LiteRT 2.3.0): WHERE as last operator."""

    def change(model: Any) -> None:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.WHERE
        code.version = 1
        model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(model.operatorCodes) - 1
        operator.inputs = np.array([0], dtype=np.int32)
        operator.outputs = np.array([model.subgraphs[0].outputs[0]], dtype=np.int32)
        model.subgraphs[0].operators.append(operator)

    return changed_model(change)
