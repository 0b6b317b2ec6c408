"""Sound requests of task kinds for tests; each test spoils one thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contract.tensor import DType, TensorSpec
from packager.description import Source
from packager.preprocess import Fitting
from packager.tasks.kind import DataRequest, Kind, Loaded, parse_options


def spec(name: str, *shape: int, dtype: DType = DType.FLOAT32) -> TensorSpec:
    """A tensor at a model's border."""
    return TensorSpec(name=name, shape=shape, dtype=dtype)


def source(
    inputs: list[TensorSpec], outputs: list[TensorSpec], *, gives_probabilities: bool = False
) -> Source:
    """A model's border."""
    return Source("serving_default", tuple(inputs), tuple(outputs), gives_probabilities)


def load(kind: Kind, model: Source, evaluation: Path, options: dict[str, Any], **changes: Any) -> Loaded:
    """Read samples as ``pack`` does."""
    sound: dict[str, Any] = {
        "calibration": None,
        "labels": None,
        "mean": (0.0,),
        "std": (255.0,),
        "fitting": Fitting(),
        "folder": evaluation.parent,
    }
    options = parse_options(kind, options)
    return kind.load(DataRequest(source=model, evaluation=evaluation, options=options, **(sound | changes)))
