"""Small nets of different kinds, built by hand, to compare predicted with real delegation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.coverage_models import ModelBuilder

QUANTIZED: dict[str, Any] = {"scale": 0.05}


def _conv(
    build: ModelBuilder, source: int, shape: tuple[int, ...], dtype: str = "float32", **weights: Any
) -> int:
    """A 3 x 3 convolution from 8 to 8 channels, SAME, ReLU."""
    if dtype == "int8":
        kernel = build.constant(1, "int8", shape=(8, 3, 3, 8), scale=[0.01] * 8)
        bias = build.constant(0, "int32", shape=(8,), scale=[0.0005] * 8)
        made = build.tensor(shape, "int8", **QUANTIZED)
    else:
        kernel = weights.get("kernel") or build.constant(0.1, shape=(8, 3, 3, 8))
        bias = weights.get("bias") or build.constant(0.0, shape=(8,))
        made = build.tensor(shape)
    options = {"strideW": 1, "strideH": 1, "fusedActivationFunction": 1}
    return build.node("CONV_2D", [source, kernel, bias], [made], table="Conv2DOptions", **options)


def separable() -> bytes:
    """MobileNet's block: depthwise, pointwise, a residual addition, a mean, a classifier."""
    build = ModelBuilder()
    image = build.input((1, 8, 8, 8))
    kernel, bias = build.constant(0.1, shape=(1, 3, 3, 8)), build.constant(0.0, shape=(8,))
    deep = build.node(
        "DEPTHWISE_CONV_2D", [image, kernel, bias], [build.tensor((1, 8, 8, 8))],
        table="DepthwiseConv2DOptions", strideW=1, strideH=1, depthMultiplier=1, fusedActivationFunction=3,
    )  # fmt: skip
    wide = _conv(build, deep, (1, 8, 8, 8))
    added = build.node("ADD", [wide, image], [build.tensor((1, 8, 8, 8))], table="AddOptions")
    mean = build.node(
        "MEAN", [added, build.constant([1, 2], "int32")], [build.tensor((1, 8))], table="ReducerOptions"
    )
    weights, shift = build.constant(0.1, shape=(4, 8)), build.constant(0.0, shape=(4,))
    scores = build.node(
        "FULLY_CONNECTED", [mean, weights, shift], [build.tensor((1, 4))], table="FullyConnectedOptions"
    )
    return build.build(
        build.node("SOFTMAX", [scores], [build.tensor((1, 4))], table="SoftmaxOptions", beta=1.0)
    )


def int8_with_float_head() -> bytes:
    """An int8 convolution, dequantized, with a softmax in float."""
    build = ModelBuilder()
    image = build.input((1, 4, 4, 8), "int8", **QUANTIZED)
    deep = _conv(build, image, (1, 4, 4, 8), "int8")
    real = build.node("DEQUANTIZE", [deep], [build.tensor((1, 4, 4, 8))], version=2)
    return build.build(
        build.node("SOFTMAX", [real], [build.tensor((1, 4, 4, 8))], table="SoftmaxOptions", beta=1.0)
    )


def int8_softmax_between() -> bytes:
    """int8 operators with a softmax in their middle, which has no 8-bit implementation: two parts."""
    build = ModelBuilder()
    image = build.input((1, 4, 4, 8), "int8", **QUANTIZED)
    first = _conv(build, image, (1, 4, 4, 8), "int8")
    made = build.tensor((1, 4, 4, 8), "int8", scale=1 / 256, zero_point=-128)
    soft = build.node("SOFTMAX", [first], [made], table="SoftmaxOptions", beta=1.0)
    return build.build(_conv(build, soft, (1, 4, 4, 8), "int8"))


def hard_swish(dtype: str) -> bytes:
    """MobileNetV3's activation, which has an implementation for floats only."""
    build = ModelBuilder()
    meaning = QUANTIZED if dtype == "int8" else {}
    image = build.input((1, 4, 4, 8), dtype, **meaning)
    deep = _conv(build, image, (1, 4, 4, 8), dtype)
    swish = build.node("HARD_SWISH", [deep], [build.tensor((1, 4, 4, 8), dtype, **meaning)])
    return build.build(_conv(build, swish, (1, 4, 4, 8), dtype))


def upsampler() -> bytes:
    """A decoder: transposed convolution, bilinear and nearest resizing."""
    build = ModelBuilder()
    image = build.input((1, 4, 4, 8))
    kernel, size = build.constant(0.1, shape=(8, 3, 3, 8)), build.constant([1, 8, 8, 8], "int32")
    options = {"strideW": 2, "strideH": 2}
    wide = build.node(
        "TRANSPOSE_CONV", [size, kernel, image], [build.tensor((1, 8, 8, 8))],
        table="TransposeConvOptions", **options,
    )  # fmt: skip
    smooth = build.node(
        "RESIZE_BILINEAR", [wide, build.constant([16, 16], "int32")], [build.tensor((1, 16, 16, 8))],
        table="ResizeBilinearOptions", halfPixelCenters=True,
    )  # fmt: skip
    return build.build(
        build.node(
            "RESIZE_NEAREST_NEIGHBOR", [smooth, build.constant([32, 32], "int32")],
            [build.tensor((1, 32, 32, 8))], table="ResizeNearestNeighborOptions",
        )
    )  # fmt: skip


def lookup() -> bytes:
    """A text model's start: rows of a table by int32 numbers, then a matrix product."""
    build = ModelBuilder()
    words = build.input((4,), "int32")
    rows = build.node(
        "GATHER", [build.constant(0.1, shape=(100, 8)), words], [build.tensor((4, 8))], table="GatherOptions"
    )
    weights, bias = build.constant(0.1, shape=(8, 8)), build.constant(0.0, shape=(8,))
    return build.build(
        build.node(
            "FULLY_CONNECTED", [rows, weights, bias], [build.tensor((4, 8))], table="FullyConnectedOptions"
        )
    )


def best_class() -> bytes:
    """A convolution whose answer is the number of the best channel."""
    build = ModelBuilder()
    deep = _conv(build, build.input((1, 4, 4, 8)), (1, 4, 4, 8))
    return build.build(
        build.node(
            "ARG_MAX", [deep, build.constant(3, "int32")], [build.tensor((1, 4, 4), "int64")],
            table="ArgMaxOptions", outputType=4,
        )
    )  # fmt: skip


def integers() -> bytes:
    """Arithmetic with int32, which XNNPACK has not."""
    build = ModelBuilder()
    one, other = build.input((4,), "int32"), build.input((4,), "int32")
    total = build.node("ADD", [one, other], [build.tensor((4,), "int32")], table="AddOptions")
    return build.build(build.node("MUL", [total, other], [build.tensor((4,), "int32")], table="MulOptions"))


def lstm() -> bytes:
    """A recurrent layer between two dense ones."""
    build = ModelBuilder()
    words = build.input((1, 5, 4))
    gate = [build.constant(0.1, shape=(4, 4)) for _ in range(8)]
    bias = [build.constant(0.0, shape=(4,)) for _ in range(4)]
    state = [build.tensor((1, 4)), build.tensor((1, 4))]
    for index in state:
        build.graph.tensors[index].isVariable = True
    inputs = [words, *gate, -1, -1, -1, *bias, -1, -1, *state, -1, -1, -1, -1]
    deep = build.node(
        "UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, [build.tensor((1, 5, 4))],
        table="UnidirectionalSequenceLSTMOptions", fusedActivationFunction=4,
    )  # fmt: skip
    return build.build(build.node("TANH", [deep], [build.tensor((1, 5, 4))]))


def branches() -> bytes:
    """A branch without an implementation beside one with: the latter is not cut by the former."""
    build = ModelBuilder()
    image = build.input((1, 4, 4, 8))
    first = _conv(build, image, (1, 4, 4, 8))
    odd = build.node("L2_NORMALIZATION", [first], [build.tensor((1, 4, 4, 8))], table="L2NormOptions")
    second = _conv(build, first, (1, 4, 4, 8))
    joined = build.node("ADD", [odd, second], [build.tensor((1, 4, 4, 8))], table="AddOptions")
    return build.build(joined)


def half_weights(reader: str) -> bytes:
    """float16 weights in front of a convolution; ``reader`` says who reads them or their bias."""
    build = ModelBuilder()
    image = build.input((1, 4, 4, 8))
    packed = build.constant(0.1, "float16", shape=(8, 3, 3, 8))
    kernel = build.node("DEQUANTIZE", [packed], [build.tensor((8, 3, 3, 8))], version=3)
    bias = 0
    if reader != "float32 bias":
        small = build.constant(0.1, "float16", shape=(8,))
        bias = build.node("DEQUANTIZE", [small], [build.tensor((8,))], version=3)
    deep = _conv(build, image, (1, 4, 4, 8), kernel=kernel, bias=bias)
    if reader == "left out":
        flat = build.node("L2_NORMALIZATION", [kernel], [build.tensor((8, 3, 3, 8))], table="L2NormOptions")
        return build.build(deep, flat)
    if reader == "float32 weights":
        deep = _conv(build, deep, (1, 4, 4, 8), bias=bias)
    return build.build(deep)


def int8_weights_unpacked() -> bytes:
    """Weights of 8 bits that are dequantized in front of a float convolution: weight-only quantization."""
    build = ModelBuilder()
    packed = build.constant(1, "int8", shape=(8, 3, 3, 8), scale=[0.01] * 8)
    kernel = build.node("DEQUANTIZE", [packed], [build.tensor((8, 3, 3, 8))], version=2)
    return build.build(_conv(build, build.input((1, 4, 4, 8)), (1, 4, 4, 8), kernel=kernel))


def attention() -> bytes:
    """A transformer's product of two computed tensors, with a shape that is computed too."""
    build = ModelBuilder()
    words = build.input((1, 8, 8))
    scores = build.node(
        "BATCH_MATMUL", [words, words], [build.tensor((1, 8, 8))], table="BatchMatMulOptions", adjY=True
    )
    shape = build.node("SHAPE", [words], [build.tensor((3,), "int32")], table="ShapeOptions", outType=2)
    return build.build(build.node("RESHAPE", [scores, shape], [build.tensor((1, 8, 8))]))


def crashing_loader() -> bytes:
    """A well-formed flatbuffer that crashes the native loader (SIGSEGV in LiteRT 2.3.0): SPLIT without options."""
    build = ModelBuilder()
    axis, values, made = build.input((1,), "int32"), build.input((1, 4)), build.tensor((1, 4))
    return build.build(build.node("SPLIT", [axis, values], [made]))


GRAPHS: dict[str, Callable[[], bytes]] = {
    "separable": separable,
    "int8 with a float head": int8_with_float_head,
    "int8 with a softmax between": int8_softmax_between,
    "hard swish in float": lambda: hard_swish("float32"),
    "hard swish in int8": lambda: hard_swish("int8"),
    "upsampler": upsampler,
    "lookup": lookup,
    "best class": best_class,
    "integers": integers,
    "lstm": lstm,
    "branches": branches,
    "half weights": lambda: half_weights("convolution"),
    "half weights that a plain node reads too": lambda: half_weights("left out"),
    "half weights with a float32 bias": lambda: half_weights("float32 bias"),
    "half bias of float32 weights": lambda: half_weights("float32 weights"),
    "int8 weights unpacked": int8_weights_unpacked,
    "attention": attention,
}
