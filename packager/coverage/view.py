"""What the checks of one node look at.

PURE. Rules:

1. A check yields refusals; none means that the node passes (``packager.coverage.rules.Refusals``).
2. Tensors that are unpacked from constants count as constants, as they do for XNNPACK.
"""

from __future__ import annotations

import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from packager.coverage.graph import NOT_GIVEN, Graph, Node, Quantization, Tensor
from packager.coverage.rules import Refusal, Refusals

FLOATS = frozenset(("float32", "float16"))
BYTES = frozenset(("int8", "uint8"))
DIMENSIONS_MOST = 6  # XNN_MAX_TENSOR_DIMS, xnnpack.h
_SMALLEST_NORMAL = 2.0**-126  # of a float32: std::isnormal
_LARGEST = (2 - 2.0**-23) * 2.0**127
_ACTIVATIONS = {0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH", 5: "SIGN_BIT"}
_TAKEN_ACTIVATIONS = frozenset((0, 1, 2, 3))
_ZERO_POINTS = {"int8": (-128, 127), "uint8": (0, 255)}


@dataclass(frozen=True)
class View:
    """One node with what it stands in.

    Attributes:
        graph: All tensors and nodes.
        node: Which is looked at.
        unpacked: Indices of tensors that are unpacked from constants before the first run.
        halved: Of these, those that stay float16.
    """

    graph: Graph
    node: Node
    unpacked: AbstractSet[int]
    halved: AbstractSet[int]

    def tensor(self, index: int) -> Tensor:
        """A tensor of the graph."""
        return self.graph.tensors[index]

    def input(self, position: int) -> Tensor:
        """An input of the node."""
        return self.tensor(self.node.input(position))

    def output(self, position: int = 0) -> Tensor:
        """An output of the node."""
        return self.tensor(self.node.output(position))

    def has_input(self, position: int) -> bool:
        """Whether an input is given."""
        return len(self.node.inputs) > position and self.node.inputs[position] != NOT_GIVEN

    def count(self, inputs: range, outputs: range) -> Refusals:
        """Inputs and outputs are as many as they may be."""
        for what, found, allowed in (
            ("input", len(self.node.inputs), inputs),
            ("output", len(self.node.outputs), outputs),
        ):
            if found not in allowed:
                yield Refusal("count", f"{found} {what}s")

    def constant(self, position: int) -> Refusals:
        """An input stands in the file."""
        if not self.input(position).is_constant:
            yield Refusal("constant", f"{self.input(position).name} is computed")

    def weights(self, position: int) -> Refusals:
        """An input stands in the file, or is unpacked from what does."""
        if self.node.input(position) not in self.unpacked:
            yield from self.constant(position)

    def activation(self) -> Refusals:
        """The fused activation is one that limits the output to a range."""
        number = int(self.node.number("fused_activation_function"))
        if number not in _TAKEN_ACTIVATIONS:
            yield Refusal("activation", f"fused {_ACTIVATIONS.get(number, number)}")

    def bias_type(self, weights: int, bias: int) -> Refusals:
        """The bias of float32 weights is no float16, also not one that is unpacked."""
        if self._stored_type(weights) == "float32" and self._stored_type(bias) != "float32":
            yield Refusal("mixed-types", f"weights are float32, the bias is {self._stored_type(bias)}")

    def _stored_type(self, position: int) -> str:
        index = self.node.input(position)
        return "float16" if index in self.halved else self.tensor(index).dtype


def typed(tensor: Tensor, *allowed: str) -> Refusals:
    """The type is one of these."""
    if tensor.dtype not in allowed:
        yield Refusal("type", f"{tensor.name} is {tensor.dtype}")


def floats(tensor: Tensor) -> Refusals:
    """float32 or float16."""
    yield from typed(tensor, *FLOATS)


def values(tensor: Tensor, *types: str) -> Refusals:
    """One of these types; when it has 8 bits, with one scale for the whole tensor."""
    yield from typed(tensor, *types)
    if tensor.dtype in BYTES and not is_per_tensor(tensor):
        yield Refusal("quantization", f"{tensor.name} has no single scale")


def float32_or_bytes(tensor: Tensor) -> Refusals:
    """float32, or int8 or uint8 with one scale."""
    yield from values(tensor, "float32", *BYTES)


def floats_or_bytes(tensor: Tensor) -> Refusals:
    """float32 or float16, or int8 or uint8 with one scale."""
    yield from values(tensor, *FLOATS, *BYTES)


def is_per_tensor(tensor: Tensor) -> bool:
    """Whether one scale and zero point hold for the whole tensor."""
    found = tensor.quantization
    if found is None or found.block_size or found.dimension or len(found.scales) != 1:
        return False
    return tensor.dtype != "uint8" or len(found.zero_points) == 1


def channels(tensor: Tensor, dimension: int) -> Refusals:
    """A float, uint8 with one scale, or int8 with one scale or one for each slice along ``dimension``."""
    yield from typed(tensor, *FLOATS, *BYTES)
    found = tensor.quantization
    if tensor.dtype in FLOATS:
        return
    if found is None or found.block_size or (tensor.dtype == "uint8" and not is_per_tensor(tensor)):
        yield Refusal("quantization", f"{tensor.name} has no scale that fits")
    elif len(found.scales) > 1 and found.dimension != dimension:
        yield Refusal("quantization", f"{tensor.name} has scales along dimension {found.dimension}")
    else:
        yield from valid_scales(tensor, found)


def bias(tensor: Tensor) -> Refusals:
    """float32 or float16, or int32 with one scale or one per channel."""
    yield from typed(tensor, *FLOATS, "int32")
    found = tensor.quantization
    if tensor.dtype != "int32":
        return
    if found is None or found.block_size or found.dimension:
        yield Refusal("quantization", f"{tensor.name} has no scale along dimension 0")
    else:
        yield from valid_scales(tensor, found)


def valid_scales(tensor: Tensor, found: Quantization) -> Refusals:
    """Scales are positive normal numbers; zero points fit the type, and are 0 for channels and for 32 bits.

    Source: xnn_validate_quantized_tensor and xnn_validate_channelwise_quantized_tensor, XNNPACK src/tensor.c.
    """
    if not all(is_normal(scale) for scale in found.scales):
        yield Refusal("quantization", f"{tensor.name} has a scale that is no positive normal number")
    low, high = _ZERO_POINTS.get(tensor.dtype, (0, 0)) if len(found.scales) == 1 else (0, 0)
    first = found.zero_points[0] if found.zero_points else 0
    if not low <= first <= high:
        yield Refusal("quantization", f"{tensor.name} has the zero point {first}")


def is_normal(scale: float) -> bool:
    """Whether a scale is a positive normal float32."""
    return math.isfinite(scale) and _SMALLEST_NORMAL <= scale <= _LARGEST


def shaped(tensor: Tensor, least: int, most: int) -> Refusals:
    """The number of dimensions is within limits, and none is empty."""
    if not least <= len(tensor.shape) <= most:
        yield Refusal("shape", f"{tensor.name} has {len(tensor.shape)} dimensions")
    if any(size <= 0 for size in tensor.shape):
        yield Refusal("shape", f"{tensor.name} has an empty dimension")


def any_shape(tensor: Tensor, least: int = 0) -> Refusals:
    """As many dimensions as XNNPACK has room for, none empty."""
    yield from shaped(tensor, least, DIMENSIONS_MOST)


def flat(tensor: Tensor) -> Refusals:
    """One dimension."""
    if len(tensor.shape) != 1:
        yield Refusal("shape", f"{tensor.name} has {len(tensor.shape)} dimensions")


def scale_of(tensor: Tensor) -> float | None:
    """The only scale of an 8-bit tensor; None for all others."""
    if tensor.dtype not in BYTES or not is_per_tensor(tensor) or tensor.quantization is None:
        return None
    return tensor.quantization.scales[0]


def mixed(operator: str, *tensors: Tensor) -> Refusals:
    """All have one type."""
    kinds = sorted({tensor.dtype for tensor in tensors})
    if len(kinds) > 1:
        yield Refusal("mixed-types", f"{operator} of {' and '.join(kinds)}")
