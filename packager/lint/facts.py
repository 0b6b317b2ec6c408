"""What lint knows of a model, its calibration inputs and its outputs.

PURE. Rules:

1. Facts hold what was found and no judgement; they cross from the child process that reads the file.
"""

from __future__ import annotations

import msgspec


class Border(msgspec.Struct, frozen=True, kw_only=True):
    """An input or output.

    Attributes:
        name: Of its tensor.
        shape: -1 for free.
        dtype: TFLite's type in lower case.
        producer: Operator that computes an output, seen through RESHAPE; empty for an input.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    producer: str = ""


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a model file says of itself.

    Attributes:
        inputs: In the order of the main graph.
        outputs: In the order of the main graph.
        operators: Float operators of the main graph: TFLite's name in upper case to how many.
        not_finite: Names of constants that hold NaN or infinities.
        double_names: Names that several tensors of the main graph have.
        quantized: How many constants hold integers that stand for real values.
        refused: Why LiteRT or normalising refuses it; empty when they do not.
        changes: What normalising does to it.
        sparse: How many constants are stored sparse.
        constant_bytes: Of the normalised model.
        arena_bytes: Of intermediate values, when the most of them are alive.
    """

    inputs: tuple[Border, ...]
    outputs: tuple[Border, ...]
    operators: dict[str, int]
    not_finite: tuple[str, ...] = ()
    double_names: tuple[str, ...] = ()
    quantized: int = 0
    refused: str = ""
    changes: tuple[str, ...] = ()
    sparse: int = 0
    constant_bytes: int = 0
    arena_bytes: int = 0


class CalibrationFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What calibration has to offer.

    Attributes:
        samples: How many inputs.
        classes: Names of the class folders they stand in; empty when they stand in none.
        is_constant: Whether every value of every input is the same.
    """

    samples: int
    classes: tuple[str, ...] = ()
    is_constant: bool = False


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """Lowest and highest value of each column of an output, over some calibration inputs.

    Attributes:
        output: The output.
        low: One per column.
        high: One per column.
    """

    output: Border
    low: tuple[float, ...]
    high: tuple[float, ...]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that the rules look at.

    Attributes:
        model: The file.
        calibration: None when no calibration inputs are given.
        columns: Of every output whose columns mean something; empty without calibration inputs.
    """

    model: ModelFacts
    calibration: CalibrationFacts | None = None
    columns: tuple[Columns, ...] = ()
