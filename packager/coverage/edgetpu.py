"""Predicts which nodes of a graph the Edge TPU compiler maps to the chip, and where their parameters go.

PURE. Rules:

1. A node is mapped when it keeps every rule of ``packager.coverage.rules.EDGETPU_RULES``; its operation stands in
   table 1 of the source, for the runtime version that is compiled for.
2. There is one partition: the first node that is not supported ends the mapping for all that comes after it. A
   QUANTIZE of the model's float inputs stays on the CPU in front of the partition and ends nothing.
3. Parameters are cached on the chip in the graph's order while they fit; an upper bound, because the compiler also
   keeps its program there and pads weights (in published logs 6.0 to 8.0 MiB were there for parameters).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from packager.coverage.coverage import Coverage, LeftOut, Memory
from packager.coverage.graph import NOT_GIVEN, Graph, Node, Tensor
from packager.coverage.partition import cut
from packager.coverage.rules import EDGETPU_SOURCE, Refusal, Refusals
from packager.coverage.view import View

ON_CHIP_BYTES = 8 << 20
"""SRAM of the chip, "approximately 8 MB" (https://coral.ai/docs/edgetpu/compiler/, parameter data caching)."""

NEWEST_RUNTIME = 14
"""Of the last compiler, 16.0 (https://coral.ai/docs/edgetpu/compiler/, compiler and runtime versions)."""

_PARAMETER_TYPES = frozenset(("int8", "uint8"))
_SOFTMAX_MOST = 16_000  # elements, table 1


class Operation(NamedTuple):
    """A line of the table of supported operations.

    Attributes:
        since: Lowest runtime version; 0 for all.
        limitation: The known limitations, in words; empty for none.
        check: Whether a node keeps them, given the runtime version; None where there is nothing to check.
    """

    since: int
    limitation: str = ""
    check: Callable[[View, int], Refusals] | None = None


def _limit(is_kept: bool, text: str) -> Refusals:  # noqa: FBT001 - reads as a sentence where it stands
    if not is_kept:
        yield Refusal("limitation", text)


def _no_activation(view: View, _: int) -> Refusals:
    yield from _limit(not view.node.number("fused_activation_function"), "a fused activation")


def _concatenation(view: View, runtime: int) -> Refusals:
    yield from _no_activation(view, runtime)
    constants = sum(view.tensor(index).is_constant for index in view.node.inputs)
    yield from _limit(not constants or len(view.node.inputs) == 2, "a constant among more than two inputs")


def _same_dilation(view: View, runtime: int) -> Refusals:
    wide, high = view.node.number("dilation_w_factor", 1), view.node.number("dilation_h_factor", 1)
    yield from _limit(wide == high, "different dilations in x and y")
    if view.node.operator == "DEPTHWISE_CONV_2D" and runtime < 13:
        yield from _limit(wide == 1, "a dilation, before runtime 13")


def _fully_connected(view: View, _: int) -> Refusals:
    yield from _limit(not view.node.number("weights_format"), "another weights format than the default")
    yield from _limit(_is_flat(view.output()), "an output of more than one dimension")


def _axes(view: View) -> set[int]:
    rank = len(view.input(0).shape)
    return {axis % rank for axis in view.input(1).values or ()} if rank else set()


def _reduction(view: View, runtime: int) -> Refusals:
    axes, shape = _axes(view), view.input(0).shape
    yield from _limit(0 not in axes or len(shape) < 4, "a reduction of the batch")
    last = len(shape) - 1
    if view.node.operator != "MEAN" or last not in axes:
        return
    yield from _limit(runtime >= 13, "a reduction of channels, before runtime 13")
    yield from _limit(shape[last] % 4 == 0, f"a reduction of {shape[last]} channels, no multiple of 4")


def _pack(view: View, _: int) -> Refusals:
    yield from _limit(view.node.number("axis") != 0, "packing along the batch")


def _pad(view: View, runtime: int) -> Refusals:
    paddings = view.input(1).values or ()
    pairs = [paddings[start : start + 2] for start in range(0, len(paddings), 2)]
    yield from _limit(len(pairs) < 4 or not any(pairs[0]), "padding of the batch")
    if runtime < 13 and len(pairs) == 4:
        yield from _limit(not any(pairs[3]), "padding of channels, before runtime 13")


def _prelu(view: View, _: int) -> Refusals:
    yield from _limit(_is_flat(view.input(1)), "an alpha of more than one dimension")


def _softmax(view: View, _: int) -> Refusals:
    entering = view.input(0)
    yield from _limit(_is_flat(entering), "an input of more than one dimension")
    yield from _limit(entering.elements <= _SOFTMAX_MOST, f"an input of {entering.elements} elements")


def _split(view: View, _: int) -> Refusals:
    rank = len(view.input(1).shape)
    axis = (view.input(0).values or (0,))[0] % max(rank, 1)
    yield from _limit(axis != 0 or rank < 4, "splitting of the batch")


def _squeeze(view: View, runtime: int) -> Refusals:
    if runtime < 13:
        large = [size != 1 for size in view.input(0).shape]
        yield from _limit(large == sorted(large), "dimensions of 1 behind others, before runtime 13")


def _strided_slice(view: View, _: int) -> Refusals:
    yield from _limit(set(view.input(3).values or (0,)) == {1}, "a stride other than 1")
    yield from _limit(
        not view.node.number("ellipsis_mask") and not view.node.number("new_axis_mask"),
        "an ellipsis or a new axis",
    )


def _is_flat(tensor: Tensor) -> bool:
    return all(size == 1 for size in tensor.shape[:-1])


_ONE_DIRECTION = "unidirectional only"
_NO_ACTIVATION = "no fused activation"
_NO_BATCH = "not along the batch"
OPERATIONS: dict[str, Operation] = {
    "ADD": Operation(0),
    "AVERAGE_POOL_2D": Operation(0, _NO_ACTIVATION, _no_activation),
    "CONCATENATION": Operation(
        0, "no fused activation; a constant input only as one of two, and all zeros", _concatenation
    ),
    "CONV_2D": Operation(0, "the same dilation in x and y", _same_dilation),
    "DEPTHWISE_CONV_2D": Operation(0, "no dilation before 13, then the same in x and y", _same_dilation),
    "EXPAND_DIMS": Operation(13),
    "FULLY_CONNECTED": Operation(0, "default weights format; one-dimensional output", _fully_connected),
    "L2_NORMALIZATION": Operation(0),
    "LOGISTIC": Operation(0),
    "MAXIMUM": Operation(0),
    "MAX_POOL_2D": Operation(0, _NO_ACTIVATION, _no_activation),
    "MEAN": Operation(
        0, "not along the batch; along x and y only before 13, then channels in multiples of 4", _reduction
    ),
    "MINIMUM": Operation(0),
    "MUL": Operation(0),
    "PACK": Operation(13, _NO_BATCH, _pack),
    "PAD": Operation(0, "not the batch; x and y only before 13", _pad),
    "PRELU": Operation(13, "alpha has one dimension", _prelu),
    "QUANTIZE": Operation(13),
    "REDUCE_MAX": Operation(14, _NO_BATCH, _reduction),
    "REDUCE_MIN": Operation(14, _NO_BATCH, _reduction),
    "RELU": Operation(0),
    "RELU6": Operation(0),
    "RELU_N1_TO_1": Operation(0),
    "RESHAPE": Operation(0, "some of large tensors may not be mapped"),
    "RESIZE_BILINEAR": Operation(0, "three dimensions; some sizes may not be mapped, for precision"),
    "RESIZE_NEAREST_NEIGHBOR": Operation(0, "three dimensions; some sizes may not be mapped, for precision"),
    "RSQRT": Operation(14),
    "SLICE": Operation(0),
    "SOFTMAX": Operation(0, f"one dimension, at most {_SOFTMAX_MOST} elements", _softmax),
    "SPACE_TO_DEPTH": Operation(0),
    "SPLIT": Operation(0, "not the batch", _split),
    "SQUARED_DIFFERENCE": Operation(14),
    "SQUEEZE": Operation(0, "before 13 only leading dimensions of 1", _squeeze),
    "STRIDED_SLICE": Operation(0, "strides of 1, no ellipsis and no new axis", _strided_slice),
    "SUB": Operation(0),
    "SUM": Operation(13, _NO_BATCH, _reduction),
    "TANH": Operation(0),
    "TRANSPOSE": Operation(14),
    "TRANSPOSE_CONV": Operation(13),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": Operation(14, _ONE_DIRECTION),
}
"""Table 1 of the source, by TFLite's names."""


def predict_edgetpu(graph: Graph, runtime: int = NEWEST_RUNTIME) -> Coverage:
    """Predict what the Edge TPU compiler maps.

    Args:
        graph: The main graph of a model.
        runtime: Edge TPU runtime version of the board.
    """
    refused = {
        position: refusal
        for position, node in enumerate(graph.nodes)
        if (refusal := next(iter(_refusals(graph, node, runtime)), None)) is not None
    }
    supported = set(range(len(graph.nodes))) - refused.keys()
    ahead = {position for position in refused if _quantizes_input(graph, graph.nodes[position])}
    mapped = _first_partition(graph, supported, ahead)
    for position in supported - mapped:
        refused[position] = Refusal("after", "a node that it waits for is left to the CPU")
    return Coverage(
        delegate="edgetpu",
        nodes_total=len(graph.nodes),
        nodes_delegated=len(mapped),
        partitions=int(bool(mapped)),
        left_out=tuple(
            LeftOut(
                node=position,
                operator=graph.nodes[position].label,
                rule=refused[position].rule,
                detail=refused[position].detail,
            )
            for position in sorted(refused)
        ),
        source=f"{EDGETPU_SOURCE}, runtime {runtime}",
        memory=_memory(graph, mapped),
    )


def computes_float(graph: Graph) -> bool:
    """Whether any operator works on float values; the QUANTIZE and DEQUANTIZE at the model's own border do not count.

    Args:
        graph: The main graph of a model.
    """
    border = {*graph.inputs, *graph.outputs}
    return any(
        graph.tensors[index].dtype.startswith(("float", "bfloat")) and not (is_cast and index in border)
        for node in graph.nodes
        for is_cast in (node.operator in {"QUANTIZE", "DEQUANTIZE"},)
        for index in (*node.inputs, *node.outputs)
        if index != NOT_GIVEN
    )


def _refusals(graph: Graph, node: Node, runtime: int) -> Refusals:
    operation = OPERATIONS.get(node.operator)
    if operation is None:
        yield Refusal("operator", f"{node.label} is not supported")
    else:
        yield from _operation_refusals(graph, node, operation, runtime)


def _operation_refusals(graph: Graph, node: Node, operation: Operation, runtime: int) -> Refusals:
    if runtime < operation.since:
        yield Refusal("runtime", f"{node.operator} needs runtime {operation.since}, the board has {runtime}")
    for index in (*node.inputs, *node.outputs):
        if index != NOT_GIVEN:
            yield from _tensor_refusals(graph.tensors[index])
    yield from _weight_refusals(graph, node)
    if operation.check is not None:
        yield from operation.check(View(graph, node, frozenset(), frozenset()), runtime)


def _tensor_refusals(tensor: Tensor) -> Refusals:
    is_byte = tensor.dtype in _PARAMETER_TYPES and tensor.quantization is not None
    if not is_byte and not (tensor.dtype in {"int32", "int64"} and tensor.is_constant):
        yield Refusal("type", f"{tensor.name} is {tensor.dtype}")
    if tensor.is_dynamic:
        yield Refusal("static", f"{tensor.name} has a free dimension")
    if not tensor.is_constant and any(size > 1 for size in tensor.shape[:-3]):
        yield Refusal("rank", f"{tensor.name} has the shape {tensor.shape}")


def _weight_refusals(graph: Graph, node: Node) -> Refusals:
    places = {
        "CONV_2D": (1, 2),
        "DEPTHWISE_CONV_2D": (1, 2),
        "FULLY_CONNECTED": (1, 2),
        "TRANSPOSE_CONV": (1,),
    }
    for place in places.get(node.operator, ()):
        if place < len(node.inputs) and node.inputs[place] != NOT_GIVEN:
            weights = graph.tensors[node.inputs[place]]
            if not weights.is_constant:
                yield Refusal("constant", f"{weights.name} is computed")


def _quantizes_input(graph: Graph, node: Node) -> bool:
    return node.operator == "QUANTIZE" and set(node.inputs) <= set(graph.inputs)


def _first_partition(graph: Graph, supported: set[int], ahead: set[int]) -> set[int]:
    """Nodes that are reached from the inputs without passing one that is not supported."""
    for part in cut(graph, supported):
        if part.is_delegated:
            return set(part.nodes)
        if not set(part.nodes) <= ahead:
            return set()
    return set()


def _memory(graph: Graph, mapped: set[int]) -> Memory:
    on_chip = off_chip = 0
    seen: set[int] = set()
    for position in sorted(mapped):
        for index in graph.nodes[position].inputs:
            if index in seen or index == NOT_GIVEN:
                continue
            seen.add(index)
            size = graph.tensors[index].constant_bytes
            if on_chip + size <= ON_CHIP_BYTES:
                on_chip += size
            else:
                off_chip += size
    return Memory(on_chip_bytes=on_chip, off_chip_bytes=off_chip)
