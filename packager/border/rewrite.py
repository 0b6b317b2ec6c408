"""Gives a quantized model file inputs and outputs that task libraries take.

Guarantees: what the model computes in between is untouched, and tensors keep their names; the same model gives the same
bytes; a model that needs nothing comes back as it is. Files behind the flatbuffer are dropped: they are added later
(``packager.metadata.embed``). For bytes that our own quantizer made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.processing import ImagePreprocessing
from packager.border.plan import UINT8_SHIFT, Form, Stored, plan_input, plan_output
from packager.runtime.objects import (
    add_operator,
    add_tensor,
    make_buffer,
    operator_name,
    pack_model,
    text_of,
    type_name,
    unpack_model,
)

_DEQUANTIZE_VERSIONS = {"uint8": 1, "int8": 2, "int16": 3}
_QUANTIZE_VERSIONS = {"int8": 1, "uint8": 1, "int16": 2}
"""By the integer type: tensorflow/lite/tools/versioning/op_version.cc."""


def dress(content: bytes, image: ImagePreprocessing | None, *, is_for_accelerator: bool = False) -> bytes:
    """Give a model its border.

    Args:
        content: The .tflite file, as quantized.
        image: From an image to the first input; None for a model that takes no image.
        is_for_accelerator: Whether it is to compute integers only.

    Returns:
        The .tflite file.
    """
    model = unpack_model(content)
    graph = model.subgraphs[0]
    images = [image, *[None] * len(graph.inputs)]
    inputs = [
        plan_input(_stored(graph.tensors[index]), recipe, is_for_accelerator=is_for_accelerator)
        for index, recipe in zip(graph.inputs, images, strict=False)
    ]
    outputs = [
        plan_output(_stored(graph.tensors[index]), inputs, is_for_accelerator=is_for_accelerator)
        for index in graph.outputs
    ]
    if {*inputs, *outputs} <= {Form.KEPT}:
        return content
    work = _Work(model, graph)
    entering = [work.enter(int(index), form, image) for index, form in zip(graph.inputs, inputs, strict=True)]
    leaving = [work.leave(int(index), form) for index, form in zip(graph.outputs, outputs, strict=True)]
    _rename(model, "inputs", dict(zip(map(int, graph.inputs), entering, strict=True)))
    _rename(model, "outputs", dict(zip(map(int, graph.outputs), leaving, strict=True)))
    graph.inputs, graph.outputs = entering, leaving
    graph.operators = [*work.before, *graph.operators, *work.after]
    return pack_model(model)


def _stored(tensor: Any) -> Stored:
    found = tensor.quantization
    scales = [] if found is None or found.scale is None else list(found.scale)
    points = [] if found is None or found.zeroPoint is None else list(found.zeroPoint)
    if len(scales) != 1:
        return Stored(type_name(tensor), 0.0, 0)
    return Stored(type_name(tensor), float(scales[0]), int(points[0]) if points else 0)


def _rename(model: Any, side: str, places: dict[int, int]) -> None:
    """Let the signatures of the main graph name the new tensors."""
    for signature in model.signatureDefs or []:
        if signature.subgraphIndex:
            continue
        for entry in getattr(signature, side):
            entry.tensorIndex = places.get(int(entry.tensorIndex), int(entry.tensorIndex))


@dataclass
class _Work:
    """A model on its way; operators that come before and after its own."""

    model: Any
    graph: Any

    def __post_init__(self) -> None:
        self.before: list[Any] = []
        self.after: list[Any] = []

    def enter(self, inner: int, form: Form, image: ImagePreprocessing | None) -> int:
        """The tensor that is fed in place of an input."""
        if form is Form.KEPT:
            return inner
        stored = _stored(self.graph.tensors[inner])
        if form is Form.REAL:
            outer = self._tensor(inner, "real", "float32")
            self._quantize(self.before.append, outer, inner)
            return outer
        if form is Form.RAW:
            outer = self._tensor(inner, "pixels", "uint8", (1.0, 0))
        else:
            outer = self._tensor(inner, "pixels", "uint8", (stored.scale, stored.zero_point + UINT8_SHIFT))
        if form is Form.BYTES:
            self._quantize(self.before.append, outer, inner)
            return outer
        if form is Form.RAW:
            assert image is not None  # noqa: S101 - only images are pixels
            self._normalize(outer, inner, image)
            return outer
        at = self._tensor(inner, "real", "float32")
        self._dequantize(self.before.append, outer, at)
        self._quantize(self.before.append, at, inner)
        return outer

    def leave(self, inner: int, form: Form) -> int:
        """The tensor that is read in place of an output."""
        if form is Form.KEPT:
            return inner
        if form is Form.REAL:
            computed = self._computed(inner)
            if computed is not None:
                return computed
            outer = self._tensor(inner, "real", "float32")
            self._dequantize(self.after.append, inner, outer)
            return outer
        stored = _stored(self.graph.tensors[inner])
        outer = self._tensor(inner, "bytes", "uint8", (stored.scale, stored.zero_point + UINT8_SHIFT))
        self._quantize(self.after.append, inner, outer)
        return outer

    def _computed(self, inner: int) -> int | None:
        """The float32 tensor that an output was quantized from, as of an operator that the quantizer leaves in float.

        Its own values are better than what is left of them: the ranges of detections, for example, say nothing.
        """
        makers = [one for one in self.graph.operators if inner in one.outputs]
        if len(makers) != 1 or operator_name(self.model, makers[0]) != "QUANTIZE":
            return None
        source = int(makers[0].inputs[0])
        if type_name(self.graph.tensors[source]) != "float32":
            return None
        if not any(inner in one.inputs for one in self.graph.operators):
            self.graph.operators = [one for one in self.graph.operators if one is not makers[0]]
        return source

    def _normalize(self, outer: int, inner: int, image: ImagePreprocessing) -> None:
        """``contract.vision.normalize_images`` as operators: the same operations in float32.

        On lines of pixels as one dimension: over channels alone, XNNPACK would take twenty times as long.
        """
        shape = [int(size) for size in self.graph.tensors[inner].shape]
        line = [*shape[:-2], shape[-2] * shape[-1]]
        at = self._reshape(outer, self._tensor(outer, "lines", "uint8", (1.0, 0), line))
        real = self._tensor(outer, "real", "float32", shape=line)
        self._dequantize(self.before.append, at, real)
        for operator, name, values in (("SUB", "mean", image.mean), ("DIV", "std", image.std)):
            constant = self._constant(
                f"{self._name(outer)}/{name}", np.tile(np.asarray(values, np.float32), image.width)
            )
            made = self._tensor(outer, f"after {name}", "float32", shape=line)
            self.before.append(add_operator(self.model, operator, [real, constant], made, version=1))
            real = made
        stored = _stored(self.graph.tensors[inner])
        lines = self._tensor(inner, "lines", stored.dtype, (stored.scale, stored.zero_point), line)
        self._quantize(self.before.append, real, lines)
        self._reshape(lines, inner)

    def _reshape(self, source: int, made: int) -> int:
        sizes = np.array([int(size) for size in self.graph.tensors[made].shape], np.int32)
        constant = self._constant(f"{self._name(made)}/shape", sizes)
        self.before.append(add_operator(self.model, "RESHAPE", [source, constant], made, version=1))
        return made

    def _constant(self, name: str, values: npt.NDArray[Any]) -> int:
        self.model.buffers.append(make_buffer(values.tobytes()))
        made = add_tensor(self.graph, name, values.shape, values.dtype.name)
        self.graph.tensors[made].buffer = len(self.model.buffers) - 1
        return made

    def _name(self, index: int) -> str:
        return text_of(self.graph.tensors[index].name)

    def _tensor(
        self,
        like: int,
        suffix: str,
        kind: str,
        quantization: tuple[float, int] | None = None,
        shape: Sequence[int] | None = None,
    ) -> int:
        sizes = self.graph.tensors[like].shape if shape is None else shape
        return add_tensor(self.graph, f"{self._name(like)}/{suffix}", sizes, kind, quantization)

    def _quantize(self, put: Callable[[Any], None], source: int, made: int) -> None:
        version = _QUANTIZE_VERSIONS[type_name(self.graph.tensors[made])]
        put(add_operator(self.model, "QUANTIZE", [source], made, version=version))

    def _dequantize(self, put: Callable[[Any], None], source: int, made: int) -> None:
        version = _DEQUANTIZE_VERSIONS[type_name(self.graph.tensors[source])]
        put(add_operator(self.model, "DEQUANTIZE", [source], made, version=version))
