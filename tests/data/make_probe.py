"""Make the model that the agent probes runtimes and delegates with: ``python tests/data/make_probe.py``.

Guarantees: the same bytes on every run. The model is small and our own: random weights, written op by op, no
converter. It goes both ways that models go: float (CONV_2D, ADD) and static int8 (CONV_2D, FULLY_CONNECTED), so that
a runtime with one broken kernel family is found. The golden output is numpy's, in float64 from the stored integers, so
that it owes nothing to any runtime.

Tests need the files in ``edge_agent/inference/probe_data``, not this script.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

FOLDER = Path(__file__).parents[2] / "edge_agent" / "inference" / "probe_data"
SIDE, CHANNELS, FILTERS, CLASSES = 8, 8, 16, 10
INPUT_SCALE, HIDDEN_SCALE, OUTPUT_SCALE = 1 / 32, 1 / 16, 1 / 32
WEIGHT_SCALE = 1 / 256
"""Powers of two: numpy's answer and a kernel's differ by rounding at most."""

Array = npt.NDArray[Any]


class Graph:
    """Collects tensors, buffers and operators."""

    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self.buffers: list[Any] = [schema.BufferT()]
        self.operators: list[Any] = []
        self.codes: list[Any] = []

    def tensor(
        self, name: str, shape: list[int], kind: int, scale: float = 0.0, data: Array | None = None
    ) -> int:
        """Add one; its index."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), shape, kind, 0
        if scale:
            quantization = schema.QuantizationParametersT()
            quantization.scale, quantization.zeroPoint = [scale], [0]
            tensor.quantization = quantization
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            self.buffers.append(buffer)
            tensor.buffer = len(self.buffers) - 1
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def add(
        self, builtin: int, version: int, inputs: list[int], output: int, options: Any, kind: int
    ) -> None:
        """Add an operator."""
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        code.version = version
        self.codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.codes) - 1
        operator.inputs, operator.outputs = inputs, [output]
        operator.builtinOptions, operator.builtinOptionsType = options, kind
        self.operators.append(operator)


def make_weights() -> dict[str, Array]:
    """All constants of the model."""
    rng = np.random.default_rng(4)
    return {
        "mix": rng.uniform(-0.2, 0.2, (CHANNELS, 3, 3, CHANNELS)).astype(np.float32),
        "mix_bias": rng.uniform(-0.2, 0.2, CHANNELS).astype(np.float32),
        "filters": rng.integers(-60, 61, (FILTERS, 3, 3, CHANNELS)).astype(np.int8),
        "filters_bias": rng.integers(-2000, 2001, FILTERS).astype(np.int32),
        "classes": rng.integers(-60, 61, (CLASSES, 36 * FILTERS)).astype(np.int8),
        "classes_bias": rng.integers(-2000, 2001, CLASSES).astype(np.int32),
    }


def convolve(x: Array, weights: Array, padding: int) -> Array:
    """(H, W, C) with (O, 3, 3, C), in float64."""
    padded = np.pad(x.astype(np.float64), ((padding, padding), (padding, padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(0, 1))
    convolved: Array = np.einsum("hwcij,oijc->hwo", windows, weights.astype(np.float64))
    return convolved


def requantize(x: Array, scale: float) -> Array:
    """Real values to int8 steps, rounded half away from zero as TFLite does."""
    steps = x / scale
    return np.clip(np.trunc(steps + np.copysign(0.5, steps)), -128, 127)


def answer(image: Array, weights: dict[str, Array]) -> tuple[Array, Array]:
    """What the model answers, by numpy: ``sum`` (1, 8, 8, 8) and ``scores`` (1, 10), both float32."""
    total = convolve(image[0], weights["mix"], 1) + weights["mix_bias"] + image[0]
    stored = requantize(total, INPUT_SCALE)
    hidden = convolve(stored, weights["filters"], 0) + weights["filters_bias"]
    hidden = np.maximum(requantize(hidden * INPUT_SCALE * WEIGHT_SCALE, HIDDEN_SCALE), 0)
    scores = weights["classes"].astype(np.float64) @ hidden.reshape(-1) + weights["classes_bias"]
    scores = requantize(scores * HIDDEN_SCALE * WEIGHT_SCALE, OUTPUT_SCALE) * OUTPUT_SCALE
    return total[np.newaxis].astype(np.float32), scores[np.newaxis].astype(np.float32)


def make_model(weights: dict[str, Array]) -> bytes:
    """The flatbuffer."""
    graph = Graph()
    f32, i8, i32 = schema.TensorType.FLOAT32, schema.TensorType.INT8, schema.TensorType.INT32
    ops, kinds = schema.BuiltinOperator, schema.BuiltinOptions
    image = graph.tensor("image", [1, SIDE, SIDE, CHANNELS], f32)
    mix = graph.tensor("mix", list(weights["mix"].shape), f32, data=weights["mix"])
    mix_bias = graph.tensor("mix_bias", [CHANNELS], f32, data=weights["mix_bias"])
    mixed = graph.tensor("mixed", [1, SIDE, SIDE, CHANNELS], f32)
    total = graph.tensor("sum", [1, SIDE, SIDE, CHANNELS], f32)
    stored = graph.tensor("stored", [1, SIDE, SIDE, CHANNELS], i8, INPUT_SCALE)
    filters = graph.tensor("filters", list(weights["filters"].shape), i8, WEIGHT_SCALE, weights["filters"])
    bias = graph.tensor("filters_bias", [FILTERS], i32, INPUT_SCALE * WEIGHT_SCALE, weights["filters_bias"])
    hidden = graph.tensor("hidden", [1, SIDE - 2, SIDE - 2, FILTERS], i8, HIDDEN_SCALE)
    classes = graph.tensor("classes", list(weights["classes"].shape), i8, WEIGHT_SCALE, weights["classes"])
    classes_bias = graph.tensor(
        "classes_bias", [CLASSES], i32, HIDDEN_SCALE * WEIGHT_SCALE, weights["classes_bias"]
    )
    steps = graph.tensor("steps", [1, CLASSES], i8, OUTPUT_SCALE)
    scores = graph.tensor("scores", [1, CLASSES], f32)

    convolution = schema.Conv2DOptionsT()
    convolution.padding, convolution.strideW, convolution.strideH = schema.Padding.SAME, 1, 1
    graph.add(ops.CONV_2D, 1, [image, mix, mix_bias], mixed, convolution, kinds.Conv2DOptions)
    graph.add(ops.ADD, 1, [mixed, image], total, schema.AddOptionsT(), kinds.AddOptions)
    graph.add(ops.QUANTIZE, 1, [total], stored, schema.QuantizeOptionsT(), kinds.QuantizeOptions)
    convolution = schema.Conv2DOptionsT()
    convolution.padding, convolution.strideW, convolution.strideH = schema.Padding.VALID, 1, 1
    convolution.fusedActivationFunction = schema.ActivationFunctionType.RELU
    graph.add(ops.CONV_2D, 3, [stored, filters, bias], hidden, convolution, kinds.Conv2DOptions)
    connected = schema.FullyConnectedOptionsT()
    graph.add(
        ops.FULLY_CONNECTED, 4, [hidden, classes, classes_bias], steps, connected, kinds.FullyConnectedOptions
    )
    graph.add(ops.DEQUANTIZE, 2, [steps], scores, schema.DequantizeOptionsT(), kinds.DequantizeOptions)

    subgraph = schema.SubGraphT()
    subgraph.tensors, subgraph.operators = graph.tensors, graph.operators
    subgraph.inputs, subgraph.outputs = [image], [total, scores]
    model = schema.ModelT()
    model.version, model.description = 3, b"litefleet probe"
    model.subgraphs, model.operatorCodes, model.buffers = [subgraph], graph.codes, graph.buffers
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def main() -> None:
    """Write the model and its golden arrays."""
    weights = make_weights()
    image = np.random.default_rng(5).uniform(-1, 1, (1, SIDE, SIDE, CHANNELS)).astype(np.float32)
    total, scores = answer(image, weights)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "probe.tflite").write_bytes(make_model(weights))
    stream = io.BytesIO()
    np.savez(stream, image=image, sum=total, scores=scores)
    (FOLDER / "golden.npz").write_bytes(stream.getvalue())


if __name__ == "__main__":
    main()
