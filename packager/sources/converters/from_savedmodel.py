"""SavedModel folders, by TensorFlow.

Guarantees: graphs with operators that read or write files or call Python are refused before anything is loaded;
the batch is 1; names are those of the signature.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from .job import Arrays, Border, RefusedError, pin_shape

_UNSAFE = frozenset((
    "PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile", "MatchingFiles", "WholeFileReaderV2",
    "PrintV2", "SaveDataset", "LoadDataset", "RemoteCall", "LoadLibrary",
))  # fmt: skip
_SIGNATURE = "serving_default"


class SavedModel:
    """A SavedModel with the signature to convert."""

    def __init__(self, folder: Path) -> None:
        _check_operators(folder)
        self._loaded: Any = tf.saved_model.load(str(folder))
        self._signature = _choose_signature(self._loaded)
        given: dict[str, Any] = self._signature.structured_input_signature[1]
        self.inputs = [_border(name, spec) for name, spec in given.items()]
        self.outputs = [_output(name, spec) for name, spec in self._signature.structured_outputs.items()]
        self.tools = tool_versions()

    def convert(self, target: Path) -> None:
        """Freeze the batch to 1 and convert with TFLite's own operators only."""
        specs = {one.name: tf.TensorSpec(one.shape, one.dtype, name=one.name) for one in self.inputs}
        signature = self._signature

        def serve(**inputs: Any) -> Any:
            return signature(**inputs)

        frozen = tf.function(serve).get_concrete_function(**specs)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], self._loaded)
        target.write_bytes(converter.convert())

    def answer(self, inputs: Arrays) -> Arrays:
        """Run the signature."""
        found = self._signature(**{name: tf.constant(value) for name, value in inputs.items()})
        return {name: np.asarray(value) for name, value in found.items()}


def open_source(path: Path) -> SavedModel:
    """Load a SavedModel folder."""
    return SavedModel(path)


def tool_versions() -> dict[str, str]:
    """What decided over the bytes."""
    return {"tensorflow": tf.__version__, "keras": keras.__version__}


def _check_operators(folder: Path) -> None:
    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString((folder / "saved_model.pb").read_bytes())
    except DecodeError as error:
        raise RefusedError("saved_model.pb is damaged") from error
    nodes = [node for graph in model.meta_graphs for node in graph.graph_def.node]
    nodes += [
        node
        for graph in model.meta_graphs
        for function in graph.graph_def.library.function
        for node in function.node_def
    ]
    found = sorted({node.op for node in nodes} & _UNSAFE)
    if found:
        raise RefusedError(f"it may execute code or touch files: its graph has {', '.join(found)}")


def _choose_signature(loaded: Any) -> Any:
    names = sorted(loaded.signatures)
    if _SIGNATURE in names:
        return loaded.signatures[_SIGNATURE]
    if len(names) != 1:
        said = ", ".join(names) or "none"
        raise RefusedError(f"it has the signatures {said}, one named {_SIGNATURE} is needed")
    return loaded.signatures[names[0]]


def _border(name: str, spec: Any) -> Border:
    if spec.shape.rank is None:
        raise RefusedError(f"input {name} has a free rank: export the model with fixed sizes")
    sizes = spec.shape.as_list()
    shape = pin_shape(name, sizes)
    return Border(name, shape, spec.dtype.name, name, tuple(size or -1 for size in sizes))


def _output(name: str, spec: Any) -> Border:
    sizes = tuple(size or -1 for size in spec.shape.as_list()) if spec.shape.rank is not None else ()
    return Border(name, sizes, spec.dtype.name, name, sizes)
