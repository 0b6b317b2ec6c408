"""The digits model in every precision that the quantizer makes, for the tests of delegate coverage."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from litert_quantizer import quantizer, recipe

from packager.quiet import native_output_hidden
from tests.support.packager_models import digits_model

RECIPES = (
    "float32",
    "static_wi8_ai8",
    "static_wi8_ai16",
    "dynamic_wi8_afp32",
    "weight_only_wi8_afp32",
    "weight_only_wi4_afp32",
    "dynamic_wi4_afp32",
    "float16",
)
_FLOAT16: list[dict[str, Any]] = [
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


@functools.cache
def digits_in(name: str, floats: tuple[str, ...] = ()) -> bytes:
    """The digits model by one of ``RECIPES``, calibrated with noise where it has to be.

    Args:
        name: The recipe.
        floats: Operators of this kind, in upper case, stay in float.
    """
    content = digits_model()
    if name == "float32":
        return content
    rules: Any = _FLOAT16 if name == "float16" else getattr(recipe, name)()
    rules = rules + [
        {"regex": ".*", "operation": kind, "algorithm_key": "no_quantize", "op_config": {}} for kind in floats
    ]
    random = np.random.default_rng(7)
    feed = [{"image": random.random((1, 8, 8, 1), dtype=np.float32)} for _ in range(4)]
    with native_output_hidden():
        work = quantizer.Quantizer(bytearray(content), rules)
        ranges = work.calibrate({"serving_default": feed}, num_threads=1) if work.need_calibration else None
        made = work.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return bytes(made.quantized_model)
