"""What XNNPACK really takes of a model on this machine.

Guarantees: counted from the interpreter's own list of nodes. Does not catch crashes: bytes that nobody vouches for
are run in a child process first (``packager.probe``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ai_edge_litert.interpreter import Interpreter, OpResolverType

from contract.errors import RuntimeLoadError
from packager.quiet import native_output_hidden

_DELEGATE = "DELEGATE"


@dataclass(frozen=True)
class Delegation:
    """What the interpreter shows after it made itself ready.

    Attributes:
        nodes_total: Nodes of the main graph.
        nodes_delegated: Of these, replaced by the delegate.
        partitions: In how many parts.
    """

    nodes_total: int
    nodes_delegated: int
    partitions: int


def measure_delegation(content: bytes) -> Delegation:
    """Load a model with XNNPACK and count.

    Args:
        content: The .tflite file.

    Raises:
        RuntimeLoadError: LiteRT refuses it.
    """
    try:
        with native_output_hidden():
            interpreter: Any = Interpreter(
                model_content=content,
                num_threads=1,
                experimental_op_resolver_type=OpResolverType.BUILTIN,
            )
            interpreter.allocate_tensors()
            # The one place where the interpreter tells; the list keeps the nodes that were replaced.
            details = list(interpreter._get_ops_details())  # noqa: SLF001 - there is no public way
    except (ValueError, RuntimeError) as error:
        raise RuntimeLoadError(f"LiteRT does not load the model: {error}") from error
    nodes = [entry for entry in details if entry["op_name"] != _DELEGATE]
    delegates = [entry for entry in details if entry["op_name"] == _DELEGATE]
    taken: set[int] = set()
    for delegate in delegates:
        taken |= _between(nodes, delegate["inputs"], delegate["outputs"])
    return Delegation(len(nodes), len(taken), len(delegates))


def _between(nodes: Sequence[Any], inputs: Iterable[int], outputs: Iterable[int]) -> set[int]:
    """Positions of the nodes on the way back from a delegate's outputs to its inputs."""
    producer = {int(tensor): position for position, node in enumerate(nodes) for tensor in node["outputs"]}
    borders = {int(tensor) for tensor in inputs}
    found: set[int] = set()
    wanted = [int(tensor) for tensor in outputs if int(tensor) not in borders]
    while wanted:
        position = producer.get(wanted.pop())
        if position is None or position in found:
            continue
        found.add(position)
        wanted += [int(tensor) for tensor in nodes[position]["inputs"] if int(tensor) not in borders]
    return found
