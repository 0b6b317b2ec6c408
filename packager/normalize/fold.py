"""Replaces operators of the main graph that always give the same by what they give.

Guarantees: values come from the caller, who lets LiteRT compute them, so nothing is decoded twice in two ways. Which
operators may go is decided in ``packager.normalize.plan``. Tensors that nobody reads any more are left behind for
``packager.normalize.compact``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from packager.normalize.plan import (
    FLOAT_FORMS,
    SHAPE_ARITHMETIC,
    SHAPE_ELEMENTS_MOST,
    SHAPE_ONLY,
    STORED_FORMS,
)
from packager.runtime.objects import constant_of, make_buffer, operator_name, type_name

_INTEGERS = frozenset(("int32", "int64"))


@dataclass
class Folding:
    """Operators that always give the same.

    Attributes:
        positions: In the main graph.
        unfolded: Operator that turns a stored form of a constant into another, and that constant.
        shapes: How many compute with shapes.
        constants: Tensors that are constant, or will be.
    """

    positions: list[int] = field(default_factory=list)
    unfolded: set[tuple[str, int]] = field(default_factory=set)
    shapes: int = 0
    constants: set[int] = field(default_factory=set)

    def count(self, operator: str) -> int:
        """How many constants an operator unfolds."""
        return sum(name == operator for name, _ in self.unfolded)


def find_foldable(model: Any, *, is_pinned: bool) -> Folding:
    """Find operators that can be replaced, in the order of the graph.

    Args:
        model: ``ModelT``.
        is_pinned: Whether shapes are fixed now, so that what is computed from them may be folded.
    """
    graph = model.subgraphs[0]
    found = Folding()
    found.constants = {
        index for index, tensor in enumerate(graph.tensors) if constant_of(model, tensor) is not None
    }
    borders = set(_present(graph.outputs))
    for position, operator in enumerate(graph.operators):
        name = operator_name(model, operator)
        inputs, outputs = _present(operator.inputs), _present(operator.outputs)
        if not inputs or not outputs or borders & set(outputs):
            continue
        if name in STORED_FORMS and inputs[0] in found.constants:
            if not all(type_name(graph.tensors[index]) in FLOAT_FORMS for index in (inputs[0], *outputs)):
                continue
            found.unfolded.add((name, inputs[0]))
        elif is_pinned and _is_shape_arithmetic(graph, name, inputs, outputs, found.constants):
            found.shapes += 1
        else:
            continue
        found.positions.append(position)
        found.constants.update(outputs)
    return found


def _is_shape_arithmetic(
    graph: Any, name: str, inputs: list[int], outputs: list[int], constants: set[int]
) -> bool:
    if name not in SHAPE_ARITHMETIC:
        return False
    if name not in SHAPE_ONLY and not constants.issuperset(inputs):
        return False
    tensors = [graph.tensors[index] for index in outputs]
    return all(
        type_name(tensor) in _INTEGERS and _elements(tensor) <= SHAPE_ELEMENTS_MOST for tensor in tensors
    )


def _elements(tensor: Any) -> int:
    return int(np.prod(tensor.shape, dtype=np.int64)) if _present(tensor.shape) else 1


def fold(model: Any, folding: Folding, value: Callable[[int], npt.NDArray[Any]]) -> None:
    """Replace the operators.

    Args:
        model: ``ModelT``; changed.
        folding: What ``find_foldable`` found in it.
        value: Gives what a tensor of the main graph holds.
    """
    graph = model.subgraphs[0]
    gone = [graph.operators[position] for position in folding.positions]
    alias = _aliases(model, gone)
    made = {index for operator in gone for index in _present(operator.outputs)}
    positions = set(folding.positions)
    graph.operators = [one for position, one in enumerate(graph.operators) if position not in positions]
    read: set[int] = set()
    for operator in graph.operators:
        operator.inputs = [alias.get(index, index) for index in _present(operator.inputs)]
        read.update(operator.inputs)
    for index in sorted(made & read):
        _make_constant(model, graph.tensors[index], value(index))


def _aliases(model: Any, operators: Iterable[Any]) -> dict[int, int]:
    """Where two operators unfold the same constant: the output that stands for both."""
    first: dict[int, int] = {}
    alias: dict[int, int] = {}
    for operator in operators:
        if operator_name(model, operator) in STORED_FORMS:
            source, output = int(operator.inputs[0]), int(operator.outputs[0])
            alias[output] = first.setdefault(alias.get(source, source), output)
    return alias


def _make_constant(model: Any, tensor: Any, value: npt.NDArray[Any]) -> None:
    tensor.buffer = len(model.buffers)
    model.buffers.append(make_buffer(np.ascontiguousarray(value).tobytes()))
    tensor.shape = list(value.shape)
    tensor.shapeSignature = None
    tensor.sparsity = None


def _present(vector: Any) -> list[int]:
    """A vector of the schema, which is None when it is empty."""
    return [] if vector is None else [int(index) for index in vector]
