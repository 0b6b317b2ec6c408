"""Tensors and one-node graphs for the tests of delegate coverage, without a model file."""

from __future__ import annotations

from typing import Any

from packager.coverage.coverage import Coverage
from packager.coverage.graph import Graph, Node, Quantization, Tensor

ONE_SCALE = Quantization((0.05,), (0,))
IMAGE = (1, 4, 4, 8)


def tensor(shape: tuple[int, ...] = IMAGE, dtype: str = "float32", **changes: Any) -> Tensor:
    """A computed tensor; one of 8 bits has a scale."""
    if dtype in {"int8", "uint8"}:
        changes.setdefault("quantization", ONE_SCALE)
    return Tensor(name=changes.pop("name", "t"), dtype=dtype, shape=shape, **changes)


def constant(shape: tuple[int, ...], dtype: str = "float32", **changes: Any) -> Tensor:
    """A tensor that stands in the file."""
    return tensor(shape, dtype, constant_bytes=changes.pop("constant_bytes", 4), **changes)


def graph(operator: str, inputs: list[Tensor], outputs: list[Tensor], **changes: Any) -> Graph:
    """One node over these tensors."""
    count = len(inputs)
    node = Node(
        operator=operator,
        inputs=changes.pop("indices", tuple(range(count))),
        outputs=tuple(range(count, count + len(outputs))),
        **changes,
    )
    return Graph([*inputs, *outputs], [node], inputs=(0,), outputs=(count,))


def refused(found: Coverage) -> tuple[str, str]:
    """Rule and detail of the only node, which is left out."""
    (one,) = found.left_out
    return one.rule, one.detail
