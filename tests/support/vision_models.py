"""The tests' own detector and segmenter, and models made from them by adding operators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from contract.tensor import DType, TensorSpec
from packager.description import Source

FOLDER = Path(__file__).parents[1] / "data" / "vision"
DETECTOR, SEGMENTER = FOLDER / "detector.tflite", FOLDER / "segmenter.tflite"
GRID, ANCHOR = 6, 0.36
DETECTOR_OUTPUTS = (("boxes", (1, 36, 4)), ("scores", (1, 36, 4)))
READY_NAMES = tuple(f"TFLite_Detection_PostProcess{suffix}" for suffix in ("", ":1", ":2", ":3"))
READY_COUNT = 10


def spec(name: str, shape: tuple[int, ...], dtype: DType = DType.FLOAT32) -> TensorSpec:
    """A border of a model."""
    return TensorSpec(name=name, shape=shape, dtype=dtype)


DETECTOR_SOURCE = Source(
    signature="serving_default",
    inputs=(spec("image", (1, 48, 48, 3)),),
    outputs=tuple(spec(name, shape) for name, shape in DETECTOR_OUTPUTS),
)
SEGMENTER_SOURCE = Source(
    signature="serving_default",
    inputs=(spec("image", (1, 48, 48, 3)),),
    outputs=(spec("scores", (1, 24, 24, 4)),),
    gives_probabilities=True,
)


def anchors() -> list[tuple[float, float, float, float]]:
    """Of the detector, row by row of its grid."""
    centres = [(number + 0.5) / GRID for number in range(GRID)]
    return [(y, x, ANCHOR, ANCHOR) for y in centres for x in centres]


def write_anchors(path: Path) -> Path:
    """A line each."""
    path.write_text("".join(f"{y:.6f}, {x:.6f}, {h}, {w}\n" for y, x, h, w in anchors()), encoding="ascii")
    return path


def ssd_options(folder: Path) -> dict[str, Any]:
    """What the detector does not say of itself, as task options; writes the anchors."""
    write_anchors(folder / "anchors.csv")
    return {
        "decoding": "ssd",
        "boxes": "boxes",
        "scores": "scores",
        "anchors": "anchors.csv",
        "sigmoid": "false",
        "min_score": "0.05",
        "max_detections": "20",
    }


def _unpacked(path: Path) -> Any:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))


def _packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(model: Any, name: str, shape: tuple[int, ...], kind: int, data: bytes = b"") -> int:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), np.array(shape, np.int32), kind, 0
    if data:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(data, np.uint8)
        model.buffers.append(buffer)
        tensor.buffer = len(model.buffers) - 1
    model.subgraphs[0].tensors.append(tensor)
    return len(model.subgraphs[0].tensors) - 1


def _operator(model: Any, code: int, inputs: list[int], outputs: list[int], custom: str = "") -> Any:
    kind = schema.OperatorCodeT()
    kind.builtinCode, kind.deprecatedBuiltinCode, kind.version = code, min(code, 127), 1
    kind.customCode = custom or None
    model.operatorCodes.append(kind)
    made = schema.OperatorT()
    made.opcodeIndex = len(model.operatorCodes) - 1
    made.inputs, made.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
    model.subgraphs[0].operators.append(made)
    model.subgraphs[0].outputs = np.array(outputs, np.int32)
    model.signatureDefs = None
    return made


def detector_with_postprocessing() -> bytes:
    """The detector with TFLite's own operator at its end, as object detection APIs export it; without a signature."""
    model = _unpacked(DETECTOR)
    floats = schema.TensorType.FLOAT32
    table = _tensor(model, "anchors", (36, 4), floats, np.array(anchors(), np.float32).tobytes())
    boxes, scores = (int(index) for index in model.subgraphs[0].outputs)
    shapes = [(1, READY_COUNT, 4), (1, READY_COUNT), (1, READY_COUNT), (1,)]
    outputs = [_tensor(model, name, shape, floats) for name, shape in zip(READY_NAMES, shapes, strict=True)]
    operator = _operator(
        model,
        schema.BuiltinOperator.CUSTOM,
        [boxes, scores, table],
        outputs,
        custom="TFLite_Detection_PostProcess",
    )
    options = flexbuffers.Builder()
    with options.Map():
        for key, number in {
            "max_detections": READY_COUNT,
            "max_classes_per_detection": 1,
            "detections_per_class": 100,
            "num_classes": 3,
        }.items():
            options.Int(key, number)
        options.Bool("use_regular_nms", False)
        for key, value in {
            "nms_score_threshold": 0.05,
            "nms_iou_threshold": 0.45,
            "y_scale": 10.0,
            "x_scale": 10.0,
            "h_scale": 5.0,
            "w_scale": 5.0,
        }.items():
            options.Float(key, value)
    operator.customOptions = np.frombuffer(bytes(options.Finish()), np.uint8)
    operator.customOptionsFormat = schema.CustomOptionsFormat.FLEXBUFFERS
    return _packed(model)


def segmenter_with_argmax() -> bytes:
    """The segmenter with an argmax at its end: a map of classes (1, 24, 24) int64; without a signature."""
    model = _unpacked(SEGMENTER)
    (scores,) = (int(index) for index in model.subgraphs[0].outputs)
    axis = _tensor(model, "axis", (), schema.TensorType.INT32, np.array(3, np.int32).tobytes())
    classes = _tensor(model, "classes", (1, 24, 24), schema.TensorType.INT64)
    operator = _operator(model, schema.BuiltinOperator.ARG_MAX, [scores, axis], [classes])
    operator.builtinOptionsType = schema.BuiltinOptions.ArgMaxOptions
    operator.builtinOptions = schema.ArgMaxOptionsT()
    operator.builtinOptions.outputType = schema.TensorType.INT64
    return _packed(model)
