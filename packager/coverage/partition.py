"""How TFLite cuts a graph into parts that run on a delegate and parts that do not.

PURE. Rules:

1. The source is PartitionGraphIntoIndependentNodeSubsetsImpl of google-ai-edge/LiteRT, tflite/graph_info.cc: a part
   takes every node of its kind whose inputs are there, also past nodes of the other kind; the first node that
   is ready starts the next part and decides its kind.
2. Nodes with side effects (resources, control flow) keep their order among themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from packager.coverage.graph import NOT_GIVEN, Graph, Node

_CONTROL_FLOW = frozenset(("IF", "WHILE", "CALL_ONCE"))


@dataclass(frozen=True)
class Part:
    """Nodes that run together: their positions, and whether the delegate runs them."""

    is_delegated: bool
    nodes: tuple[int, ...]


def cut(graph: Graph, delegated: AbstractSet[int]) -> list[Part]:
    """Cut a graph into parts, in the order they run.

    Args:
        graph: The graph.
        delegated: Positions of the nodes that the delegate takes.
    """
    computed = {index for node in graph.nodes for index in node.outputs}
    ready = set(range(len(graph.tensors))) - computed | {NOT_GIVEN}
    waits_for = _side_effect_order(graph)
    left = list(range(len(graph.nodes)))
    done: set[int] = set()
    parts: list[Part] = []
    while left:
        kind, nodes = _next_part(graph.nodes, delegated, left, ready, done, waits_for)
        if not nodes:
            break  # a graph whose nodes wait for each other, which no runtime loads
        parts.append(Part(kind, tuple(nodes)))
        left = [position for position in left if position not in done]
    return parts


def _next_part(
    nodes: Sequence[Node],
    delegated: AbstractSet[int],
    left: Sequence[int],
    ready: set[int],
    done: set[int],
    waits_for: dict[int, int],
) -> tuple[bool, list[int]]:
    kind: bool | None = None
    taken: list[int] = []
    is_moving = True
    while is_moving:
        is_moving = False
        for position in left:
            if position in done or not ready.issuperset(nodes[position].inputs):
                continue
            if position in waits_for and waits_for[position] not in done:
                continue
            kind = position in delegated if kind is None else kind
            if kind is (position in delegated):
                ready.update(nodes[position].outputs)
                done.add(position)
                taken.append(position)
                is_moving = True
    return bool(kind), taken


def _side_effect_order(graph: Graph) -> dict[int, int]:
    """Position of a node with side effects to that of the one before it."""
    order = [position for position, node in enumerate(graph.nodes) if _has_side_effect(graph, node)]
    return dict(zip(order[1:], order[:-1], strict=True))


def _has_side_effect(graph: Graph, node: Node) -> bool:
    touched = (index for index in (*node.inputs, *node.outputs) if index != NOT_GIVEN)
    return node.operator in _CONTROL_FLOW or any(graph.tensors[i].dtype == "resource" for i in touched)
