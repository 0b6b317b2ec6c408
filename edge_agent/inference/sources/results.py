"""An answer as sinks get it.

PURE. Rules:

1. It is JSON: numbers, texts, lists. Whole output tensors are in it only up to ``OUTPUT_MAX_VALUES`` values, and only
   where there are no classes.
2. A NaN or an infinity, which JSON has not, is null.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from edge_agent.inference.asking import Inference

OUTPUT_MAX_VALUES = 4096


def result_of(inference: Inference, model: str, name: str, at: datetime) -> dict[str, Any]:
    """An answer as a mapping.

    Args:
        inference: The answer.
        model: Name of the model.
        name: Of the input.
        at: When it was answered, aware.
    """
    classes = [
        {"index": each.index, "label": each.label, "score": _number(each.score)} for each in inference.classes
    ]
    result: dict[str, Any] = {
        "model": model,
        "version": inference.version,
        "variant": inference.variant,
        "source": name,
        "at": at.isoformat(),
        "latency_s": inference.latency_s,
        "classes": classes,
    }
    if not classes:
        values = sum(output.size for output in inference.outputs.values())
        if values <= OUTPUT_MAX_VALUES:
            result["outputs"] = {
                key: {"shape": list(output.shape), "values": [_number(x) for x in output.ravel().tolist()]}
                for key, output in inference.outputs.items()
            }
        else:
            result["outputs_left_off"] = values
    return result


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def encode_result(result: dict[str, Any]) -> bytes:
    """An answer as one line of JSON, without the line's end."""
    return msgspec.json.encode(result)


def is_wanted(result: dict[str, Any], labels: Sequence[str], min_score: float) -> bool:
    """Whether an answer's best class is one of these (any, for none given) with at least this score."""
    if not labels and min_score <= 0:
        return True
    if not result["classes"]:
        return False
    best = result["classes"][0]
    return (not labels or best["label"] in labels) and (best["score"] or 0.0) >= min_score
