"""Makes a precision of a float model; the packager's door to ``litert_quantizer``.

Guarantees: the same model, precision and calibration images give the same bytes on the same kind of processor
(calibration runs the float model, whose last bits depend on the processor). Does not measure what it made.
"""

from __future__ import annotations

import importlib.metadata
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.errors import RejectedError
from contract.profile import Precision
from packager.description import Source
from packager.quiet import native_output_hidden

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


def quantize(
    content: bytes, precision: Precision, source: Source, calibration: npt.NDArray[np.float32]
) -> bytes:
    """Make one precision of a model.

    Args:
        content: The float .tflite file.
        precision: What to make; not float32, which is the file itself.
        source: Its signature and input.
        calibration: (N, H, W, C) float32 inputs; only static precisions look at them.

    Returns:
        The .tflite file.

    Raises:
        RejectedError: The quantizer cannot do it with this model.
    """
    from litert_quantizer import quantizer, recipe

    rules: Any = _FLOAT16 if precision is Precision.FLOAT16 else getattr(recipe, _RECIPES[precision])()
    feed = [{source.input.name: sample[np.newaxis]} for sample in calibration]
    try:
        with native_output_hidden():
            work = quantizer.Quantizer(bytearray(content), rules)
            # One thread: the ranges must not depend on how many cores this machine has.
            ranges = (
                work.calibrate({source.signature: feed}, num_threads=1) if work.need_calibration else None
            )
            made = work.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    except Exception as error:
        # Foreign code alone stands in the try, and it stumbles over models it does not know in many ways.
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise RejectedError(f"litert-quantizer cannot make {precision.value} of it: {reason}") from error
    return bytes(made.quantized_model)
