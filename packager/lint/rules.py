"""Judges facts by the rules.

PURE. Rules:

1. A finding says what was found in the words of the file: names, numbers, profiles.
2. What an error makes pointless is not said: a model that does not load has no coarse outputs.
3. Rules about a board apply to the profiles given; without any, those about int8 apply to every board.
4. Memory is judged by a bound that no form of the model can be below, so an error is certain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from contract.profile import DelegateName, Precision, Profile
from packager.lint.facts import Columns, Facts, ModelFacts
from packager.lint.ranges import INT8_STEPS, coarse_columns
from packager.lint.table import RULES, Severity

CALIBRATION_LEAST = 100
"""Google's guide to post-training quantization asks for 100 to 500 samples
(https://ai.google.dev/edge/litert/models/post_training_quantization)."""
INT8_OPERATORS = frozenset((
    "ADD", "AVERAGE_POOL_2D", "BATCH_MATMUL", "BROADCAST_TO", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DIV",
    "DYNAMIC_UPDATE_SLICE", "EQUAL", "FULLY_CONNECTED", "GATHER", "GATHER_ND", "GELU", "HARD_SWISH", "LOGISTIC",
    "MAXIMUM", "MAX_POOL_2D", "MEAN", "MIRROR_PAD", "MUL", "NOT_EQUAL", "PACK", "PAD", "PADV2", "REDUCE_MIN", "RELU",
    "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SELECT", "SELECT_V2", "SLICE", "SOFTMAX",
    "SPACE_TO_DEPTH", "SPLIT", "SQRT", "SQUARED_DIFFERENCE", "STABLEHLO_COMPOSITE", "STRIDED_SLICE", "SUB", "SUM",
    "TANH", "TRANSPOSE", "TRANSPOSE_CONV", "UNPACK",
))  # fmt: skip
"""Operators that static-int8 computes in int8: litert-quantizer 0.11, ``default_policy.py``, ``static_wi8_ai8``. It
writes only forms that TFLite has int8 kernels for; a test compares this table with it. Everything else stays float
between a DEQUANTIZE and a QUANTIZE."""
ONE_RANGE = frozenset(("SOFTMAX", "LOGISTIC", "TANH", "L2_NORMALIZATION", "LOG_SOFTMAX"))
"""Operators whose values are of one range by construction: a column that hardly moves belongs to a rare class."""
_STATIC = frozenset((Precision.STATIC_INT8, Precision.STATIC_INT16))
_WEIGHT_SHARE: dict[Precision, float] = {
    Precision.STATIC_INT8: 1 / 4,
    Precision.STATIC_INT16: 1 / 4,
    Precision.DYNAMIC_INT8: 1 / 4,
    Precision.WEIGHT_ONLY_INT8: 1 / 4,
    Precision.WEIGHT_ONLY_INT4: 1 / 8,
    Precision.FLOAT16: 1 / 2,
    Precision.FLOAT32: 1.0,
}
_VALUE_SHARE = {Precision.STATIC_INT8: 1 / 4, Precision.STATIC_INT16: 1 / 2}
_COPIES = 2  # the file, and the layout that XNNPACK packs weights into (packager.runtime.flatbuffer)
_SHOWN = 5


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was found.

    Attributes:
        code: Of the rule.
        severity: Of the rule.
        message: What was found.
        remedy: What to do.
    """

    code: str
    severity: Severity
    message: str
    remedy: str

    def text(self) -> str:
        """Code, what was found, and what to do."""
        return f"{self.code}: {self.message} - {self.remedy}"

    def line(self) -> str:
        """All of it in one line."""
        return f"{self.severity.value} {self.text()}"


def lint(facts: Facts, profiles: Sequence[Profile]) -> tuple[Finding, ...]:
    """Judge a model before any work is done.

    Args:
        facts: What is known.
        profiles: Boards it is to be packed for; may be empty.

    Returns:
        Findings, errors first, then in the order of their codes.
    """
    found = [_finding(code, message) for code, message in _messages(facts, profiles)]
    order = list(Severity)
    return tuple(sorted(found, key=lambda one: (order.index(one.severity), one.code)))


def _finding(code: str, message: str) -> Finding:
    rule = RULES[code]
    return Finding(code=code, severity=rule.severity, message=message, remedy=rule.remedy)


def _messages(facts: Facts, profiles: Sequence[Profile]) -> Iterator[tuple[str, str]]:
    model = facts.model
    if model.not_finite:
        yield "LF001", f"{_list(model.not_finite)} hold NaN or infinities"
    if model.refused:
        yield "LF002", model.refused
    yield from _form_messages(model)
    yield from _edgetpu_messages(model, profiles)
    if model.refused or model.quantized:
        return
    wants_static = not profiles or any(_STATIC & set(profile.ladder) for profile in profiles)
    if wants_static:
        yield from _static_messages(facts)
    yield from _memory_messages(model, profiles)


def _form_messages(model: ModelFacts) -> Iterator[tuple[str, str]]:
    if model.quantized:
        yield "LF003", f"{model.quantized} constants are quantized"
    for border in model.inputs:
        if -1 in border.shape[1:] or border.shape == (-1,):
            yield "LF004", f"input {border.name} has shape {border.shape}"
    if model.changes:
        yield "LF013", ", ".join(model.changes)
    if model.sparse:
        yield "LF014", f"{model.sparse} constants are stored sparse"
    if model.double_names:
        yield "LF015", f"{_list(model.double_names)} stand for more than one tensor"


def _edgetpu_messages(model: ModelFacts, profiles: Sequence[Profile]) -> Iterator[tuple[str, str]]:
    floats = [border.name for border in (*model.inputs, *model.outputs) if border.dtype == "float32"]
    for profile in profiles:
        if all(delegate.name is not DelegateName.EDGETPU for delegate in profile.delegates):
            continue
        if model.quantized and floats:
            yield "LF007", f"{_list(floats)} of the quantized model are float32, {profile.id} has an Edge TPU"
        elif Precision.STATIC_INT8 not in profile.ladder:
            yield (
                "LF007",
                f"the ladder of {profile.id} has no static-int8, the only form with int8 in and out",
            )


def _static_messages(facts: Facts) -> Iterator[tuple[str, str]]:
    for columns in facts.columns:
        coarse = coarse_columns(columns.low, columns.high)
        if coarse and columns.output.producer not in ONE_RANGE:
            yield "LF005", _coarse_text(columns, coarse)
    strange = {name: count for name, count in facts.model.operators.items() if name not in INT8_OPERATORS}
    if strange:
        yield "LF006", ", ".join(f"{count} {name}" for name, count in sorted(strange.items()))
    calibration = facts.calibration
    if calibration is None:
        yield (
            "LF008",
            f"{_list([border.name for border in facts.model.inputs])}: no calibration inputs are given",
        )
        return
    if calibration.is_constant:
        yield "LF008", f"all values of all {calibration.samples} calibration inputs are the same"
    if calibration.samples < CALIBRATION_LEAST:
        yield "LF009", f"{calibration.samples} calibration inputs, {CALIBRATION_LEAST} are the least"
    if len(calibration.classes) == 1:
        yield "LF010", f"all {calibration.samples} calibration inputs are of {calibration.classes[0]!r}"


def _coarse_text(columns: Columns, coarse: Sequence[int]) -> str:
    span = max(columns.high[index] - columns.low[index] for index in coarse)
    total = max(columns.high) - min(columns.low)
    return (
        f"{len(coarse)} of {len(columns.low)} columns of output {columns.output.name} move by {span:.3g} at most, "
        f"all of them by {total:.3g}: int8 leaves the former {span / total * INT8_STEPS:.1f} of {INT8_STEPS} steps"
    )


def _memory_messages(model: ModelFacts, profiles: Sequence[Profile]) -> Iterator[tuple[str, str]]:
    for profile in profiles:
        budget = profile.budgets.peak_memory_bytes
        least = {precision: least_memory_bytes(model, precision) for precision in profile.ladder}
        over = [precision for precision, needed in least.items() if needed > budget]
        if not over:
            continue
        text = ", ".join(f"{precision.value} takes at least {least[precision]:,} bytes" for precision in over)
        code = "LF011" if len(over) == len(least) else "LF012"
        yield code, f"{text}, the budget of {profile.id} is {budget:,}"


def least_memory_bytes(model: ModelFacts, precision: Precision) -> int:
    """Bytes that an interpreter takes at the very least with a precision of the model.

    Constants as small as the precision can make all of them, twice, and the intermediate values.
    """
    constants = model.constant_bytes * _WEIGHT_SHARE[precision] * _COPIES
    return int(constants + model.arena_bytes * _VALUE_SHARE.get(precision, 1.0))


def _list(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
