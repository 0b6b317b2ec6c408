"""ONNX files, by onnx2tf; compared with onnxruntime.

Guarantees: the batch is 1; an image input (1, C, H, W) with 1, 3 or 4 channels becomes (1, H, W, C), every other
input keeps its shape; weights come from the file alone, never from files it names.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx2tf
import onnxruntime
from google.protobuf.message import DecodeError

from .job import Arrays, Border, RefusedError, channels_last, is_image, pin_shape


class OnnxModel:
    """An ONNX model with its batch pinned to 1."""

    def __init__(self, path: Path) -> None:
        self._model = _load(path)
        names = _rename(self._model.graph)
        self._path = path.with_name("pinned.onnx")
        graph = self._model.graph
        constants = {one.name for one in graph.initializer}
        given = [one for one in graph.input if one.name not in constants]
        self.inputs = [_pin(one, names[one.name]) for one in given]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            self._model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.outputs = [
            Border(one.name, _sizes(one), _dtype(one), names[one.name], _sizes(one)) for one in graph.output
        ]
        self.tools = {name: version(name) for name in ("onnx2tf", "onnxruntime", "onnx")}

    def convert(self, target: Path) -> None:
        """Convert without TensorFlow."""
        onnx.save(self._model, str(self._path))
        kept = [one.name for one in self.inputs if one.shape == one.source_shape]
        folder = self._path.with_name("onnx2tf")
        onnx2tf.convert(
            input_onnx_file_path=str(self._path),
            output_folder_path=str(folder),
            copy_onnx_input_output_names_to_tflite=True,
            keep_shape_absolutely_input_names=kept or None,
            tflite_backend="flatbuffer_direct",
            non_verbose=True,
            verbosity="error",
        )
        written = folder / f"{self._path.stem}_float32.tflite"
        written.rename(target)

    def answer(self, inputs: Arrays) -> Arrays:
        """Run onnxruntime, images turned back to (1, C, H, W)."""
        feed = {}
        for border in self.inputs:
            value = inputs[border.name]
            is_turned = border.shape != border.source_shape
            feed[border.name] = np.moveaxis(value, -1, 1) if is_turned else value
        found = self._session.run([one.name for one in self.outputs], feed)
        return {one.name: np.asarray(value) for one, value in zip(self.outputs, found, strict=True)}


def open_source(path: Path) -> OnnxModel:
    """Load an .onnx file."""
    return OnnxModel(path)


def _load(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(str(path), load_external_data=False)
    except DecodeError as error:
        raise RefusedError("it is no ONNX model, or damaged") from error
    if any(one.data_location == onnx.TensorProto.EXTERNAL for one in model.graph.initializer):
        raise RefusedError(
            "its weights are in other files: save it whole, onnx.save(onnx.load(PATH), NEW_PATH) does that"
        )
    if not model.graph.node:
        raise RefusedError("it is no ONNX model, or empty")
    onnx.checker.check_model(model)
    return model


def _rename(graph: Any) -> dict[str, str]:
    """Give inputs and outputs names that onnx2tf keeps; what they were called before."""
    changes: dict[str, str] = {}
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    for one in (*graph.input, *graph.output):
        word = re.sub(r"\W+", "_", one.name)
        while word != one.name and word in taken:
            word += "_"
        taken.add(word)
        changes[one.name] = word
    _replace(graph, changes)
    return {new: old for old, new in changes.items()}


def _replace(graph: Any, changes: dict[str, str]) -> None:
    for one in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        one.name = changes.get(one.name, one.name)
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [changes.get(name, name) for name in names]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _replace(inner, changes)


def _pin(value: Any, source_name: str) -> Border:
    dims = value.type.tensor_type.shape.dim
    sizes = [dim.dim_value or None for dim in dims]
    source = pin_shape(value.name, sizes)
    dims[0].dim_value = source[0]
    shape = channels_last(source) if is_image(source) else source
    return Border(value.name, shape, _dtype(value), source_name, source)


def _sizes(value: Any) -> tuple[int, ...]:
    return tuple(dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim)


def _dtype(value: Any) -> str:
    return str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
