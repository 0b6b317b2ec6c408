"""Which operators to leave in float when a quantized model fails the gate.

PURE. Rules:

1. The error of a tensor is the share of it that quantizing loses: the mean over elements that are not zero of
   |difference| / (|difference| + |value|), 0 to 1. It is bounded and does not ask how large a value is, so one
   channel a thousand times larger than the others, which destroys them, cannot hide it.
2. An operator is to blame for what it adds: the error of its output less the largest error of its inputs. Errors
   accumulate down the graph, so the largest error alone would always blame the end.
3. Outputs with a fixed range are not blamed: int8 holds probabilities in steps of 1/256, which loses small ones by
   design and changes no answer.
4. With quantized activations a tensor stays float only when its writer and all its readers do, so these go together.
   Without, the error comes from the weights of its writer, which goes alone.
5. What is in float stays so; each step adds the worst group that adds something.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contract.profile import Precision
from packager.coverage.graph import NOT_GIVEN, Graph

SUFFERING = 0.01
"""An added error below this is rounding, not a cause (healthy int8 layers of examples/digits add up to 0.03)."""
_FIXED_RANGE = frozenset(("SOFTMAX", "LOGISTIC", "LOG_SOFTMAX", "TANH"))
_WITH_ACTIVATIONS = frozenset((Precision.STATIC_INT8, Precision.STATIC_INT16))
RECOVERABLE = _WITH_ACTIVATIONS | {
    Precision.DYNAMIC_INT8,
    Precision.WEIGHT_ONLY_INT8,
    Precision.WEIGHT_ONLY_INT4,
}
"""Precisions that are made operator by operator."""


@dataclass(frozen=True)
class Step:
    """An operator of the graph.

    Attributes:
        name: As the quantizer knows it: the names of its outputs.
        operator: TFLite's name in upper case; ``INPUT`` for an input of the model.
        inputs: Names of the tensors it reads, without constants.
        outputs: Names of the tensors it writes.
    """

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Blame:
    """What one operator adds to the error, 0 to 1, and the operators that go to float together to undo it."""

    step: Step
    added: float
    group: tuple[str, ...]


@dataclass(frozen=True)
class Ranking:
    """Every operator that can be blamed, worst first, and on how many samples the models were compared."""

    operators: tuple[Blame, ...]
    samples: int


def lost_share(found: npt.ArrayLike, wanted: npt.ArrayLike) -> float:
    """Rule 1.

    Args:
        found: Real values of the quantized model's tensor, any shape.
        wanted: The float model's, as many.

    Returns:
        0 where nothing is lost, 0.5 where all is rounded to zero, up to 1 where values are far off; 1 as well where
        the quantized model gives no finite value.
    """
    reference = np.asarray(wanted, dtype=np.float64).ravel()
    values = np.asarray(found, dtype=np.float64).ravel()
    counted = reference != 0
    if not counted.any():
        return 0.0
    size, difference = np.abs(reference[counted]), np.abs(values[counted] - reference[counted])
    lost = np.where(np.isfinite(difference), difference, np.inf)
    share = np.where(np.isinf(lost), 1.0, lost / (np.where(np.isinf(lost), 0.0, lost) + size))
    return float(share.mean())


def read_steps(graph: Graph) -> list[Step]:
    """The inputs and operators of a model in order; constants are left out."""
    steps = [
        Step(f"{graph.tensors[one].name};", "INPUT", (), (graph.tensors[one].name,)) for one in graph.inputs
    ]
    for node in graph.nodes:
        outputs = tuple(graph.tensors[one].name for one in node.outputs)
        inputs = [graph.tensors[one] for one in node.inputs if one != NOT_GIVEN]
        steps.append(
            Step(
                # As the quantizer names scopes (tfl_flatbuffer_utils.get_op_scope).
                name="".join(f"{name};" for name in outputs if name),
                operator=node.operator,
                inputs=tuple(tensor.name for tensor in inputs if not tensor.is_constant),
                outputs=outputs,
            )
        )
    return steps


def rank(steps: Sequence[Step], errors: Mapping[str, float], precision: Precision) -> list[Blame]:
    """Every operator that can be blamed, worst first; equal ones in the order of the graph.

    Args:
        steps: The graph in order, its inputs first.
        errors: Tensor name to its error; tensors that were not compared are left out.
        precision: How the model was quantized.
    """
    found = []
    for step in steps:
        known = [errors[name] for name in step.outputs if name in errors]
        if not known or step.operator in _FIXED_RANGE:
            continue
        added = max(known) - max((errors.get(name, 0.0) for name in step.inputs), default=0.0)
        found.append(Blame(step, added, _group(step, steps, precision)))
    return sorted(found, key=lambda blame: -blame.added)


def _group(step: Step, steps: Sequence[Step], precision: Precision) -> tuple[str, ...]:
    if precision not in _WITH_ACTIVATIONS:
        return (step.name,)
    readers = [one.name for one in steps if not set(step.outputs).isdisjoint(one.inputs)]
    return (step.name, *readers)


def next_floats(ranking: Sequence[Blame], floats: AbstractSet[str]) -> tuple[str, ...]:
    """The operators to leave in float in the next trial: those that are, and the worst group that adds to them.

    Args:
        ranking: Of the last trial.
        floats: What is in float already.

    Returns:
        Sorted names; empty when no operator to blame is left.
    """
    for blame in ranking:
        if blame.added >= SUFFERING and not floats >= set(blame.group):
            return tuple(sorted({*floats, *blame.group}))
    return ()
