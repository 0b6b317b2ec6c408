"""Sound facts for lint; each test spoils one thing."""

from __future__ import annotations

from typing import Any

import msgspec

from packager.lint.facts import Border, CalibrationFacts, Columns, Facts, ModelFacts

IMAGE = Border(name="image", shape=(1, 8, 8, 1), dtype="float32")
BOXES = Border(name="boxes", shape=(1, 100, 5), dtype="float32", producer="CONCATENATION")


def model(**changes: Any) -> ModelFacts:
    """A float model that every profile can take."""
    sound = ModelFacts(
        inputs=(IMAGE,),
        outputs=(BOXES,),
        operators={"CONV_2D": 4, "CONCATENATION": 1},
        constant_bytes=400_000,
        arena_bytes=20_000,
    )
    return msgspec.structs.replace(sound, **changes)


def facts(calibration: dict[str, Any] | None = None, columns: Columns | None = None, **changes: Any) -> Facts:
    """A sound model with a sound calibration."""
    sound = CalibrationFacts(samples=200, classes=("a", "b"))
    return Facts(
        model=model(**changes),
        calibration=msgspec.structs.replace(sound, **(calibration or {})),
        columns=(columns,) if columns else (),
    )


def columns(*spans: tuple[float, float], output: Border = BOXES) -> Columns:
    """Columns from lowest and highest value of each."""
    return Columns(output=output, low=tuple(low for low, _ in spans), high=tuple(high for _, high in spans))
