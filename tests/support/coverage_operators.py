"""One small model for each way of using an operator, to compare predicted with real delegation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.support.coverage_models import ModelBuilder

IMAGE = (1, 4, 4, 8)
TYPES = ("float32", "float16", "int8", "uint8", "int16", "int32")
FLOAT_UNARY = (
    "ABS", "CEIL", "COS", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LOG", "NEG", "RELU", "RELU6", "RELU_N1_TO_1",
    "ROUND", "RSQRT", "SIN", "SQRT", "SQUARE", "ELU", "LOGISTIC", "TANH", "SIGN", "LOG_SOFTMAX",
)  # fmt: skip
BINARY = {
    "ADD": "AddOptions", "SUB": "SubOptions", "MUL": "MulOptions", "DIV": "DivOptions", "POW": "PowOptions",
    "MAXIMUM": "MaximumMinimumOptions", "MINIMUM": "MaximumMinimumOptions",
    "SQUARED_DIFFERENCE": "SquaredDifferenceOptions", "FLOOR_DIV": "FloorDivOptions",
}  # fmt: skip
Named = tuple[str, bytes]


def quantized(dtype: str, scale: float = 0.05) -> dict[str, Any]:
    """How a tensor of this type stands for real values."""
    if dtype not in {"int8", "uint8", "int16"}:
        return {}
    return {"scale": scale, "zero_point": 128 if dtype == "uint8" else 0}


def _single(
    operator: str, dtype: str, shape: tuple[int, ...], out: tuple[int, ...], *extra: Any, **options: Any
) -> bytes:
    """One operator with one computed input, and constants (values, type) behind it."""
    build = ModelBuilder()
    entering = build.input(shape, dtype, **quantized(dtype))
    constants = [build.constant(values, kind) for values, kind in extra]
    leaving = build.tensor(out, dtype, **quantized(dtype))
    return build.build(build.node(operator, [entering, *constants], [leaving], **options))


def element_wise() -> Iterator[Named]:
    """Unary and binary operators in every type, shape and fused activation."""
    tables = {"GELU": {"table": "GeluOptions"}}
    for operator, dtype in itertools.product(FLOAT_UNARY, TYPES):
        yield f"{operator} {dtype}", _single(operator, dtype, IMAGE, IMAGE, **tables.get(operator, {}))
    ranks: list[tuple[int, ...]] = [(), (1, 2, 2, 2, 2, 2), (1, 2, 2, 2, 2, 2, 2)]
    for rank in ranks:
        yield f"RELU of {len(rank)} dimensions", _single("RELU", "float32", rank, rank)
    sizes: list[tuple[tuple[int, ...], int]] = [((8,), 0), ((), 0), (IMAGE, 1), (IMAGE, 4)]
    for (operator, table), dtype in itertools.product(BINARY.items(), TYPES):
        for shape, activation in sizes:
            build = ModelBuilder()
            one = build.input(IMAGE, dtype, **quantized(dtype))
            other = build.input(shape, dtype, **quantized(dtype))
            made = build.tensor(IMAGE, dtype, **quantized(dtype))
            options = {"fusedActivationFunction": activation} if activation and "Max" not in table else {}
            options = options if table in {"AddOptions", "SubOptions", "MulOptions", "DivOptions"} else {}
            build.node(operator, [one, other], [made], table=table, **options)
            yield f"{operator} {dtype} {shape} {activation}", build.build(made)


def scales() -> Iterator[Named]:
    """8-bit operators whose scales are near and beyond what XNNPACK has kernels for."""
    for operator, dtype, scale in itertools.product(
        ("ADD", "SUB", "MUL", "LEAKY_RELU", "QUANTIZE", "CONCATENATION", "RESHAPE"),
        ("int8", "uint8"),
        (0.05, 100.0, 12.0, 1e-4),
    ):
        build = ModelBuilder()
        entering = build.input((1, 8), dtype, **quantized(dtype))
        other = build.input((1, 8), dtype, **quantized(dtype))
        two = operator in {"ADD", "SUB", "MUL", "CONCATENATION"}
        made = build.tensor(
            (1, 16) if operator == "CONCATENATION" else (1, 8), dtype, **quantized(dtype, scale)
        )
        options: dict[str, Any] = {"table": BINARY[operator]} if operator in BINARY else {}
        if operator == "LEAKY_RELU":
            options = {"table": "LeakyReluOptions", "alpha": 0.1}
        if operator == "CONCATENATION":
            options = {"table": "ConcatenationOptions", "axis": 1}
        inputs = [entering, other] if two else [entering]
        if operator == "RESHAPE":
            inputs.append(build.constant([1, 8], "int32"))
        build.node(operator, inputs, [made], version=3 if operator == "QUANTIZE" else 1, **options)
        yield f"{operator} {dtype} to {scale}", build.build(made)
    for alpha in (0.0, -0.1, 200.0):
        yield (
            f"LEAKY_RELU {alpha}",
            _single("LEAKY_RELU", "int8", (1, 8), (1, 8), table="LeakyReluOptions", alpha=alpha),
        )
    for before, after in itertools.product(("float32", "float16", "int8", "uint8", "int16"), repeat=2):
        for operator in ("QUANTIZE", "DEQUANTIZE"):
            build = ModelBuilder()
            one = build.input((1, 8), before, **quantized(before))
            made = build.tensor((1, 8), after, **quantized(after))
            build.node(operator, [one], [made], version=3)
            yield f"{operator} {before} to {after}", build.build(made)
    for beta, dtype in itertools.product((1.0, 0.5), TYPES):
        yield (
            f"SOFTMAX {beta} {dtype}",
            _single("SOFTMAX", dtype, (1, 8), (1, 8), table="SoftmaxOptions", beta=beta),
        )


def shapes() -> Iterator[Named]:
    """Operators that move values about, and reductions."""
    pads = [[0, 0], [1, 1], [1, 1], [0, 0]]
    for dtype in TYPES:
        for name, extra in (
            ("constant", [([1, 128], "int32")]),
            ("inferred", [([-1, 128], "int32")]),
            ("long", [([1, 128], "int64")]),
            ("column", [([[1], [128]], "int32")]),
        ):
            yield f"RESHAPE {dtype} {name}", _single("RESHAPE", dtype, IMAGE, (1, 128), *extra)
        new_shape = np.array([1, 128], dtype=np.int32)
        yield (
            f"RESHAPE {dtype} by option",
            _single("RESHAPE", dtype, IMAGE, (1, 128), table="ReshapeOptions", newShape=new_shape),
        )
        yield (
            f"TRANSPOSE {dtype}",
            _single(
                "TRANSPOSE", dtype, IMAGE, (1, 8, 4, 4), ([0, 3, 1, 2], "int32"), table="TransposeOptions"
            ),
        )
        for kind in ("int32", "int64"):
            yield (
                f"PAD {dtype} {kind}",
                _single("PAD", dtype, IMAGE, (1, 6, 6, 8), (pads, kind), table="PadOptions"),
            )
        for size, name in (([1, 2, 2, 8], "fixed"), ([1, -1, -1, 8], "rest")):
            yield (
                f"SLICE {dtype} {name}",
                _single(
                    "SLICE", dtype, IMAGE, (1, 2, 2, 8), ([0, 2, 2, 0], "int32"), (size, "int32"),
                    table="SliceOptions",
                ),
            )  # fmt: skip
        yield from _strided_slices(dtype)
        yield from _reductions(dtype)
        yield (
            f"DEPTH_TO_SPACE {dtype}",
            _single("DEPTH_TO_SPACE", dtype, IMAGE, (1, 8, 8, 2), table="DepthToSpaceOptions", blockSize=2),
        )
        yield (
            f"SPACE_TO_DEPTH {dtype}",
            _single("SPACE_TO_DEPTH", dtype, IMAGE, (1, 2, 2, 32), table="SpaceToDepthOptions", blockSize=2),
        )
        yield (
            f"RESIZE_BILINEAR {dtype}",
            _single(
                "RESIZE_BILINEAR", dtype, IMAGE, (1, 8, 8, 8), ([8, 8], "int32"),
                table="ResizeBilinearOptions",
            ),
        )  # fmt: skip
        yield from _joins_and_splits(dtype)


def _strided_slices(dtype: str) -> Iterator[Named]:
    for step, out, options in (
        (1, (1, 2, 2, 8), {}),
        (2, (1, 1, 1, 8), {}),
        (1, (2, 2, 8), {"shrinkAxisMask": 1}),
        (1, (1, 2, 2, 8), {"endMask": 8}),
    ):
        yield (
            f"STRIDED_SLICE {dtype} by {step} {options}",
            _single(
                "STRIDED_SLICE", dtype, IMAGE, out, ([0, 1, 1, 0], "int32"), ([1, 3, 3, 8], "int32"),
                ([1, step, step, 1], "int32"), table="StridedSliceOptions", **options,
            ),
        )  # fmt: skip


def _reductions(dtype: str) -> Iterator[Named]:
    for operator, (axes, out) in itertools.product(
        ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"),
        (([1, 2], (1, 8)), ([-1], (1, 4, 4)), ([0, 1, 2, 3], ())),
    ):
        yield (
            f"{operator} {dtype} {axes}",
            _single(operator, dtype, IMAGE, out, (axes, "int32"), table="ReducerOptions"),
        )


def _joins_and_splits(dtype: str) -> Iterator[Named]:
    for count in (2, 5, 6):
        build = ModelBuilder()
        parts = [build.input(IMAGE, dtype, **quantized(dtype)) for _ in range(count)]
        joined = build.tensor((1, 4, 4, 8 * count), dtype, **quantized(dtype))
        build.node("CONCATENATION", parts, [joined], table="ConcatenationOptions", axis=3)
        yield f"CONCATENATION {dtype} of {count}", build.build(joined)
        build = ModelBuilder()
        whole = build.input((1, 4, 4, 60), dtype, **quantized(dtype))
        pieces = [build.tensor((1, 4, 4, 60 // count), dtype, **quantized(dtype)) for _ in range(count)]
        build.node(
            "SPLIT", [build.constant(3, "int32"), whole], pieces, table="SplitOptions", numSplits=count
        )
        yield f"SPLIT {dtype} into {count}", build.build(*pieces)


def windows() -> Iterator[Named]:
    """Poolings with windows and strides that XNNPACK has kernels for, and others."""
    for operator, dtype, (window, stride) in itertools.product(
        ("AVERAGE_POOL_2D", "MAX_POOL_2D"), TYPES, ((2, 2), (3, 1), (1, 1), (1, 2), (2, 3))
    ):
        for activation in (0, 3, 4):
            size = -(-4 // stride)
            yield (
                f"{operator} {dtype} {window} by {stride} activation {activation}",
                _single(
                    operator, dtype, IMAGE, (1, size, size, 8), table="Pool2DOptions", padding=0,
                    strideW=stride, strideH=stride, filterWidth=window, filterHeight=window,
                    fusedActivationFunction=activation,
                ),
            )  # fmt: skip


_WEIGHTS: dict[str, tuple[str, dict[str, Any]]] = {
    "float32": ("float32", {}),
    "float16": ("float16", {}),
    "int8": ("int8", {"scale": 0.02}),
    "int8 off zero": ("int8", {"scale": 0.02, "zero_point": 3}),
    "int8 per channel": ("int8", {"scale": [0.02] * 8}),
    "int8 along 1": ("int8", {"scale": [0.02] * 8, "dimension": 1}),
    "uint8": ("uint8", {"scale": 0.02, "zero_point": 120}),
}
_BIASES: dict[str, tuple[str, dict[str, Any]] | None] = {
    "no": None,
    "float32": ("float32", {}),
    "int32": ("int32", {"scale": 0.001}),
    "int32 per channel": ("int32", {"scale": [0.001] * 8}),
    "int32 along 1": ("int32", {"scale": [0.001] * 8, "dimension": 1}),
}
_PRODUCTS: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "CONV_2D": (IMAGE, (8, 3, 3, 8), IMAGE, {"table": "Conv2DOptions", "strideW": 1, "strideH": 1}),
    "DEPTHWISE_CONV_2D": (
        IMAGE,
        (1, 3, 3, 8),
        IMAGE,
        {"table": "DepthwiseConv2DOptions", "strideW": 1, "strideH": 1, "depthMultiplier": 1},
    ),
    "FULLY_CONNECTED": ((1, 8), (8, 8), (1, 8), {"table": "FullyConnectedOptions"}),
    "TRANSPOSE_CONV": (
        IMAGE,
        (8, 3, 3, 8),
        IMAGE,
        {"table": "TransposeConvOptions", "strideW": 1, "strideH": 1},
    ),
    "BATCH_MATMUL": ((1, 8, 8), (1, 8, 8), (1, 8, 8), {"table": "BatchMatMulOptions"}),
}


def products() -> Iterator[Named]:
    """Convolutions and matrix products with every kind of weights and bias, constant and computed."""
    for operator, dtype, weights, bias, is_constant in itertools.product(
        _PRODUCTS, ("float32", "float16", "int8", "uint8"), _WEIGHTS, _BIASES, (True, False)
    ):
        if (operator == "BATCH_MATMUL" and bias != "no") or (operator == "CONV_2D" and bias == "no"):
            continue  # the plain kernels want a bias for CONV_2D, and BATCH_MATMUL has none
        shape, window, out, options = _PRODUCTS[operator]
        build = ModelBuilder()
        entering = build.input(shape, dtype, **quantized(dtype))
        kind, meaning = _WEIGHTS[weights]
        factor = (
            build.constant(1, kind, shape=window, **meaning)
            if is_constant
            else build.input(window, kind, **meaning)
        )
        made = build.tensor(out, dtype, **quantized(dtype))
        inputs = [entering, factor]
        if operator == "TRANSPOSE_CONV":
            inputs = [build.constant(list(out), "int32"), factor, entering]
        chosen = _BIASES[bias]
        if chosen:
            inputs.append(build.constant(0, chosen[0], shape=(8,), **chosen[1]))
        build.node(operator, inputs, [made], **options)
        yield f"{operator} {dtype} weights {weights} {is_constant} bias {bias}", build.build(made)
