"""What a delegate really took of a graph.

PURE. Rules:

1. A delegate counts only when the interpreter shows it: an op named ``DELEGATE`` in the list of the private
   ``_get_ops_details()``, the one place where ``Interpreter`` tells.
2. That list keeps the nodes that a delegate replaced. Which ones they are follows from the graph: everything between
   a ``DELEGATE`` op's inputs and its outputs.
3. Nothing is claimed: when the list cannot be had, the delegate that runs is ``none``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from contract.messages import DelegateReport
from contract.profile import DelegateName

DELEGATE_OP = "DELEGATE"


class Op(NamedTuple):
    """One node of the graph: its name, and the indices of the tensors it reads and writes."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def ops_of(details: Iterable[Mapping[str, Any]]) -> list[Op]:
    """The ops from ``_get_ops_details()``: mappings with ``op_name``, ``inputs`` and ``outputs``."""
    return [
        Op(
            str(entry["op_name"]),
            tuple(int(index) for index in entry["inputs"]),
            tuple(int(index) for index in entry["outputs"]),
        )
        for entry in details
    ]


def report_delegate(requested: DelegateName, ops: Sequence[Op]) -> DelegateReport:
    """Compare what was asked for with what the graph shows.

    Args:
        requested: The delegate that the variant is made for.
        ops: All nodes, replaced ones included; empty when the runtime does not tell.
    """
    delegates = [op for op in ops if op.name == DELEGATE_OP]
    nodes = [op for op in ops if op.name != DELEGATE_OP]
    taken: set[int] = set()
    for delegate in delegates:
        taken |= _between(nodes, delegate)
    return DelegateReport(
        requested=requested.value,
        actual=requested.value if delegates else DelegateName.NONE.value,
        nodes_total=len(nodes),
        nodes_delegated=len(taken),
    )


def _between(nodes: Sequence[Op], delegate: Op) -> set[int]:
    """Positions of the nodes on the way back from a delegate's outputs to its inputs."""
    producer = {tensor: position for position, node in enumerate(nodes) for tensor in node.outputs}
    borders = set(delegate.inputs)
    found: set[int] = set()
    wanted = [tensor for tensor in delegate.outputs if tensor not in borders]
    while wanted:
        position = producer.get(wanted.pop())
        if position is None or position in found:
            continue
        found.add(position)
        wanted += [tensor for tensor in nodes[position].inputs if tensor not in borders]
    return found
