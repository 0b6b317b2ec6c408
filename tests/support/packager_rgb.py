"""The digits model for colour images, and its samples in colour: what libraries that take no gray images can read."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from PIL import Image

from tests.support.packager_builders import DIGITS
from tests.support.packager_models import changed_model


def rgb_digits() -> bytes:
    """The digits model with an input (1, 8, 8, 3): a third of the first convolution's weights for each colour."""

    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        image = graph.tensors[graph.inputs[0]]
        first = next(op for op in graph.operators if graph.inputs[0] in list(op.inputs))
        weights = graph.tensors[first.inputs[1]]
        buffer = model.buffers[weights.buffer]
        values = np.frombuffer(bytes(buffer.data), dtype=np.float32).reshape(weights.shape)
        assert values.shape[3] == 1, "the first operator is the first convolution"
        buffer.data = np.frombuffer((np.repeat(values, 3, axis=3) / 3).tobytes(), dtype=np.uint8)
        for tensor in (image, weights):
            tensor.shape = np.array([*tensor.shape[:3], 3], dtype=np.int32)
        if image.shapeSignature is not None:
            image.shapeSignature = np.array([*image.shapeSignature[:3], 3], dtype=np.int32)

    return changed_model(change)


def large_rgb_digits() -> bytes:
    """The same with an input (1, 32, 32, 3), of which it takes the means of patches of 4 by 4."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(rgb_digits(), 0))
    (graph,), (signature,) = model.subgraphs, model.signatureDefs
    (small,), patch = graph.inputs, 4
    large = copy.deepcopy(graph.tensors[small])
    large.name, large.shape, large.shapeSignature = b"large", np.array([1, 32, 32, 3], np.int32), None
    graph.tensors.append(large)
    graph.inputs = np.array([len(graph.tensors) - 1], np.int32)
    signature.inputs[0].tensorIndex = int(graph.inputs[0])
    operator, code = schema.OperatorT(), schema.OperatorCodeT()
    operator.inputs, operator.outputs = graph.inputs, np.array([small], np.int32)
    operator.opcodeIndex = len(model.operatorCodes)
    operator.builtinOptionsType, options = schema.BuiltinOptions.Pool2DOptions, schema.Pool2DOptionsT()
    options.padding = schema.Padding.VALID
    options.strideW = options.strideH = options.filterWidth = options.filterHeight = patch
    operator.builtinOptions = options
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.AVERAGE_POOL_2D
    code.version = 1
    model.operatorCodes.append(code)
    graph.operators.insert(0, operator)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def write_rgb_images(folder: Path, kind: str, most: int) -> Path:
    """Some samples of each class as RGB images in ``<class>/<image>``; ``kind`` is calibration or evaluation."""
    for of_class in sorted((DIGITS / kind).iterdir()):
        target = folder / of_class.name
        target.mkdir(parents=True)
        for path in sorted(of_class.iterdir())[:most]:
            Image.open(path).convert("RGB").save(target / path.name)
    return folder
