"""Loads a model of any format as a float .tflite: where the formats meet.

Guarantees: a .tflite file starts no converter and needs none of what converters need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from packager.sources.conversion import Listener, convert
from packager.sources.formats import Format, choose_format
from packager.sources.keras import keras_converter
from packager.sources.onnx import onnx_converter
from packager.sources.savedmodel import savedmodel_converter
from packager.sources.tflite import SourceModel, check_tflite, load_tflite
from packager.sources.toolchain import Converter
from packager.sources.torch import torch_converter


def load_source(path: Path, listener: Listener) -> SourceModel:
    """Read a model, converting it where it is no .tflite file.

    Raises:
        ManifestError: It cannot be used; see the formats.
        ConfigError: A converter's environment cannot be made.
        StorageError: The cache cannot be written.
    """
    kind = choose_format(
        path.name, is_folder=path.is_dir(), has_saved_model=(path / "saved_model.pb").is_file()
    )
    if kind is Format.TFLITE:
        return load_tflite(path)
    conversion = convert(path, _converter(kind, path), listener)
    return replace(
        check_tflite(conversion.content, path.name), sha256=conversion.source_sha256, conversion=conversion
    )


def check_on_calibration(
    model: SourceModel, inputs: Sequence[npt.NDArray[Any]], listener: Listener
) -> SourceModel:
    """Compare a converted model with its source on real inputs; others are given back as they are.

    Args:
        model: The model.
        inputs: (N, ...) of every input, without its batch dimension.
        listener: Told what is going on.

    Raises:
        ManifestError: They do not agree.
    """
    if model.conversion is None or not len(inputs[0]):
        return model
    named = {spec.name: values for spec, values in zip(model.source.inputs, inputs, strict=True)}
    return replace(model, conversion=model.conversion.check_on(named, listener))


def _converter(kind: Format, path: Path) -> Converter:
    if kind is Format.KERAS:
        return keras_converter(".keras" if path.suffix.lower() == ".keras" else ".h5")
    if kind is Format.SAVED_MODEL:
        return savedmodel_converter()
    return onnx_converter() if kind is Format.ONNX else torch_converter()
