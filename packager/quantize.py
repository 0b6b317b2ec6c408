"""Makes a precision of a float model, and compares the two; the packager's door to ``litert_quantizer``.

Guarantees: the same model, precision and calibration images give the same bytes on the same kind of processor
(calibration runs the float model, whose last bits depend on the processor). Does not measure what it made.
"""

from __future__ import annotations

import contextlib
import enum
import importlib.metadata
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.errors import RejectedError, RuntimeLoadError
from contract.profile import Precision
from packager.description import Source, whole_shape
from packager.lanes import lane_count, work_in_lanes
from packager.quiet import native_output_hidden
from packager.runtime.ranges import RangeReader, is_plain
from packager.selective import lost_share

_log = logging.getLogger(__name__)
Array = npt.NDArray[Any]
Feed = Mapping[str, Array]
_Found = dict[str, dict[str, Any]]
"""Tensor name to ``min`` and ``max``, as the quantizer keeps them."""
_Update = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]
_PILOT = 2  # samples; the second is the first that is averaged
_LIMIT = 3e38  # naive_min_max_quantize.min_max_calibrate, valid_range

# Names in litert_quantizer.recipe; float16 has no function there, its recipe is built below.
_RECIPES = {
    Precision.STATIC_INT8: "static_wi8_ai8",
    Precision.STATIC_INT16: "static_wi8_ai16",
    Precision.DYNAMIC_INT8: "dynamic_wi8_afp32",
    Precision.WEIGHT_ONLY_INT8: "weight_only_wi8_afp32",
    Precision.WEIGHT_ONLY_INT4: "weight_only_wi4_afp32",
}
_FLOAT16_NAME = "float_casting_wf16"
_FLOAT16 = [
    {
        "regex": ".*",
        "operation": "*",
        "algorithm_key": "float_casting",
        "op_config": {
            "weight_tensor_config": {"num_bits": 16, "dtype": "FLOAT"},
            "compute_precision": "FLOAT",
            "explicit_dequantize": True,
        },
    }
]


def recipe_name(precision: Precision) -> str:
    """How the recipe of a precision is called in the manifest's provenance; ``none`` for float32."""
    if precision is Precision.FLOAT16:
        return _FLOAT16_NAME
    return _RECIPES.get(precision, "none")


def tool_versions() -> dict[str, str]:
    """Versions of what decides over the bytes of a variant."""
    names = ("litefleet", "litert-quantizer", "ai-edge-litert", "numpy")
    return {name: importlib.metadata.version(name) for name in names}


def describe_recipe(precision: Precision, floats: Sequence[str]) -> str:
    """What the provenance says of how a variant was made, with the operators that were left in float."""
    name = recipe_name(precision)
    return f"{name}, in float: {', '.join(floats)}" if floats else name


def recipe_rules(precision: Precision, floats: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The quantizer's own form of a recipe; of rules that match an operator the last one holds.

    Args:
        precision: What to make; not float32.
        floats: Operators to leave in float, by the names of their outputs, each followed by ``;``.
    """
    from litert_quantizer import recipe

    rules: list[dict[str, Any]] = (
        list(_FLOAT16) if precision is Precision.FLOAT16 else list(getattr(recipe, _RECIPES[precision])())
    )
    return rules + [
        {"regex": f"^{re.escape(name)}$", "operation": "*", "algorithm_key": "no_quantize", "op_config": {}}
        for name in floats
    ]


@dataclass(frozen=True)
class Ranges:
    """What calibration found, in the quantizer's own form; None for a precision that needs none."""

    values: Any


class Learning(str, enum.Enum):
    """What of the samples' own lowest and highest values becomes the range of a tensor.

    ``average``, the quantizer's own way, moves towards each sample's: right for images, where a tensor has many values
    in every sample, and one odd picture must not widen all ranges. A tensor with one value has the same lowest and
    highest, and its average is a range of width 0: so whatever is no image takes the ``extremes`` over all samples
    (``docs/adr/0034``).
    """

    AVERAGE = "average"
    EXTREMES = "extremes"


_UPDATES = {Learning.AVERAGE: "moving_average_update", Learning.EXTREMES: "min_max_update"}
"""Names in litert_quantizer.utils.qsv_utils."""


def calibrate(
    content: bytes,
    precision: Precision,
    source: Source,
    calibration: Sequence[Array],
    learning: Learning = Learning.AVERAGE,
) -> Ranges:
    """Run the float model over the calibration inputs and keep the range of every tensor.

    Args:
        content: The float .tflite file.
        precision: What is to be made; not float32.
        source: Its signature and inputs.
        calibration: (N, ...) of every input, N 0 or more; only static precisions look at them.
        learning: How ranges follow from them.

    Raises:
        RejectedError: The quantizer cannot do it with this model.
    """
    from litert_quantizer import calibrator, quantizer, recipe_manager
    from litert_quantizer.utils import qsv_utils

    feed = _feed(source, calibration)
    with _refusals(f"make {precision.value} of it"):
        work = quantizer.Quantizer(bytearray(content), recipe_rules(precision))
        if not work.need_calibration:
            return Ranges(None)

        rules = recipe_manager.RecipeManager()
        rules.load_quantization_recipe(recipe_rules(precision))
        update = getattr(qsv_utils, _UPDATES[learning])

        # One thread: the ranges must not depend on how many cores this machine has.
        def calibrate_whole(samples: Sequence[Feed]) -> _Found:
            found: _Found
            if learning is Learning.AVERAGE:
                found = work.calibrate({source.signature: samples}, num_threads=1)
            else:
                whole = calibrator.Calibrator(bytearray(content), num_threads=1, qsv_update_func=update)
                whole.calibrate({source.signature: samples}, rules)
                found = whole.get_model_qsvs()
            return found

        samples = feed[source.signature]
        found = _calibrate_fast(content, source.signature, samples, calibrate_whole, update)
        return Ranges(found or calibrate_whole(samples))


def pin_range(ranges: Ranges, tensor: str, low: float, high: float) -> Ranges:
    """Calibrated ranges in which one tensor has another, that it is known to have.

    Args:
        ranges: What ``calibrate`` found.
        tensor: Its name; where calibration did not look at it, nothing changes.
        low: Its lowest value.
        high: Its highest value.
    """
    known = (ranges.values or {}).get(tensor)
    if not known:
        return ranges
    pinned = {side: np.full_like(known[side], value) for side, value in (("min", low), ("max", high))}
    return Ranges({**ranges.values, tensor: known | pinned})


def _calibrate_fast(
    content: bytes,
    signature: str,
    samples: Sequence[Feed],
    calibrate_whole: Callable[[Sequence[Feed]], _Found],
    update: _Update,
) -> _Found | None:
    """The ranges that the quantizer would find, on all cores and without its look at every operator every time.

    The quantizer itself calibrates on the first two samples: they show which tensors it wants, and whether the ranges
    read here and what follows from them are its own, to the last bit.

    Returns:
        None when they are not, or when the model is of a kind whose samples cannot be run apart.
    """
    if len(samples) <= _PILOT or not is_plain(content):
        return None
    pilot = calibrate_whole(samples[:_PILOT])
    names = list(pilot)
    try:
        readers = [RangeReader(content, signature, names) for _ in range(lane_count(len(samples)))]
        folded: _Found = {}
        for position, found in enumerate(work_in_lanes(readers, RangeReader.read, samples)):
            # Beyond these limits the quantizer looks at single values; NaN fails both comparisons.
            if not ((found[:, 0] > -_LIMIT) & (found[:, 1] < _LIMIT)).all():
                return None
            folded = _fold(folded, pilot, found, update)
            if position == _PILOT - 1 and not _is_same(folded, pilot):
                return None
    except RuntimeLoadError as error:
        _log.info("calibrating as the quantizer does, sample after sample: %s", error)
        return None
    return folded


def _fold(folded: _Found, pilot: _Found, found: npt.NDArray[np.float64], update: _Update) -> _Found:
    return {
        name: update(
            folded.get(name, {}),
            {
                side: np.reshape(row[column].astype(pilot[name][side].dtype), pilot[name][side].shape)
                for column, side in enumerate(("min", "max"))
            },
        )
        for name, row in zip(pilot, found, strict=True)
    }


def _is_same(found: _Found, wanted: _Found) -> bool:
    return all(
        found[name].keys() == values.keys()
        and all(np.array_equal(found[name][side], value) for side, value in values.items())
        for name, values in wanted.items()
    )


def quantize(content: bytes, precision: Precision, ranges: Ranges, floats: Sequence[str] = ()) -> bytes:
    """Make one precision of a model.

    Args:
        content: The float .tflite file.
        precision: What to make; not float32, which is the file itself.
        ranges: What ``calibrate`` found for the same model and precision.
        floats: Operators to leave in float; see ``recipe_rules``.

    Returns:
        The .tflite file.

    Raises:
        RejectedError: The quantizer cannot do it with this model.
    """
    from litert_quantizer import quantizer

    with _refusals(f"make {precision.value} of it"):
        work = quantizer.Quantizer(bytearray(content), recipe_rules(precision, floats))
        made = work.quantize(ranges.values, enable_progress_bar=False, enable_progress_report=False)
    return bytes(made.quantized_model)


def compare_tensors(content: bytes, made: bytes, source: Source, inputs: Sequence[Array]) -> dict[str, float]:
    """How much of each tensor a quantized model loses.

    Args:
        content: The float .tflite file.
        made: What was quantized from it.
        source: Its signature and inputs.
        inputs: (N, ...) of every input, a few samples to run both models on.

    Returns:
        Tensor name to ``lost_share``, averaged over the inputs; constants are in it too.

    Raises:
        RejectedError: The two cannot be compared.
    """
    from litert_quantizer import model_validator, quantizer

    # The metric's name is only a key here, what is computed is lost_share.
    metric = quantizer.ValidationErrorMetric.MEDIAN_DIFF_RATIO
    with _refusals("compare it with the float model"):
        found = model_validator.compare_model(
            content,
            made,
            _feed(source, inputs),
            [metric],
            [lost_share],
            use_xnnpack=False,  # a delegate keeps tensors inside to itself
            num_threads=1,
        )
        return {name: float(values[metric.value]) for name, values in found.get_all_tensor_results().items()}


def _feed(source: Source, inputs: Sequence[Array]) -> dict[str, list[dict[str, Array]]]:
    specs = source.inputs
    return {
        source.signature: [
            {spec.name: values.reshape(whole_shape(spec)) for spec, values in zip(specs, sample, strict=True)}
            for sample in zip(*inputs, strict=True)
        ]
    }


@contextlib.contextmanager
def _refusals(what: str) -> Iterator[None]:
    try:
        with native_output_hidden():
            yield
    except Exception as error:
        # Foreign code alone stands in the block, and it stumbles over models it does not know in many ways.
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise RejectedError(f"litert-quantizer cannot {what}: {reason}") from error
