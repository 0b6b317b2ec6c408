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


def collapsing(factor: float = 1e4) -> bytes:
    """A float model as right as the digits model, whose activations no single int8 scale can hold.

    One channel of the first convolution is ``factor`` times larger than the others, and the second convolution scales
    it back. Float does not mind; with one scale for the whole tensor every other channel rounds to zero. Networks with
    unbalanced channels do this by themselves (Nagel et al., Data-Free Quantization, 2019, section 3).
    """

    def change(model: Any) -> None:
        weights, bias, readers = 10, 11, 7  # positions of tensors in examples/digits/digits-1.0.0.tflite
        _scale(model, weights, (0,), factor)
        _scale(model, bias, (0,), factor)
        _scale(model, readers, (..., 0), 1 / factor)

    return changed_model(change)


def answering_nan() -> bytes:
    """A model with sound weights whose answers are not numbers: infinity less infinity inside."""

    def change(model: Any) -> None:
        _scale(model, 10, (), 1e30)
        _scale(model, 7, (), 1e30)

    return changed_model(change)


def _scale(model: Any, tensor: int, where: tuple[Any, ...], factor: float) -> None:
    """Multiply part of a constant."""
    found = model.subgraphs[0].tensors[tensor]
    buffer = model.buffers[found.buffer]
    values = np.frombuffer(bytes(buffer.data), dtype=np.float32).reshape(found.shape).copy()
    values[where] *= np.float32(factor)
    buffer.data = np.frombuffer(values.tobytes(), dtype=np.uint8)
