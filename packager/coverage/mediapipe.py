"""Which of MediaPipe's own operators XNNPACK takes; the interpreter itself has none of them.

PURE. Rules:

1. Each check repeats a ``VisitMediaPipe…Node`` function of ``packager.coverage.rules.XNNPACK_SOURCE``, in its order.
2. Their options are the bytes of a C structure, TfLiteTransposeConvParams or TfLitePoolParams
   (tflite/core/c/builtin_op_data.h), padded with zeros when they are fewer.
"""

from __future__ import annotations

import struct

from packager.coverage.elementwise import ONE, TWO, Check
from packager.coverage.rules import Refusal, Refusals
from packager.coverage.view import View, shaped, typed
from packager.coverage.windows import SAME, VALID, transpose_paddings

_PADDINGS = {1: SAME, 2: VALID}  # TfLitePadding; 0 is none
_TRANSPOSE_CONV = struct.Struct("<3i")  # padding, stride width and height; what follows is not looked at
_POOL = struct.Struct("<5i")  # padding, stride width and height, filter width and height


def _options(view: View, layout: struct.Struct) -> tuple[int, ...]:
    return layout.unpack(view.node.custom_options[: layout.size].ljust(layout.size, b"\0"))


def _float_image(view: View, *positions: int) -> Refusals:
    for position in positions:
        yield from typed(view.input(position), "float32")
        yield from shaped(view.input(position), 4, 4)


def _float_output(view: View) -> Refusals:
    yield from typed(view.output(), "float32")
    yield from shaped(view.output(), 4, 4)


def _convolution_2d_transpose_bias(view: View) -> Refusals:
    yield from view.count(range(3, 4), ONE)
    yield from _float_image(view, 0, 1)
    yield from view.weights(1)
    yield from typed(view.input(2), "float32")
    yield from shaped(view.input(2), 1, 1)
    yield from view.weights(2)
    yield from _float_output(view)
    padding, stride_w, stride_h = _options(view, _TRANSPOSE_CONV)
    if min(stride_w, stride_h) <= 0 or padding not in _PADDINGS:
        yield Refusal("option", f"strides {stride_h} and {stride_w}, padding {padding}")
    else:
        yield from transpose_paddings(
            view.output().shape[1:3],
            view.input(1).shape[1:3],
            (stride_h, stride_w),
            view.input(0).shape[1:3] if _PADDINGS[padding] == SAME else None,
        )


def _pool_options(view: View) -> Refusals:
    padding, stride_w, stride_h, filter_w, filter_h = _options(view, _POOL)
    if min(stride_w, stride_h, filter_w, filter_h) <= 0 or (filter_w, filter_h) != (stride_w, stride_h):
        yield Refusal("option", f"window {filter_h} x {filter_w} with strides {stride_h} and {stride_w}")
    if padding not in _PADDINGS:
        yield Refusal("option", f"padding {padding}")


def _max_pooling_with_argmax_2d(view: View) -> Refusals:
    yield from view.count(ONE, TWO)
    yield from _float_image(view, 0)
    yield from _float_output(view)
    yield from shaped(view.output(1), 4, 4)
    yield from _pool_options(view)


def _max_unpooling_2d(view: View) -> Refusals:
    yield from view.count(TWO, ONE)
    yield from _float_image(view, 0)
    yield from shaped(view.input(1), 4, 4)
    yield from _float_output(view)
    yield from _pool_options(view)


CHECKS: dict[str, Check] = {
    "CUSTOM Convolution2DTransposeBias": _convolution_2d_transpose_bias,
    "CUSTOM MaxPoolingWithArgmax2D": _max_pooling_with_argmax_2d,
    "CUSTOM MaxUnpooling2D": _max_unpooling_2d,
}
"""Operator to its check."""
