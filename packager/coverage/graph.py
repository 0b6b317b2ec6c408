"""The operators and tensors of a model file, as the predictions of delegate coverage need them.

PURE. Rules:

1. Everything stands here as the file says it; nothing is corrected or inferred.
2. Values are kept of small integer constants only (axes, shapes, paddings): weights are never looked at.
3. A node without an input or output that its operator cannot do without makes the model a damaged one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from contract.errors import ManifestError

NOT_GIVEN = -1
"""Index of an optional tensor that is left out (kTfLiteOptionalTensor)."""


@dataclass(frozen=True)
class Quantization:
    """How integers stand for real values: real = (stored - zero point) * scale.

    Attributes:
        scales: One per tensor or one per slice along ``dimension``.
        zero_points: As many, or one for all.
        dimension: Of the scales, when there are several.
        block_size: Elements that share a scale; 0 when the scales do not belong to blocks.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    dimension: int = 0
    block_size: int = 0


@dataclass(frozen=True)
class Tensor:
    """One tensor of a graph.

    Attributes:
        name: For people.
        dtype: TFLite's type in lower case.
        shape: As the file says; () for a scalar.
        quantization: None when its values are what they are.
        constant_bytes: Size of its data in the file; 0 for what is computed.
        values: Of small int32 and int64 constants; None for all others.
        is_sparse: Whether it is stored in a sparse format.
        is_variable: Whether it keeps its value between runs.
        is_dynamic: Whether a dimension is free (-1 in the shape signature).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    quantization: Quantization | None = None
    constant_bytes: int = 0
    values: tuple[int, ...] | None = None
    is_sparse: bool = False
    is_variable: bool = False
    is_dynamic: bool = False

    @property
    def is_constant(self) -> bool:
        """Whether the file holds its data (allocation type kTfLiteMmapRo)."""
        return self.constant_bytes > 0

    @property
    def elements(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Node:
    """One operator of a graph.

    Attributes:
        operator: TFLite's name in upper case, ``CUSTOM`` for what is none of its own.
        inputs: Indices of tensors; -1 for one that is left out.
        outputs: Indices of tensors.
        options: Names as in schema.fbs, in snake case; empty when the file has none.
        custom: Name of a custom operator.
        custom_options: Its options, in a form of its own.
        version: Of the operator.
    """

    operator: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, object] = field(default_factory=dict)
    custom: str = ""
    custom_options: bytes = b""
    version: int = 1

    @property
    def label(self) -> str:
        """The operator's name, for a custom one with its own."""
        return f"{self.operator} {self.custom}" if self.custom else self.operator

    def input(self, position: int) -> int:
        """Index of an input.

        Raises:
            ManifestError: There are not so many.
        """
        return self._operand(self.inputs, position, "input")

    def output(self, position: int = 0) -> int:
        """Index of an output.

        Raises:
            ManifestError: There are not so many.
        """
        return self._operand(self.outputs, position, "output")

    def _operand(self, indices: tuple[int, ...], position: int, what: str) -> int:
        if position >= len(indices):
            raise ManifestError(f"it is damaged: {self.label} has no {what} {position}")
        return indices[position]

    def number(self, name: str, default: float = 0) -> float:
        """An option that is a number; ``default`` when the file does not have it."""
        value = self.options.get(name, default)
        return float(value) if isinstance(value, int | float) else default


@dataclass(frozen=True)
class Graph:
    """The main graph of a model.

    Attributes:
        tensors: By index.
        nodes: In the order they run.
        inputs: Indices of tensors.
        outputs: Indices of tensors.
        graphs: How many graphs the model has; the others are bodies of control flow.
    """

    tensors: Sequence[Tensor]
    nodes: Sequence[Node]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    graphs: int = 1
