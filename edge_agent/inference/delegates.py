"""What a delegate really took of a graph.

PURE. Rules:

1. A delegate counts only when the interpreter shows it: an op named ``DELEGATE`` in the list of the private
   ``_get_ops_details()``, the one place where ``Interpreter`` tells.
2. That list keeps the nodes that a delegate replaced. Which ones they are follows from the graph: everything between
   a ``DELEGATE`` op's inputs and its outputs.
3. Nothing is claimed: when the list cannot be had, the delegate that runs is ``none``.
4. A model for the processor never fails because a delegate does: it runs without, and the report says why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from contract.delegation import DelegateReport
from contract.profile import DelegateName
from contract.scalars import TEXT_MAX_CHARS
from edge_agent.inference.engine import Engine, ExternalDelegate

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


class Share(NamedTuple):
    """Nodes of a graph, how many of them delegates took, and in how many pieces."""

    total: int
    delegated: int
    partitions: int


def share_of(ops: Sequence[Op]) -> Share:
    """What delegates took of a graph.

    Args:
        ops: All nodes, replaced ones included; empty when the runtime does not tell.
    """
    delegates = [op for op in ops if op.name == DELEGATE_OP]
    nodes = [op for op in ops if op.name != DELEGATE_OP]
    taken: set[int] = set()
    for delegate in delegates:
        taken |= _between(nodes, delegate)
    return Share(len(nodes), len(taken), len(delegates) if taken else 0)


class Attempt(NamedTuple):
    """One way to load a model: with a delegate in a library of its own, and with or without XNNPACK."""

    delegate: ExternalDelegate | None
    has_xnnpack: bool


class Plan(NamedTuple):
    """What a model is asked to run on, the ways to load it in order, and why the best way is not among them."""

    requested: str
    attempts: tuple[Attempt, ...]
    reason: str = ""


def plan_attempts(made_for: DelegateName, engine: Engine) -> Plan:
    """How a model is to be loaded.

    A model for the processor is tried on every delegate that was configured and survived, then without. One that was
    made for something else runs on that or not at all.
    """
    if made_for is DelegateName.EDGETPU:
        fitting = tuple(Attempt(each, engine.has_xnnpack) for each in engine.externals if each.is_edgetpu)
        return Plan(made_for.value, fitting, engine.why_lost(made_for.value))
    others = [each for each in engine.externals if not each.is_edgetpu]
    lost = [each for each in engine.lost if each.name not in _OWN]
    wanted = [each.name for each in others] or [each.name for each in lost]
    reason = "" if others or not lost else lost[0].reason
    attempts = tuple(Attempt(each, engine.has_xnnpack) for each in others)
    if made_for is DelegateName.EXTERNAL:
        return Plan(wanted[0] if wanted else made_for.value, attempts, reason)
    if not wanted:
        wanted = [made_for.value]
        reason = engine.why_lost(made_for.value)
    on_cpu = Attempt(None, has_xnnpack=engine.has_xnnpack and made_for is DelegateName.XNNPACK)
    return Plan(wanted[0], (*attempts, on_cpu), reason)


_OWN = frozenset({DelegateName.XNNPACK.value, DelegateName.EDGETPU.value})


def report_delegate(
    requested: str, ops: Sequence[Op], *, loaded: str = "", early: Sequence[Op] = (), reason: str = ""
) -> DelegateReport:
    """Compare what was asked for with what the graph shows.

    Args:
        requested: The delegate that was asked for.
        ops: All nodes once tensors were allocated, replaced ones included; empty when the runtime does not tell.
        loaded: The delegate that was loaded from a library; empty for none.
        early: All nodes before tensors were allocated. XNNPACK joins in only then, so what is delegated here was
            taken by ``loaded``.
        reason: Why something else may run, where that is known.
    """
    first, last = share_of(early), share_of(ops)
    if loaded and first.delegated:
        actual, share = loaded, first
    else:
        actual, share = (DelegateName.XNNPACK if last.delegated else DelegateName.NONE).value, last
    if actual == requested:
        reason = ""
    elif not reason:
        reason = f"{loaded or requested} took no node of this model"
    return DelegateReport(
        requested=requested,
        actual=actual,
        nodes_total=share.total,
        nodes_delegated=share.delegated,
        partitions=share.partitions,
        reason=reason[:TEXT_MAX_CHARS],
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
