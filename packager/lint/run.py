"""Lints a model: gathers the facts and judges them.

Guarantees: a damaged file that crashes native code ends in an error and not in a crash here. Writes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from contract.errors import ConfigError, ManifestError, RuntimeLoadError
from contract.profile import Profile
from packager.calibration import load_calibration
from packager.child import run_child
from packager.images import list_images
from packager.lint.facts import Border, CalibrationFacts, Columns, Facts, ModelFacts
from packager.lint.ranges import attribute_axis
from packager.lint.read import read_normal_facts
from packager.lint.rules import Finding, lint
from packager.lint.table import Severity
from packager.normalize.process import normalize_model
from packager.preprocess import Fitting, image_geometry, plan_preprocessing, to_inputs
from packager.runtime.session import Port, Session
from packager.sources.tflite import SourceModel, read_tflite
from packager.tasks.task import Inputs

_TIMEOUT_S = 600.0
_LOOKED_AT = 16
"""Calibration inputs that the outputs' ranges are looked at over: mixed ranges differ by orders of magnitude."""

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


def lint_file(
    path: Path,
    profiles: Sequence[Profile],
    calibration: Path | None,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    fitting: Fitting = Fitting(),  # noqa: B008 - frozen
) -> tuple[Finding, ...]:
    """Lint a model file by itself.

    Args:
        path: The .tflite file.
        profiles: Boards it is meant for; may be empty.
        calibration: Folder of images; None for none.
        mean: Per channel or one for all, in pixel units.
        std: Per channel or one for all, in pixel units.
        fitting: How images come to the model's size and channels.

    Raises:
        ManifestError: The file or the images cannot be read, or the file is damaged.
        ConfigError: The images cannot be fed to this model.
    """
    content = read_tflite(path)
    written = run_child("packager.lint.child", content, path.name, _TIMEOUT_S)
    facts = Facts(model=msgspec.json.decode(written, type=ModelFacts))
    if calibration is not None:
        inputs = _load_inputs(facts.model, calibration, mean, std, fitting)
        # A model that does not load has no outputs to look at.
        normal = None if facts.model.refused else normalize_model(content, path.name)[0]
        facts = _with_calibration(
            facts.model, normal, len(inputs), [inputs[_spread(len(inputs))]], calibration
        )
    return lint(facts, profiles)


def lint_loaded(
    model: SourceModel, profiles: Sequence[Profile], calibration: Inputs | None, folder: Path | None
) -> tuple[Finding, ...]:
    """Lint a model that was loaded and normalised before.

    Args:
        model: The model.
        profiles: Boards it is to be packed for.
        calibration: Calibration inputs; None for none.
        folder: Where they come from, if that has a folder for each class; else None.

    Raises:
        ManifestError: The model does not run with its calibration inputs.
    """
    found = msgspec.structs.replace(read_normal_facts(model.content), changes=model.normalized.changes)
    if calibration is None:
        return lint(Facts(model=found), profiles)
    chosen = calibration.inputs(_spread(len(calibration)))
    return lint(_with_calibration(found, model.content, len(calibration), chosen, folder), profiles)


def warning_texts(findings: Sequence[Finding]) -> tuple[str, ...]:
    """The warnings among findings, as texts."""
    return tuple(one.text() for one in findings if one.severity is Severity.WARNING)


def check_findings(findings: Sequence[Finding], name: str) -> None:
    """Stop where there are errors.

    Raises:
        ManifestError: With every error.
    """
    errors = [one for one in findings if one.severity is Severity.ERROR]
    if errors:
        raise ManifestError(f"lint refuses {name}", faults=[one.text() for one in errors])


def _load_inputs(
    model: ModelFacts, folder: Path, mean: tuple[float, ...], std: tuple[float, ...], fitting: Fitting
) -> Floats:
    shapes = [border.shape for border in model.inputs]
    geometry = image_geometry(shapes[0]) if len(shapes) == 1 else None
    if geometry is None:
        raise ConfigError(
            f"images cannot be fed to inputs of shape {', '.join(map(str, shapes))}",
            remedy="leave out --calibration; pack looks at the calibration samples of every task",
        )
    recipe = plan_preprocessing(geometry, mean, std, fitting=fitting)
    images = load_calibration(folder, geometry.shape, recipe if fitting.resize else None)
    return to_inputs(images.pixels, recipe)


def _with_calibration(
    model: ModelFacts, content: bytes | None, samples: int, chosen: Sequence[Array], folder: Path | None
) -> Facts:
    is_constant = samples > 0 and all(bool((values == values.flat[0]).all()) for values in chosen)
    classes = (
        sorted({file.folder for file in list_images(folder, "calibration")} - {""})
        if folder is not None and folder.is_dir()
        else []
    )
    return Facts(
        model=model,
        calibration=CalibrationFacts(samples=samples, classes=tuple(classes), is_constant=is_constant),
        columns=() if content is None else read_columns(content, model.outputs, chosen),
    )


def _spread(samples: int) -> range:
    """Positions of the inputs that are looked at, evenly over all."""
    return range(0, samples, max(1, samples // _LOOKED_AT))[:_LOOKED_AT]


def read_columns(content: bytes, outputs: Sequence[Border], inputs: Sequence[Array]) -> tuple[Columns, ...]:
    """Run some inputs and see how far each column of each real output goes.

    Args:
        content: A normalised model.
        outputs: Its outputs, in the order of the graph.
        inputs: (N, ...) of every input, in the order of the graph.

    Raises:
        ManifestError: The model does not run with them.
    """
    try:
        session = Session(content, is_fast=True)
        rows = [
            session.run(
                [_as_stored(values, port) for port, values in zip(session.inputs, sample, strict=True)]
            )
            for sample in zip(*inputs, strict=True)
        ]
    except RuntimeLoadError as error:
        raise ManifestError(str(error)) from error
    found = (
        _columns(output, list(arrays))
        for output, arrays in zip(outputs, zip(*rows, strict=True), strict=True)
    )
    return tuple(one for one in found if one is not None)


def _as_stored(values: Array, port: Port) -> Array:
    stored = values.astype(port.dtype, copy=False)
    # Values of another size are left as they are: the runtime refuses them.
    return stored.reshape(port.shape) if values.size == math.prod(port.shape) else stored


def _columns(output: Border, arrays: Sequence[npt.NDArray[np.float32]]) -> Columns | None:
    axis = attribute_axis(arrays[0].shape, len(arrays))
    # Operators that are not TFLite's core may leave what they do not use as it was in memory.
    if output.producer.startswith("CUSTOM"):
        return None
    if axis is None or arrays[0].dtype.kind != "f" or not all(np.isfinite(one).all() for one in arrays):
        return None
    others = tuple(index for index in range(arrays[0].ndim) if index != axis)
    low = np.min([one.min(axis=others) for one in arrays], axis=0)
    high = np.max([one.max(axis=others) for one in arrays], axis=0)
    return Columns(output=output, low=tuple(map(float, low)), high=tuple(map(float, high)))
