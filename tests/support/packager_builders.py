"""Sound pieces of a pack run for tests; each test spoils one thing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from contract.profile import DelegateName, Precision, Profile
from firmware_profiles import load_profile
from packager.description import ModelDescription, SignatureDescription, TensorDescription
from packager.evaluate import Evaluation
from packager.gate import Measurement, Reference
from packager.plan import ProfilePlan, Rung

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
XNNPACK = DelegateName.XNNPACK


def profile(profile_id: str = "generic-x86-64", **changes: Any) -> Profile:
    """A shipped profile with some fields changed."""
    return msgspec.structs.replace(load_profile(profile_id), **changes)


def description(**changes: Any) -> ModelDescription:
    """A model like the digits one."""
    signature = SignatureDescription(
        inputs=(TensorDescription(name="image", shape=(1, 8, 8, 1), dtype="float32"),),
        outputs=(TensorDescription(name="probabilities", shape=(1, 10), dtype="float32"),),
    )
    sound = ModelDescription(
        signatures={"serving_default": signature},
        operators=("CONV_2D", "SOFTMAX"),
        quantized_tensors=0,
        half_tensors=0,
    )
    return msgspec.structs.replace(sound, **changes)


def signature(
    image: dict[str, Any] | None = None, scores: dict[str, Any] | None = None
) -> dict[str, SignatureDescription]:
    """The signatures of ``description`` with one tensor changed."""
    found = description().signatures["serving_default"]
    return {
        "serving_default": SignatureDescription(
            inputs=(msgspec.structs.replace(found.inputs[0], **(image or {})),),
            outputs=(msgspec.structs.replace(found.outputs[0], **(scores or {})),),
        )
    }


def measurement(**changes: Any) -> Measurement:
    """A variant that passes every gate."""
    sound = {
        "size_bytes": 100_000,
        "value": 0.99,
        "samples": 500,
        "peak_memory_bytes": 262_144,
        "latency_ms_p50": 0.02,
    }
    return Measurement(**(sound | changes))


def reference(**changes: Any) -> Reference:
    """A float model that is right in 99 of 100 cases."""
    sound: dict[str, Any] = {"float_value": 0.99, "float_bytes": 400_000, "max_drop": 0.01}
    return Reference(**(sound | changes))


def plan(precisions: Sequence[Precision], **changes: Any) -> ProfilePlan:
    """A profile whose ladder is these precisions on XNNPACK."""
    return ProfilePlan(profile(**changes), tuple(Rung(precision, XNNPACK) for precision in precisions))


def evaluation(margin: Sequence[float], spread: float = 1.0) -> Evaluation:
    """An evaluation with these leads of the best score; all answers are class 0."""
    return Evaluation(
        right=len(margin),
        samples=len(margin),
        best=np.zeros(len(margin), dtype=np.int64),
        margin=np.array(margin, dtype=np.float32),
        spread=spread,
    )


def write_image(path: Path, size: tuple[int, int] = (8, 8), mode: str = "L", value: int = 7) -> Path:
    """A plain image, (width, height), in Pillow's mode; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colour: Any = value if len(Image.new(mode, (1, 1)).getbands()) == 1 else (value,) * len(mode)
    Image.new(mode, size, colour).save(path)
    return path
