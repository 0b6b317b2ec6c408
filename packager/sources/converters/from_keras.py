"""Keras models (.keras, .h5), by Keras itself.

Guarantees: loaded in safe mode, and refused before that when the configuration carries code; the batch is 1; names
are those of the model's inputs and outputs.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

from .from_savedmodel import SavedModel, tool_versions
from .job import Arrays, Border, RefusedError, pin_shape
from .keras_config import code_faults


class KerasModel:
    """A functional or Sequential model."""

    def __init__(self, path: Path) -> None:
        self._model = model = load_model(path)
        self._folder = path.parent / "exported"
        self.inputs = [
            Border(_word(one.name), pin_shape(one.name, one.shape), str(one.dtype), one.name, _sizes(one))
            for one in model.inputs
        ]
        names = _output_names(model)
        self.outputs = [
            Border(name, _sizes(one), str(one.dtype), one.name, _sizes(one))
            for name, one in zip(names, model.outputs, strict=True)
        ]
        self.tools = tool_versions()

    def convert(self, target: Path) -> None:
        """Export one signature with batch 1, and convert that."""
        archive = keras.export.ExportArchive()
        archive.track(self._model)
        specs = {one.name: tf.TensorSpec(one.shape, one.dtype, name=one.name) for one in self.inputs}
        call = self._call

        def run(**inputs: Any) -> Any:
            return call(inputs)

        serve = tf.function(run)
        serve.get_concrete_function(**specs)
        archive.add_endpoint(name="serving_default", fn=serve)
        archive.write_out(str(self._folder), verbose=False)
        SavedModel(self._folder).convert(target)

    def answer(self, inputs: Arrays) -> Arrays:
        """Run the model itself."""
        found = self._call({name: tf.constant(value) for name, value in inputs.items()})
        return {name: np.asarray(value) for name, value in found.items()}

    def _call(self, inputs: dict[str, Any]) -> dict[str, Any]:
        flat = [inputs[one.name] for one in self.inputs]
        structure = self._model.input if hasattr(self._model, "input") else flat
        found = self._model(keras.tree.pack_sequence_as(structure, flat), training=False)
        names = [one.name for one in self.outputs]
        return dict(zip(names, keras.tree.flatten(found), strict=True))


def open_source(path: Path) -> KerasModel:
    """Load a .keras or .h5 file."""
    return KerasModel(path)


def load_model(path: Path) -> Any:
    """Load a .keras or .h5 file as a Keras model.

    Raises:
        RefusedError: It carries code, is damaged, or has no inputs.
    """
    if path.suffix != ".keras":
        _check_h5(path)
    model: Any = keras.saving.load_model(path, compile=False, safe_mode=True)
    if not getattr(model, "inputs", None):
        raise RefusedError(
            "the model has no inputs of fixed shape: build it as a functional or Sequential model "
            "with keras.Input, or give its SavedModel (model.export)"
        )
    return model


def _check_h5(path: Path) -> None:
    # Keras before 3.11.3 looked for code in .keras files only (CVE-2025-9905).
    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
    except OSError as error:
        raise RefusedError("it is no HDF5 file, or damaged") from error
    if text is None:
        raise RefusedError("it holds weights alone: save the whole model with model.save")
    faults = code_faults(json.loads(text))
    if faults:
        raise RefusedError(f"it may execute code: {'; '.join(faults)}")


def _output_names(model: Any) -> list[str]:
    """The names of a model's outputs: keys of a dictionary, else the layers that make them."""
    structure = getattr(model, "output", None)
    if isinstance(structure, dict):
        return [_word(str(key)) for key in sorted(structure)]
    layers = getattr(model, "output_names", None) or [model.layers[-1].name]
    names = [_word(str(name)) for name in layers]
    return names if len(set(names)) == len(names) else [f"{name}_{i}" for i, name in enumerate(names)]


def _sizes(tensor: Any) -> tuple[int, ...]:
    return tuple(size or -1 for size in tensor.shape)


def _word(name: str) -> str:
    return re.sub(r"\W", "_", name)
