"""Reads the facts of a model file.

Guarantees: the file is not changed. Only for bytes that may crash this process, or that were loaded before: see
``packager.lint.child``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from contract.errors import ManifestError, RuntimeLoadError
from packager.lint.facts import Border, ModelFacts
from packager.normalize.plan import STORED_FORMS
from packager.normalize.rewrite import normalize
from packager.runtime.flatbuffer import estimate_memory_bytes
from packager.runtime.objects import constant_of, operator_name, text_of, type_name, unpack_model
from packager.runtime.session import Session

_FLOATS = {"float16": np.float16, "float32": np.float32, "float64": np.float64}
_ESTIMATE_STEP_BYTES = 64 * 1024  # estimate_memory_bytes rounds up to it


def read_facts(content: bytes) -> ModelFacts:
    """Read a file that nobody looked at before: load it, run it, and see what normalising does to it."""
    try:
        session = Session(content)
        session.run([np.zeros(port.shape, port.dtype) for port in session.inputs])
        normal, done = normalize(content)
    except (ManifestError, RuntimeLoadError) as error:
        return _describe(content, content, refused=str(error))
    return _describe(content, normal, changes=done.changes)


def read_normal_facts(content: bytes) -> ModelFacts:
    """Read a model that was loaded and normalised before."""
    return _describe(content, content)


def _describe(
    content: bytes, normal: bytes, *, refused: str = "", changes: tuple[str, ...] = ()
) -> ModelFacts:
    model = unpack_model(content)
    graph = model.subgraphs[0]
    names = Counter(text_of(tensor.name) for tensor in graph.tensors)
    constants = [
        (tensor, data)
        for one in model.subgraphs
        for tensor in one.tensors
        if (data := constant_of(model, tensor)) is not None
    ]
    final = model if normal is content else unpack_model(normal)
    constant_bytes = sum(len(buffer.data) for buffer in final.buffers if buffer.data is not None)
    return ModelFacts(
        inputs=tuple(_border(graph.tensors[index]) for index in _numbers(graph.inputs)),
        outputs=tuple(
            _border(graph.tensors[index], _producer(model, index)) for index in _numbers(graph.outputs)
        ),
        operators=dict(sorted(Counter(_float_operators(final)).items())),
        not_finite=tuple(text_of(tensor.name) for tensor, data in constants if not _is_finite(tensor, data)),
        double_names=tuple(sorted(name for name, count in names.items() if count > 1)),
        quantized=sum(_is_quantized(tensor) for tensor, _ in constants),
        refused=refused,
        changes=changes,
        sparse=sum(tensor.sparsity is not None for tensor, _ in constants),
        constant_bytes=constant_bytes,
        arena_bytes=0 if refused else _arena_bytes(normal, constant_bytes),
    )


def _arena_bytes(content: bytes, constant_bytes: int) -> int:
    return max(0, estimate_memory_bytes(content) - len(content) - constant_bytes - _ESTIMATE_STEP_BYTES)


def _float_operators(model: Any) -> Iterator[str]:
    """Operators that read and write computed real values."""
    graph = model.subgraphs[0]
    for operator in graph.operators:
        name = operator_name(model, operator)
        tensors = [graph.tensors[index] for index in _numbers(operator.inputs) if index >= 0]
        reads = any(type_name(one) == "float32" and constant_of(model, one) is None for one in tensors)
        writes = any(type_name(graph.tensors[index]) == "float32" for index in _numbers(operator.outputs))
        if reads and writes and name not in STORED_FORMS:
            yield name


def _producer(model: Any, index: int) -> str:
    operators = model.subgraphs[0].operators
    # Backwards: a graph is in the order of its computation, so each RESHAPE stands behind what it reads.
    for operator in reversed(operators):
        if index in _numbers(operator.outputs):
            name = operator_name(model, operator)
            if name != "RESHAPE":
                return name
            index = int(operator.inputs[0])
    return ""


def _border(tensor: Any, producer: str = "") -> Border:
    free = tensor.shapeSignature if tensor.shapeSignature is not None else tensor.shape
    return Border(
        name=text_of(tensor.name), shape=tuple(_numbers(free)), dtype=type_name(tensor), producer=producer
    )


def _is_finite(tensor: Any, data: Any) -> bool:
    dtype = _FLOATS.get(type_name(tensor))
    if dtype is None:
        return True
    whole = len(data) // np.dtype(dtype).itemsize * np.dtype(dtype).itemsize
    return bool(np.isfinite(np.frombuffer(data[:whole].tobytes(), dtype=dtype)).all())


def _is_quantized(tensor: Any) -> bool:
    scales = tensor.quantization.scale if tensor.quantization is not None else None
    return scales is not None and len(scales) > 0


def _numbers(vector: Any) -> list[int]:
    return [] if vector is None else [int(index) for index in vector]
