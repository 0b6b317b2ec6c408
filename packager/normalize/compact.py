"""Drops what nothing in a model refers to any more: tensors, buffers, operator codes.

Guarantees: what is kept keeps its order, so the same model gives the same bytes. Without this a constant that was
unfolded would stay in the file beside its new form.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_ABSENT = -1  # stands for an optional tensor that is left out


def compact(model: Any) -> None:
    """Drop tensors, operator codes and buffers that are not referred to.

    Args:
        model: ``ModelT``; changed.
    """
    for position, graph in enumerate(model.subgraphs):
        entries = [
            entry
            for signature in model.signatureDefs or []
            if signature.subgraphIndex == position
            for entry in [*(signature.inputs or []), *(signature.outputs or [])]
        ]
        _compact_tensors(graph, entries)
    _compact_codes(model)
    _compact_buffers(model)


def _compact_tensors(graph: Any, entries: list[Any]) -> None:
    used = {*_numbers(graph.inputs), *_numbers(graph.outputs), *(int(entry.tensorIndex) for entry in entries)}
    for operator in graph.operators or []:
        used.update(_numbers(operator.inputs), _numbers(operator.outputs), _numbers(operator.intermediates))
    place = _places(used - {_ABSENT})
    graph.tensors = [graph.tensors[index] for index in place]
    place[_ABSENT] = _ABSENT
    graph.inputs = [place[index] for index in _numbers(graph.inputs)]
    graph.outputs = [place[index] for index in _numbers(graph.outputs)]
    for operator in graph.operators or []:
        operator.inputs = [place[index] for index in _numbers(operator.inputs)]
        operator.outputs = [place[index] for index in _numbers(operator.outputs)]
        operator.intermediates = [place[index] for index in _numbers(operator.intermediates)] or None
    for entry in entries:
        entry.tensorIndex = place[int(entry.tensorIndex)]


def _compact_codes(model: Any) -> None:
    operators = [operator for graph in model.subgraphs for operator in graph.operators or []]
    place = _places(int(operator.opcodeIndex) for operator in operators)
    model.operatorCodes = [model.operatorCodes[index] for index in place]
    for operator in operators:
        operator.opcodeIndex = place[int(operator.opcodeIndex)]


def _compact_buffers(model: Any) -> None:
    owners = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    owners += model.metadata or []
    # The first buffer stands for "no constant" (schema.fbs, Model.buffers).
    place = _places({0, *(int(owner.buffer) for owner in owners)})
    model.buffers = [model.buffers[index] for index in place]
    # A deprecated list of the same places; readers of today look at metadata only.
    model.metadataBuffer = None
    for owner in owners:
        owner.buffer = place[int(owner.buffer)]


def _places(used: Iterable[int]) -> dict[int, int]:
    return {index: position for position, index in enumerate(sorted(set(used)))}


def _numbers(vector: Any) -> list[int]:
    return [] if vector is None else [int(index) for index in vector]
