"""Lints a model: gathers the facts and judges them.

Guarantees: a damaged file that crashes native code ends in an error and not in a crash here. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
from packager.normalize.process import normalize_model
from packager.preprocess import plan_preprocessing, to_inputs
from packager.runtime.session import Session
from packager.sources.tflite import read_tflite

_TIMEOUT_S = 600.0
_RANGE_SAMPLES = 16
"""Inputs that the outputs' ranges are looked at over: mixed ranges differ by orders of magnitude."""
_IMAGE_RANK = 4

Floats = npt.NDArray[np.float32]


def lint_file(
    path: Path,
    profiles: Sequence[Profile],
    calibration: Path | None,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> tuple[Finding, ...]:
    """Lint a model file by itself.

    Args:
        path: The .tflite file.
        profiles: Boards it is meant for; may be empty.
        calibration: Folder of images; None for none.
        mean: Per channel or one for all, in pixel units.
        std: Per channel or one for all, in pixel units.

    Raises:
        ManifestError: The file or the images cannot be read, or the file is damaged.
        ConfigError: The images cannot be fed to this model.
    """
    content = read_tflite(path)
    written = run_child("packager.lint.child", content, path.name, _TIMEOUT_S)
    facts = Facts(model=msgspec.json.decode(written, type=ModelFacts))
    if calibration is not None:
        inputs = _load_inputs(facts.model, calibration, mean, std)
        # A model that does not load has no outputs to look at.
        normal = None if facts.model.refused else normalize_model(content, path.name)[0]
        facts = _with_calibration(facts.model, normal, inputs, calibration)
    return lint(facts, profiles)


def lint_loaded(
    content: bytes,
    changes: tuple[str, ...],
    profiles: Sequence[Profile],
    inputs: Floats | None,
    calibration: Path | None,
) -> tuple[Finding, ...]:
    """Lint a model that was loaded and normalised before.

    Args:
        content: The .tflite file, normalised.
        changes: What normalising did.
        profiles: Boards it is to be packed for.
        inputs: (N, ...) float32 calibration inputs; None for none.
        calibration: Folder that they come from; None for none.
    """
    model = msgspec.structs.replace(read_normal_facts(content), changes=changes)
    if inputs is None or calibration is None:
        return lint(Facts(model=model), profiles)
    return lint(_with_calibration(model, content, inputs, calibration), profiles)


def _load_inputs(model: ModelFacts, folder: Path, mean: tuple[float, ...], std: tuple[float, ...]) -> Floats:
    shapes = [border.shape for border in model.inputs]
    if (
        len(shapes) != 1
        or len(shapes[0]) != _IMAGE_RANK
        or min(shapes[0][1:]) < 1
        or shapes[0][3] not in {1, 3}
    ):
        raise ConfigError(
            f"images cannot be fed to inputs of shape {', '.join(map(str, shapes))}",
            remedy="leave out --calibration",
        )
    _, height, width, channels = shapes[0]
    for option, values in (("--mean", mean), ("--std", std)):
        if len(values) not in {1, channels}:
            raise ConfigError(f"{option} has {len(values)} values, the model takes {channels} channels")
    shape = height, width, channels
    return to_inputs(load_calibration(folder, shape).pixels, plan_preprocessing(shape, mean, std))


def _with_calibration(model: ModelFacts, content: bytes | None, inputs: Floats, folder: Path) -> Facts:
    is_constant = bool(inputs.size) and bool((inputs == inputs.flat[0]).all())
    classes = sorted({file.folder for file in list_images(folder, "calibration")} - {""})
    return Facts(
        model=model,
        calibration=CalibrationFacts(samples=len(inputs), classes=tuple(classes), is_constant=is_constant),
        columns=() if content is None else read_columns(content, model.outputs, inputs),
    )


def read_columns(content: bytes, outputs: Sequence[Border], inputs: Floats) -> tuple[Columns, ...]:
    """Run some inputs and see how far each column of each real output goes.

    Args:
        content: A normalised model.
        outputs: Its outputs, in the order of the graph.
        inputs: (N, ...) float32 real values.

    Raises:
        ManifestError: The model does not run with them.
    """
    step = max(1, len(inputs) // _RANGE_SAMPLES)
    chosen = inputs[::step][:_RANGE_SAMPLES]
    try:
        session = Session(content, is_fast=True)
        if len(session.inputs) != 1 or session.inputs[0].dtype != np.float32:
            return ()
        rows = [session.run([sample[np.newaxis]]) for sample in chosen]
    except RuntimeLoadError as error:
        raise ManifestError(str(error)) from error
    found = (
        _columns(output, list(arrays))
        for output, arrays in zip(outputs, zip(*rows, strict=True), strict=True)
    )
    return tuple(one for one in found if one is not None)


def _columns(output: Border, arrays: Sequence[npt.NDArray[np.float32]]) -> Columns | None:
    axis = attribute_axis(arrays[0].shape, len(arrays))
    if axis is None or arrays[0].dtype.kind != "f" or not all(np.isfinite(one).all() for one in arrays):
        return None
    others = tuple(index for index in range(arrays[0].ndim) if index != axis)
    low = np.min([one.min(axis=others) for one in arrays], axis=0)
    high = np.max([one.max(axis=others) for one in arrays], axis=0)
    return Columns(output=output, low=tuple(map(float, low)), high=tuple(map(float, high)))
