"""Which convolutions, matrix products, poolings and resizings XNNPACK takes.

PURE. Rules:

1. Each check repeats a ``Visit…Node`` function of ``packager.coverage.rules.XNNPACK_SOURCE``, in its order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from packager.coverage.elementwise import ONE, TWO, Check
from packager.coverage.graph import Tensor
from packager.coverage.rules import Refusal, Refusals
from packager.coverage.view import (
    BYTES,
    FLOATS,
    View,
    bias,
    channels,
    flat,
    float32_or_bytes,
    floats,
    floats_or_bytes,
    is_per_tensor,
    mixed,
    scale_of,
    shaped,
    typed,
)

SAME, VALID = 0, 1  # schema.fbs, Padding
_INT_WEIGHTS = frozenset(("int2", "int4", "int8"))


def _positive(view: View, *names: str) -> Refusals:
    for name in names:
        if view.node.number(name) <= 0:
            yield Refusal("option", f"{name} is {view.node.number(name):g}")


def _conv_2d(view: View) -> Refusals:
    yield from _positive(view, "stride_w", "stride_h", "dilation_w_factor", "dilation_h_factor")
    yield from _convolution(view, channel_dimension=0)
    entering, weights, leaving = view.input(0), view.input(1), view.output()
    is_dynamic = entering.dtype == "float32" and weights.dtype == "int8"
    yield from mixed("CONV_2D", entering, leaving)
    if not is_dynamic:
        yield from mixed("CONV_2D", entering, weights)
    if entering.shape[3] < weights.shape[3]:
        yield Refusal("shape", f"{weights.name} has more input channels than {entering.name}")
    yield from view.activation()


def _depthwise_conv_2d(view: View) -> Refusals:
    yield from _convolution(view, channel_dimension=3)
    weights = view.input(1)
    yield from mixed("DEPTHWISE_CONV_2D", view.input(0), weights, view.output())
    yield from _positive(view, "stride_w", "stride_h", "depth_multiplier")
    if weights.shape[3] % view.node.number("depth_multiplier"):
        yield Refusal("option", f"depth_multiplier of {weights.shape[3]} channels")
    yield from _positive(view, "dilation_w_factor", "dilation_h_factor")
    yield from view.activation()


def _convolution(view: View, channel_dimension: int) -> Refusals:
    """What CONV_2D and DEPTHWISE_CONV_2D share."""
    yield from view.count(range(3, 4), ONE)
    yield from floats_or_bytes(view.input(0))
    yield from shaped(view.input(0), 4, 4)
    yield from channels(view.input(1), channel_dimension)
    yield from shaped(view.input(1), 4, 4)
    yield from view.weights(1)
    if view.has_input(2):
        yield from bias(view.input(2))
        yield from shaped(view.input(2), 1, 1)
        yield from view.weights(2)
        yield from view.bias_type(1, 2)
    else:
        yield Refusal("count", "no bias")
    yield from floats_or_bytes(view.output())
    yield from shaped(view.output(), 4, 4)


def _fully_connected(view: View) -> Refusals:
    if view.node.version == 8:
        yield Refusal("version", "version 8")
    if view.node.number("weights_format"):
        yield Refusal("option", "weights_format")
    yield from view.count(range(2, 4), ONE)
    entering, weights, leaving = view.input(0), view.input(1), view.output()
    yield from floats_or_bytes(entering)
    yield from shaped(weights, 2, 2)
    yield from _small_weights(weights)
    yield from view.weights(1)
    if view.has_input(2):
        yield from _fully_connected_bias(view)
    yield from floats_or_bytes(leaving)
    yield from mixed("FULLY_CONNECTED", entering, leaving)
    is_dynamic = entering.dtype in FLOATS and weights.dtype in _INT_WEIGHTS
    if not is_dynamic and not (entering.dtype == "int8" and weights.dtype in _INT_WEIGHTS):
        yield from mixed("FULLY_CONNECTED", entering, weights)
    if not is_dynamic and weights.dtype == "int8" and _zero_point(weights):
        yield Refusal("quantization", f"{weights.name} has the zero point {_zero_point(weights)}")
    step = {"int4": 2, "int2": 4}.get(weights.dtype, 1)
    if weights.shape[1] % step:
        yield Refusal("shape", f"{weights.name} has {weights.shape[1]} input channels")
    yield from view.activation()


def _small_weights(weights: Tensor) -> Refusals:
    """CheckTensorFilterType."""
    yield from typed(weights, *FLOATS, *_INT_WEIGHTS, "uint8")
    found = weights.quantization
    if weights.dtype == "uint8" and not is_per_tensor(weights):
        yield Refusal("quantization", f"{weights.name} has no single scale")
    if weights.dtype not in _INT_WEIGHTS or found is None:
        return
    if found.block_size % 32:
        yield Refusal("quantization", f"{weights.name} has blocks of {found.block_size}")
    if found.block_size:
        return
    if len(found.scales) > 1 and found.dimension != 0:
        yield Refusal("quantization", f"{weights.name} has scales along dimension {found.dimension}")
    if weights.dtype == "int2" and len(found.scales) != weights.shape[found.dimension]:
        yield Refusal("quantization", f"{weights.name} has 2 bits and not one scale per channel")


def _fully_connected_bias(view: View) -> Refusals:
    added = view.input(2)
    if added.elements != view.input(1).shape[0]:
        yield Refusal("shape", f"{added.name} has {added.elements} elements")
    yield from bias(added)
    yield from view.weights(2)
    yield from view.bias_type(1, 2)


def _zero_point(tensor: Tensor) -> int:
    """Of a tensor with one scale; 0 for all others, as TFLite's legacy parameters have it."""
    found = tensor.quantization
    if found is None or len(found.scales) != 1 or len(found.zero_points) != 1:
        return 0
    return found.zero_points[0]


def _batch_matmul(view: View) -> Refusals:
    entering, weights, leaving = view.input(0), view.input(1), view.output()
    yield from floats_or_bytes(entering)
    is_transposed = bool(view.node.number("adj_y"))
    yield from channels(weights, len(weights.shape) - (2 if is_transposed else 1))
    is_dynamic = entering.dtype == "float32" and weights.dtype == "int8"
    if weights.dtype == "int8" and not is_dynamic and _zero_point(weights):
        yield Refusal("quantization", f"{weights.name} has the zero point {_zero_point(weights)}")
    yield from floats_or_bytes(leaving)
    if not is_dynamic:
        yield from mixed("BATCH_MATMUL", entering, weights)
        if weights.dtype in BYTES and scale_of(weights) is None:
            yield Refusal("quantization", f"{weights.name} has one scale per channel")
    for tensor in (entering, weights):
        if len(tensor.shape) < 2:
            yield Refusal("shape", f"{tensor.name} has {len(tensor.shape)} dimensions")


def _transpose_conv(view: View) -> Refusals:
    yield from view.count(range(3, 5), ONE)
    target, weights, entering, leaving = view.input(0), view.input(1), view.input(2), view.output()
    yield from typed(target, "int32")
    yield from flat(target)
    yield from view.constant(0)
    if target.shape != (4,):
        yield Refusal("shape", f"{target.name} has {target.elements} values")
    yield from shaped(weights, 4, 4)
    yield from view.weights(1)
    yield from float32_or_bytes(entering)
    yield from shaped(entering, 4, 4)
    yield from channels(weights, 0)
    if view.has_input(3):
        yield from bias(view.input(3))
        yield from shaped(view.input(3), 1, 1)
        yield from view.weights(3)
    yield from float32_or_bytes(leaving)
    yield from shaped(leaving, 4, 4)
    size = target.values or (0, 0, 0, 0)
    if weights.shape[0] != size[3] or weights.shape[3] != entering.shape[3]:
        yield Refusal("shape", f"{weights.name} does not fit the channels of input and output")
    yield from _positive(view, "stride_w", "stride_h")
    yield from transpose_paddings(
        size[1:3],
        weights.shape[1:3],
        (int(view.node.number("stride_h")), int(view.node.number("stride_w"))),
        entering.shape[1:3] if view.node.number("padding") == SAME else None,
    )
    yield from view.activation()


def transpose_paddings(
    output: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    same_input: Sequence[int] | None,
) -> Refusals:
    """CalculateTransposeConvPaddings, without dilation; each argument is height and width.

    Args:
        output: Size of the output.
        kernel: Size of the window.
        strides: Of the window.
        same_input: Size of the input when the padding is SAME; None for VALID.
    """
    for axis, (length, window, stride) in enumerate(zip(output, kernel, strides, strict=True)):
        if same_input is None:
            if window > length:
                yield Refusal("shape", f"VALID output of {length} is smaller than the window of {window}")
        elif math.ceil(length / stride) != same_input[axis]:
            yield Refusal(
                "shape", f"SAME output of {length} does not come from an input of {same_input[axis]}"
            )
        elif window < stride:
            yield Refusal("option", f"stride {stride} is larger than the window of {window}")


def _average_pool(view: View) -> Refusals:
    yield from view.count(ONE, ONE)
    yield from floats(view.input(0))
    yield from floats(view.output())
    yield from _pool(view)


def _max_pool(view: View) -> Refusals:
    yield from view.count(ONE, ONE)
    yield from float32_or_bytes(view.input(0))
    yield from float32_or_bytes(view.output())
    yield from _pool(view)


def _pool(view: View) -> Refusals:
    yield from _positive(view, "stride_w", "stride_h", "filter_width", "filter_height")
    number = view.node.number
    for stride, window in (("stride_w", "filter_width"), ("stride_h", "filter_height")):
        if number(stride) > number(window):
            yield Refusal("option", f"{stride} {number(stride):g} exceeds {window} {number(window):g}")
    yield from view.activation()


def _resize_bilinear(view: View) -> Refusals:
    yield from view.count(TWO, ONE)
    yield from float32_or_bytes(view.input(0))
    yield from shaped(view.input(0), 4, 4)
    yield from typed(view.input(1), "int32")
    yield from flat(view.input(1))
    yield from view.constant(1)
    yield from float32_or_bytes(view.output())
    yield from shaped(view.output(), 4, 4)


def _depth_to_space(view: View) -> Refusals:
    yield from view.count(ONE, ONE)
    check = floats_or_bytes if view.node.operator == "DEPTH_TO_SPACE" else float32_or_bytes
    yield from check(view.input(0))
    yield from check(view.output())
    block = int(view.node.number("block_size"))
    if block <= 1:
        yield Refusal("option", f"block_size is {block}")
    if view.node.operator == "SPACE_TO_DEPTH" and any(size % block for size in view.input(0).shape[1:3]):
        yield Refusal("shape", f"{view.input(0).shape[1:3]} is no multiple of block_size {block}")


CHECKS: dict[str, Check] = {
    "AVERAGE_POOL_2D": _average_pool,
    "BATCH_MATMUL": _batch_matmul,
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    "DEPTH_TO_SPACE": _depth_to_space,
    "FULLY_CONNECTED": _fully_connected,
    "MAX_POOL_2D": _max_pool,
    "RESIZE_BILINEAR": _resize_bilinear,
    "SPACE_TO_DEPTH": _depth_to_space,
    "TRANSPOSE_CONV": _transpose_conv,
}
"""Operator to its check."""
