"""Which element-wise, shape-changing and reducing nodes XNNPACK takes.

PURE. Rules:

1. Each check repeats a ``Visit…Node`` function of ``packager.coverage.rules.XNNPACK_SOURCE``, in its order.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from packager.coverage.graph import Tensor
from packager.coverage.rules import Refusal, Refusals
from packager.coverage.view import (
    BYTES,
    DIMENSIONS_MOST,
    FLOATS,
    View,
    any_shape,
    flat,
    floats,
    floats_or_bytes,
    is_normal,
    mixed,
    scale_of,
    typed,
    values,
)

Check = Callable[[View], Refusals]
ONE, TWO = range(1, 2), range(2, 3)


def _unary(check_input: Callable[[Tensor], Refusals], check_output: Callable[[Tensor], Refusals]) -> Check:
    def check(view: View) -> Refusals:
        yield from view.count(ONE, ONE)
        yield from any_shape(view.input(0))
        yield from check_input(view.input(0))
        yield from check_output(view.output())

    return check


def _elu_type(tensor: Tensor) -> Refusals:
    yield from values(tensor, *FLOATS, "int8")


def _bytes_type(tensor: Tensor) -> Refusals:
    yield from values(tensor, *BYTES)


def _leaky_relu(view: View) -> Refusals:
    yield from _unary(floats_or_bytes, floats_or_bytes)(view)
    alpha = view.node.number("alpha")
    if not is_normal(abs(alpha)):
        yield Refusal("option", f"alpha is {alpha:g}")
    entering, leaving = scale_of(view.input(0)), scale_of(view.output())
    if entering and leaving:
        ratio = entering / leaving
        # Limits as in VisitUnaryNode, case LEAKY_RELU.
        if not 1 / 256 <= ratio <= 128:
            yield Refusal("scale", f"input to output is {ratio:g}")
        if not (-127.99609375 <= ratio * alpha <= 128 and abs(ratio * alpha) >= 1 / 256):
            yield Refusal("scale", f"input to output times alpha is {ratio * alpha:g}")


def _quantize(view: View) -> Refusals:
    yield from _unary(floats_or_bytes, floats_or_bytes)(view)
    entering, leaving = view.input(0), view.output()
    if entering.dtype in FLOATS:
        return
    if entering.dtype != leaving.dtype:
        yield Refusal("mixed-types", f"QUANTIZE from {entering.dtype} to {leaving.dtype}")
    ratio = (scale_of(entering) or math.nan) / (scale_of(leaving) or math.nan)
    if not 1 / 256 <= ratio <= 128:
        yield Refusal("scale", f"input to output is {ratio:g}")


def _binary_floats(view: View) -> Refusals:
    yield from _binary_shapes(view)
    for tensor in (view.input(0), view.input(1), view.output()):
        yield from floats(tensor)
    if view.node.operator == "DIV":
        yield from view.activation()
    if view.node.operator == "PRELU":
        yield from view.weights(1)


def _binary_shapes(view: View) -> Refusals:
    yield from view.count(TWO, ONE)
    yield from any_shape(view.input(0))
    yield from any_shape(view.input(1))


def _sum(view: View) -> Refusals:
    """ADD and SUB."""
    yield from _binary_bytes(view)
    leaving = scale_of(view.output())
    for position in (0, 1):
        entering = scale_of(view.input(position))
        if entering and leaving and not 1 / 1024 <= entering / leaving < 256:
            yield Refusal("scale", f"{view.input(position).name} to output is {entering / leaving:g}")
    yield from view.activation()


def _product(view: View) -> Refusals:
    """MUL."""
    yield from _binary_bytes(view)
    one, other, leaving = scale_of(view.input(0)), scale_of(view.input(1)), scale_of(view.output())
    if one and other and leaving and not 1 / 65536 <= one * other / leaving < 256:
        yield Refusal("scale", f"product to output is {one * other / leaving:g}")
    yield from view.activation()


def _binary_bytes(view: View) -> Refusals:
    yield from _binary_shapes(view)
    tensors = view.input(0), view.input(1), view.output()
    for tensor in tensors:
        yield from floats_or_bytes(tensor)
    yield from mixed(view.node.operator, *tensors)


def _softmax(view: View) -> Refusals:
    if view.node.number("beta") != 1:
        yield Refusal("option", f"beta is {view.node.number('beta'):g}")
    yield from view.count(ONE, ONE)
    yield from floats(view.input(0))
    yield from floats(view.output())


def _reduce(view: View) -> Refusals:
    yield from view.count(TWO, ONE)
    entering, axes = view.input(0), view.input(1)
    yield from floats_or_bytes(entering)
    yield from typed(axes, "int32")
    if len(axes.shape) > 1:
        yield Refusal("shape", f"{axes.name} has {len(axes.shape)} dimensions")
    yield from view.constant(1)
    if not 1 <= axes.elements <= DIMENSIONS_MOST or (not entering.shape and axes.values == (0,)):
        yield Refusal("option", f"{axes.elements} axes of {len(entering.shape)} dimensions")
    yield from floats_or_bytes(view.output())


def _reshape(view: View) -> Refusals:
    yield from view.count(range(1, 3), ONE)
    entering, leaving = view.input(0), view.output()
    for tensor in (entering, leaving):
        yield from floats_or_bytes(tensor)
        yield from any_shape(tensor)
    if leaving.dtype in BYTES and entering.quantization != leaving.quantization:
        yield Refusal("scale", "input and output have different scales or zero points")
    shape = view.node.options.get("new_shape")
    if len(view.node.inputs) == 2:
        target = view.input(1)
        yield from typed(target, "int32")
        if any(size != 1 for size in target.shape[:-1]) or not target.shape:
            yield Refusal("shape", f"{target.name} has the shape {target.shape}")
        yield from view.constant(1)
        shape = target.values
    if shape in {(0,), (-1,)}:
        yield Refusal("option", "to a scalar, as old converters write it")


def _slice(view: View) -> Refusals:
    begin, size = view.input(1), view.input(2)
    for position, tensor in ((1, begin), (2, size)):
        yield from flat(tensor)
        yield from view.constant(position)
        yield from typed(tensor, "int32", "int64")
    if begin.shape != size.shape:
        yield Refusal("shape", "begin and size have different lengths")
    yield from floats_or_bytes(view.input(0))
    yield from floats_or_bytes(view.output())
    if any(value <= 0 for value in size.values or ()):
        yield Refusal("option", "a size that is not positive")


def _strided_slice(view: View) -> Refusals:
    for mask in ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask"):
        if view.node.number(mask):
            yield Refusal("option", mask)
    for position in (3, 1, 2):
        tensor = view.input(position)
        yield from flat(tensor)
        yield from view.constant(position)
        yield from typed(tensor, "int32")
        if position == 3 and any(value != 1 for value in tensor.values or ()):
            yield Refusal("option", "a stride other than 1")
    for position in (1, 2, 3):
        if view.input(position).shape != (len(view.input(0).shape),):
            yield Refusal("shape", f"{view.input(position).name} does not name every dimension")
    yield from floats_or_bytes(view.input(0))
    yield from floats_or_bytes(view.output())


def _transpose(view: View) -> Refusals:
    yield from view.count(TWO, ONE)
    yield from floats_or_bytes(view.input(0))
    yield from any_shape(view.input(0), 1)
    yield from view.constant(1)


def _pad(view: View) -> Refusals:
    yield from view.count(TWO, ONE)
    entering, paddings = view.input(0), view.input(1)
    yield from floats_or_bytes(entering)
    yield from any_shape(entering, 1)
    yield from typed(paddings, "int32")
    if paddings.shape != (len(entering.shape), 2):
        yield Refusal("shape", f"{paddings.name} has the shape {paddings.shape}")
    yield from view.constant(1)
    yield from floats_or_bytes(view.output())
    yield from any_shape(view.output(), 1)
    if any(value < 0 for value in paddings.values or ()):
        yield Refusal("option", "a negative padding")


def _split(view: View) -> Refusals:
    yield from view.count(TWO, range(2, 5))
    yield from typed(view.input(0), "int32")
    yield from view.constant(0)
    yield from floats_or_bytes(view.input(1))
    for position in range(len(view.node.outputs)):
        yield from floats_or_bytes(view.output(position))


def _concatenation(view: View) -> Refusals:
    yield from view.count(range(2, 6), ONE)
    leaving, axis = view.output(), view.node.number("axis")
    yield from floats_or_bytes(leaving)
    entering = [view.input(position) for position in range(len(view.node.inputs))]
    for tensor in entering:
        if axis >= len(tensor.shape):
            yield Refusal("option", f"axis {axis:g} of {len(tensor.shape)} dimensions")
    for tensor in entering:
        if leaving.dtype == "uint8" and tensor.quantization != leaving.quantization:
            yield Refusal("scale", f"{tensor.name} has another scale or zero point than the output")
    for tensor in entering:
        yield from floats_or_bytes(tensor)


_FLOAT_UNARY = (
    "ABS", "CEIL", "COS", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LOG", "NEG", "RELU", "RELU6", "RELU_N1_TO_1",
    "ROUND", "RSQRT", "SIN", "SQRT", "SQUARE",
)  # fmt: skip
_FLOAT_BINARY = ("DIV", "MAXIMUM", "MINIMUM", "PRELU", "SQUARED_DIFFERENCE")

CHECKS: dict[str, Check] = {
    **dict.fromkeys(_FLOAT_UNARY, _unary(floats, floats)),
    **dict.fromkeys(_FLOAT_BINARY, _binary_floats),
    **dict.fromkeys(("MEAN", "REDUCE_MAX", "REDUCE_MIN", "SUM"), _reduce),
    "ADD": _sum,
    "CONCATENATION": _concatenation,
    "DEQUANTIZE": _unary(_bytes_type, floats),
    "ELU": _unary(_elu_type, _elu_type),
    "LEAKY_RELU": _leaky_relu,
    "LOGISTIC": _unary(floats_or_bytes, floats_or_bytes),
    "MUL": _product,
    "PAD": _pad,
    "QUANTIZE": _quantize,
    "RESHAPE": _reshape,
    "SLICE": _slice,
    "SOFTMAX": _softmax,
    "SPLIT": _split,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _sum,
    "TANH": _unary(floats_or_bytes, floats_or_bytes),
    "TRANSPOSE": _transpose,
}
"""Operator to its check."""
