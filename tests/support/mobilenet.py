"""A graph of MobileNetV2's shape in static int8 with random weights: for timings, it knows nothing of pictures.

Built operator by operator, so that a benchmark needs no TensorFlow. Layers: Sandler et al., MobileNetV2, 2018, table 2
(https://arxiv.org/abs/1801.04381); 224 x 224, width 1.0, 1,000 classes, 3.5 million weights.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tests.support.coverage_models import ModelBuilder

SIDE = 224
CLASSES = 1000
_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, repetitions and stride of the first, per group of bottlenecks."""
_SCALE = 0.05
_GAIN = 2.4
"""Keeps the spread of values about the same from layer to layer, so that the last ones are not all alike."""
_RELU6 = schema.ActivationFunctionType.RELU6
_SAME = schema.Padding.SAME


class _Layers:
    def __init__(self) -> None:
        self.builder = ModelBuilder()
        self.random = np.random.default_rng(7)

    def _weights(self, shape: tuple[int, ...], per: int, inputs: int) -> int:
        scale = _GAIN / (127 * np.sqrt(inputs))
        values = self.random.integers(-127, 128, shape).astype(np.int8)
        return self.builder.constant(values, "int8", scale=[float(scale)] * shape[per], dimension=per)

    def _bias(self, channels: int, inputs: int) -> int:
        scale = _SCALE * _GAIN / (127 * np.sqrt(inputs))
        zeros = np.zeros(channels, np.int32)
        return self.builder.constant(zeros, "int32", scale=[float(scale)] * channels)

    def _out(self, shape: tuple[int, ...], zero_point: int) -> int:
        return self.builder.tensor(shape, "int8", scale=_SCALE, zero_point=zero_point)

    def conv(
        self, source: int, side: int, channels: int, made: int, size: int, stride: int, active: int
    ) -> int:
        """A convolution over ``side`` x ``side`` pixels."""
        fan_in = size * size * channels
        inputs = [source, self._weights((made, size, size, channels), 0, fan_in), self._bias(made, fan_in)]
        out = self._out((1, side // stride, side // stride, made), -128 if active else 0)
        return self.builder.node(
            "CONV_2D", inputs, [out], 3, table="Conv2DOptions", padding=_SAME, strideW=stride, strideH=stride,
            dilationWFactor=1, dilationHFactor=1, fusedActivationFunction=active,
        )  # fmt: skip

    def depthwise(self, source: int, side: int, channels: int, stride: int) -> int:
        """A 3 x 3 convolution per channel."""
        inputs = [source, self._weights((1, 3, 3, channels), 3, 9), self._bias(channels, 9)]
        out = self._out((1, side // stride, side // stride, channels), -128)
        return self.builder.node(
            "DEPTHWISE_CONV_2D", inputs, [out], 3, table="DepthwiseConv2DOptions", padding=_SAME, strideW=stride,
            strideH=stride, depthMultiplier=1, dilationWFactor=1, dilationHFactor=1, fusedActivationFunction=_RELU6,
        )  # fmt: skip

    def add(self, first: int, second: int, shape: tuple[int, ...]) -> int:
        """The way around a bottleneck."""
        return self.builder.node("ADD", [first, second], [self._out(shape, 0)], 2, table="AddOptions")

    def head(self, source: int, channels: int) -> int:
        """Mean over all pixels, then one value per class."""
        axes = self.builder.constant([1, 2], "int32")
        pooled = self._out((1, channels), -128)
        self.builder.node("MEAN", [source, axes], [pooled], 2, table="ReducerOptions", keepDims=False)
        inputs = [pooled, self._weights((CLASSES, channels), 0, channels), self._bias(CLASSES, channels)]
        out = self._out((1, CLASSES), 0)
        return self.builder.node("FULLY_CONNECTED", inputs, [out], 5, table="FullyConnectedOptions")


def mobilenet() -> bytes:
    """The .tflite file: input (1, 224, 224, 3) int8, output (1, 1000) int8; its tensors are named ``t0`` and so on."""
    layers = _Layers()
    at = layers.builder.input((1, SIDE, SIDE, 3), "int8", scale=1 / 127.5, zero_point=0)
    at = layers.conv(at, SIDE, 3, 32, 3, 2, _RELU6)
    side, channels = SIDE // 2, 32
    for expansion, made, repetitions, first_stride in _BLOCKS:
        for number in range(repetitions):
            stride = first_stride if number == 0 else 1
            before = at
            wide = channels * expansion
            if expansion > 1:
                at = layers.conv(at, side, channels, wide, 1, 1, _RELU6)
            at = layers.depthwise(at, side, wide, stride)
            side //= stride
            at = layers.conv(at, side, wide, made, 1, 1, 0)
            if stride == 1 and channels == made:
                at = layers.add(before, at, (1, side, side, made))
            channels = made
    at = layers.conv(at, side, channels, 1280, 1, 1, _RELU6)
    return layers.builder.build(layers.head(at, 1280))
