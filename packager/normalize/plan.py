"""What of a model is brought into another form before it is quantized, and how its entry point is named.

PURE. Rules:

1. A signature is made when there is none: calibration and static recipes address inputs by its names.
2. A constant that operators only reach through DEQUANTIZE or DENSIFY is stored as what they give, float32: the
   quantizer sees the operators' weights as computed values otherwise, and leaves them without a word.
3. A free first dimension of every input is the batch, and is pinned. A free dimension elsewhere is not: which size it
   should have is the author's to say. An input of one free dimension is a sequence and has no batch.
4. With a pinned batch, integers that operators compute from shapes alone are constants, and are stored as such.
5. Operator codes stand in the field of today. Files from before 2020 have them in the deprecated one alone; the
   quantizer reads only the newer one, takes every operator for ADD, and writes files that do not load.
6. Quantized constants stay as they are: litefleet does not repair what another tool rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FREE = -1
SIGNATURE_KEY = "serving_default"
"""TensorFlow's name of a model's only entry point (``DEFAULT_SERVING_SIGNATURE_DEF_KEY``)."""
STORED_FORMS = frozenset(("DEQUANTIZE", "DENSIFY"))
"""Operators that turn a stored form of a constant into the one that is computed with."""
FLOAT_FORMS = frozenset(("float16", "float32"))
SHAPE_ARITHMETIC = frozenset((
    "ADD", "BROADCAST_ARGS", "CAST", "CONCATENATION", "DIV", "EXPAND_DIMS", "FLOOR_DIV", "FLOOR_MOD", "GATHER",
    "MAXIMUM", "MINIMUM", "MUL", "PACK", "RANK", "REDUCE_PROD", "RESHAPE", "SHAPE", "SLICE", "SQUEEZE",
    "STRIDED_SLICE", "SUB", "SUM", "UNPACK",
))  # fmt: skip
"""Operators from which converters build the shape that a RESHAPE or BROADCAST_TO is given at run time."""
SHAPE_ONLY = frozenset(("SHAPE", "RANK"))
"""Of these, the ones that look at the shape of their input and not at its values."""
SHAPE_ELEMENTS_MOST = 1024
DATA_DEPENDENT = frozenset((
    "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "RANGE", "UNIQUE", "WHERE", "IF", "WHILE", "CALL",
    "STABLEHLO_WHILE",
))  # fmt: skip
"""Operators whose outputs have shapes that depend on values: there a free dimension need not be the batch."""
_PREFIX, _SUFFIX = "serving_default_", ":0"
_NAME_MOST_CHARS = 200


def pinned_shape(shape: Sequence[int], free: Sequence[int], batch: int) -> tuple[int, ...] | None:
    """The shape of an input with its batch pinned; None when there is nothing to pin, or more than the batch is free.

    Args:
        shape: As stored, free dimensions with the size that the converter put there.
        free: The shape with -1 for free dimensions; empty when there is none.
        batch: What the batch becomes.
    """
    if len(free) < 2 or len(free) != len(shape) or free[0] != FREE or FREE in free[1:]:
        return None
    return (batch, *free[1:])


def signature_names(tensors: Sequence[str], kind: str) -> tuple[str, ...]:
    """Names for a signature's inputs or outputs, from their tensors' names; each once.

    Args:
        tensors: The tensors' names.
        kind: ``input`` or ``output``: what a tensor without a name is called.
    """
    names: list[str] = []
    for position, tensor in enumerate(tensors):
        plain = tensor.removeprefix(_PREFIX).removesuffix(_SUFFIX)[:_NAME_MOST_CHARS] or f"{kind}_{position}"
        name, count = plain, 1
        while name in names:
            name, count = f"{plain}_{count}", count + 1
        names.append(name)
    return tuple(names)


@dataclass(frozen=True)
class Changes:
    """What is done to a model.

    Attributes:
        codes: How many operator codes are brought into the field of today.
        half: How many float16 constants become float32.
        sparse: How many sparse constants become dense.
        batch: What the batch is pinned to; 0 when it is not.
        shapes: How many operators that compute shapes become constants.
        signature: Number of inputs and outputs of the entry point that is made; None when it has one.
    """

    codes: int = 0
    half: int = 0
    sparse: int = 0
    batch: int = 0
    shapes: int = 0
    signature: tuple[int, int] | None = None

    def texts(self) -> tuple[str, ...]:
        """One text for each, for people; empty when there are none."""
        made = []
        if self.signature:
            inputs, outputs = self.signature
            made.append(f"signature made from {_count(inputs, 'input')} and {_count(outputs, 'output')}")
        if self.half:
            made.append(f"{_count(self.half, 'float16 constant')} unfolded to float32")
        if self.sparse:
            made.append(f"{_count(self.sparse, 'sparse constant')} made dense")
        if self.batch:
            made.append(f"free batch pinned to {self.batch}")
        if self.shapes:
            made.append(f"{_count(self.shapes, 'operator')} on shapes made constant")
        if self.codes:
            made.append(f"{_count(self.codes, 'operator code')} of the old form renewed")
        return tuple(made)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
