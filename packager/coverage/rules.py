"""Every reason why a delegate leaves a node to the plain kernels, with its source.

PURE. Rules:

1. A reason is a rule's code, stable, and a detail: which tensor or option breaks it.
2. ``docs/reference/delegate-coverage.md`` lists every rule; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

XNNPACK_SOURCE = "google-ai-edge/LiteRT 8b87307e, tflite/delegates/xnnpack/xnnpack_delegate.cc"
"""The file whose decisions ``packager.coverage.xnnpack`` repeats. Its error texts are those of the library in
ai-edge-litert 2.3.0, which has no source archive of its own."""

EDGETPU_SOURCE = "https://coral.ai/docs/edgetpu/models-intro/"
"""The page whose table and requirements ``packager.coverage.edgetpu`` repeats."""


class Refusal(NamedTuple):
    """Why a node is left out: a rule's code, and what breaks the rule."""

    rule: str
    detail: str


Refusals = Iterator[Refusal]
"""What a check yields: nothing when the node is taken. Only the first counts, so checks stand in their source's
order, and one may rely on those before it."""


class Rule(NamedTuple):
    """What a delegate asks for, and where that is written."""

    statement: str
    source: str


XNNPACK_RULES: dict[str, Rule] = {
    "operator": Rule("XNNPACK has an implementation of the operator", "Subgraph::VisitNode"),
    "version": Rule("FULLY_CONNECTED is not of version 8 (sparse weights)", "Subgraph::VisitNode"),
    "count": Rule(
        "the node has the number of inputs and outputs that its operator is implemented for: CONCATENATION 2 to 5 "
        "inputs, SPLIT 2 to 4 outputs, convolutions a bias",
        "CheckNumInputsAndOutputs",
    ),
    "type": Rule(
        "every tensor has a type that the operator is implemented for; no operator has one for int16, int32, int64 "
        "or bool values",
        "CheckTensorFloatOrQUInt8Type and its siblings",
    ),
    "mixed-types": Rule(
        "inputs, weights and outputs have one type, or the inputs are float32 and the weights int8 or smaller "
        "(dynamic range, not for DEPTHWISE_CONV_2D)",
        "VisitConv2DNode, VisitDepthwiseConv2DNode, VisitFullyConnectedNode, VisitBatchMatMulNode, VisitBinaryNode",
    ),
    "quantization": Rule(
        "an 8-bit tensor has one scale and zero point, weights may have one scale per output channel; blocks of "
        "int4 weights are multiples of 32",
        "CheckTensorFloat32OrQCInt8Type, CheckTensorFilterType, CheckTensorFloat32OrFloat16OrQCInt32Type",
    ),
    "scale": Rule(
        "scales of inputs and outputs stand in the ratio that the operator is implemented for",
        "CheckTensorsInputOutputScale, CheckTensorsInputProductOutputScale, VisitUnaryNode, VisitReshapeNode, "
        "VisitConcatenationNode",
    ),
    "shape": Rule(
        "tensors have the number of dimensions that the operator is implemented for, six at most, and no empty one",
        "CheckTensorShape, CheckPaddingsTensorShape, CheckShapeTensorShape, CalculateTransposeConvPaddings",
    ),
    "constant": Rule(
        "weights, biases, axes, shapes, paddings and permutations stand in the file",
        "CheckTensorStaticAllocation",
    ),
    "activation": Rule(
        "a fused activation is NONE, RELU, RELU_N1_TO_1 or RELU6", "ConvertActivationToOutputRange"
    ),
    "option": Rule(
        "strides, dilations, windows, block sizes, masks, alpha and beta are ones that the operator is implemented "
        "for",
        "CheckConvolutionParams, CheckPoolingParams, VisitSoftmaxNode, VisitStridedSliceNode, VisitUnaryNode and "
        "others",
    ),
    "reader": Rule(
        "what unpacks constant weights (DEQUANTIZE, DENSIFY) is read by delegated nodes only",
        "Delegate::PrepareOpsToDelegate",
    ),
    "variable": Rule(
        "a resource variable is read and assigned with one type and one shape", "ResourceInfo::AddProxyValue"
    ),
}

EDGETPU_RULES: dict[str, Rule] = {
    "operator": Rule("the operator stands in the table of supported operations", "table 1"),
    "runtime": Rule("the Edge TPU runtime that is compiled for is new enough for the operator", "table 1"),
    "type": Rule("every tensor is quantized to 8 bits, biases to 32", "model requirements"),
    "static": Rule("tensor sizes are known when the model is compiled", "model requirements"),
    "constant": Rule("weights and biases stand in the file", "model requirements"),
    "rank": Rule(
        "tensors have one to three dimensions; of more only the innermost three may be larger than 1",
        "model requirements",
    ),
    "limitation": Rule("the operation's known limitations in the table are kept", "table 1"),
    "after": Rule(
        "no node before it in the graph is left to the CPU: the compiler makes one partition, from the inputs to "
        "the first node that it does not support",
        "compiling",
    ),
}
