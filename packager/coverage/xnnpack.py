"""Predicts which nodes of a graph XNNPACK takes, and in how many parts.

PURE. Rules:

1. The decisions are those of ``Delegate::PrepareOpsToDelegate`` (``packager.coverage.rules.XNNPACK_SOURCE``), with
   the options that LiteRT's interpreter gives by default: signed and unsigned 8 bits, resource variables, no
   computed weights.
2. Nodes that only unpack constant weights go with the nodes that read them.
3. Shapes are those of the file, with 1 in place of free dimensions, as the interpreter starts.
4. Only the main graph counts; bodies of control flow are graphs of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from packager.coverage import elementwise, mediapipe, windows
from packager.coverage.coverage import Coverage, LeftOut
from packager.coverage.graph import NOT_GIVEN, Graph, Node
from packager.coverage.partition import cut
from packager.coverage.rules import XNNPACK_SOURCE, Refusal
from packager.coverage.view import FLOATS, View, floats_or_bytes

CHECKS = {**elementwise.CHECKS, **windows.CHECKS, **mediapipe.CHECKS}
"""Operator to its check, custom ones by ``CUSTOM`` and their name; resource variables are not among them."""

_KEEPS_HALF = frozenset(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"))
_VARIABLE_TENSOR = {"ASSIGN_VARIABLE": "inputs", "READ_VARIABLE": "outputs"}


@dataclass
class _State:
    """What is known while the nodes are visited in order.

    Attributes:
        producers: Tensor unpacked from constants to the node that unpacks it.
        halved: Of these tensors, those that stay float16.
        unpacking: Nodes that unpack, and whose readers are all delegated so far.
        handles: Resource to the node that makes it.
        shapes: Resource to the type and shape of its value.
        refused: Left-out node to why.
    """

    producers: dict[int, int] = field(default_factory=dict)
    halved: set[int] = field(default_factory=set)
    unpacking: set[int] = field(default_factory=set)
    handles: dict[int, int] = field(default_factory=dict)
    shapes: dict[int, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    refused: dict[int, Refusal] = field(default_factory=dict)


def predict_xnnpack(graph: Graph) -> Coverage:
    """Predict what XNNPACK takes of a graph.

    Args:
        graph: The main graph of a model.
    """
    state = _State()
    for position, node in enumerate(graph.nodes):
        if _unpacks(graph, node, state.producers):
            _start_unpacking(graph, position, state)
            continue
        refusal = _refusal(graph, position, state)
        if refusal is not None:
            state.refused[position] = refusal
            _stop_unpacking(node, state)
    for resource, position in state.handles.items():
        if resource in state.shapes:
            del state.refused[position]
    for position in set(state.producers.values()) - state.unpacking:
        state.refused[position] = Refusal("reader", "a node that is left out reads it")
    return _coverage(graph, state.refused)


def _unpacks(graph: Graph, node: Node, producers: Mapping[int, int]) -> bool:
    """Whether a node turns constant weights into others before the first run."""
    if len(node.inputs) != 1 or len(node.outputs) != 1 or NOT_GIVEN in (*node.inputs, *node.outputs):
        return False
    packed, unpacked = graph.tensors[node.inputs[0]], graph.tensors[node.outputs[0]]
    if node.operator == "DEQUANTIZE":
        is_known = packed.dtype == "float16" or (packed.dtype == "int8" and packed.quantization is not None)
        is_static = packed.is_constant or node.inputs[0] in producers
        return is_known and is_static and not packed.is_sparse and unpacked.dtype == "float32"
    return (
        node.operator == "DENSIFY"
        and packed.is_constant
        and packed.is_sparse
        and packed.dtype in {*FLOATS, "int8"}
        and packed.dtype == unpacked.dtype
    )


def _start_unpacking(graph: Graph, position: int, state: _State) -> None:
    node = graph.nodes[position]
    (made,) = node.outputs
    state.producers[made] = position
    state.unpacking.add(position)
    if node.operator == "DEQUANTIZE" and graph.tensors[node.inputs[0]].dtype == "float16":
        readers = [reader for reader in graph.nodes if made in reader.inputs]
        if all(reader.operator in _KEEPS_HALF and reader.inputs[0] != made for reader in readers):
            state.halved.add(made)


def _stop_unpacking(node: Node, state: _State) -> None:
    for index in node.inputs:
        state.unpacking.discard(state.producers.get(index, NOT_GIVEN))


def _refusal(graph: Graph, position: int, state: _State) -> Refusal | None:
    node = graph.nodes[position]
    if node.operator == "VAR_HANDLE":
        state.handles.setdefault(node.output(), position)
        return Refusal("variable", "nothing that is delegated reads or assigns it")
    if node.operator in _VARIABLE_TENSOR:
        return _variable_refusal(graph, node, state)
    check = CHECKS.get(node.label)
    if check is None:
        return Refusal("operator", f"no implementation of {node.label}")
    view = View(graph, node, state.producers.keys(), state.halved)
    return next(iter(check(view)), None)


def _variable_refusal(graph: Graph, node: Node, state: _State) -> Refusal | None:
    is_read = node.operator == "READ_VARIABLE"
    value = graph.tensors[node.output() if is_read else node.input(1)]
    if is_read and not value.shape:
        return Refusal("shape", f"{value.name} has no dimensions")
    refusal = next(iter(floats_or_bytes(value)), None)
    if refusal is not None:
        return refusal
    resource = node.input(0)
    if resource not in state.handles:
        return Refusal("variable", "its handle is not made in this graph")
    if state.shapes.setdefault(resource, (value.dtype, value.shape)) != (value.dtype, value.shape):
        return Refusal("variable", f"{value.name} has another type or shape than the variable")
    return None


def _coverage(graph: Graph, refused: Mapping[int, Refusal]) -> Coverage:
    delegated = set(range(len(graph.nodes))) - refused.keys()
    return Coverage(
        delegate="xnnpack",
        nodes_total=len(graph.nodes),
        nodes_delegated=len(delegated),
        partitions=sum(part.is_delegated for part in cut(graph, delegated)),
        left_out=tuple(
            LeftOut(
                node=position,
                operator=graph.nodes[position].label,
                rule=refused[position].rule,
                detail=refused[position].detail,
            )
            for position in sorted(refused)
        ),
        source=XNNPACK_SOURCE,
    )
