"""Every rule of lint: its code, how bad it is, what it says, and what to do.

PURE. Rules:

1. A code is never used again for something else; ``docs/reference/lint.md`` lists them all, which a test compares.
2. An error means that packing cannot give anything of use; it stops. A warning means that it may disappoint. A note
   tells what packing does by itself.
"""

from __future__ import annotations

import enum

import msgspec


class Severity(str, enum.Enum):
    """How bad it is."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Rule(msgspec.Struct, frozen=True):
    """One rule: severity, what it is about, and what to do."""

    severity: Severity
    title: str
    remedy: str


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
RULES: dict[str, Rule] = {
    "LF001": Rule(
        _E, "weights that are not finite", "train again from the last checkpoint without NaN, and export that"
    ),
    "LF002": Rule(
        _E,
        "a model that the runtime does not load",
        "export it with TFLite's own operators only, and copy the file whole",
    ),
    "LF003": Rule(_E, "weights that are quantized already", "give the float32 model that it was made from"),
    "LF004": Rule(
        _E, "free dimensions other than the batch", "export the model with a fixed input size, only the batch free"
    ),
    "LF005": Rule(
        _W,
        "values of different ranges in one tensor",
        "export them as outputs of their own, or bring them to one range in the graph (boxes from 0 to 1)",
    ),
    "LF006": Rule(
        _W,
        "operators without an int8 form",
        "replace them where there is another (RELU6 for PRELU), or expect them to stay float, which costs time",
    ),
    "LF007": Rule(
        _W,
        "float in or out on an Edge TPU profile",
        "put static-int8 into the profile's ladder, and give the float model: its border becomes integers",
    ),
    "LF008": Rule(
        _W, "inputs that are not calibrated", "give --calibration FOLDER with inputs as they come from the field"
    ),
    "LF009": Rule(_W, "too few calibration inputs", "give 100 to 500 that look like the field"),
    "LF010": Rule(_W, "calibration inputs of one class", "take inputs of every class, as often as the field has them"),
    "LF011": Rule(
        _E,
        "larger than the memory budget in every precision of the ladder",
        "train a smaller model, or raise budgets.peak_memory_bytes if the board has room",
    ),
    "LF012": Rule(_N, "larger than the memory budget in some precisions", "nothing: the others are packed"),
    "LF013": Rule(_N, "normalised before anything else", "nothing: outputs are compared with the original's"),
    "LF014": Rule(
        _N,
        "sparse weights become dense",
        "compare the sizes: int8 keeps no sparse form, so a pruned model's file may grow",
    ),
    "LF015": Rule(
        _W,
        "tensors with the same name",
        "export the model again: the quantizer takes no precision of it but float32",
    ),
}  # fmt: skip
