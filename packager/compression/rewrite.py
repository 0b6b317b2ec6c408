"""Prunes and clusters the weights of a .tflite file.

Guarantees: nothing but the touched weights changes in what the file says; the same file and settings give the same
bytes. Does not judge the result. Only for bytes that LiteRT has loaded in a child process before
(``packager.sources.tflite``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from contract.errors import ManifestError
from packager.compression.plan import ELEMENTS_LEAST, WEIGHT_INPUTS, Compression
from packager.compression.report import LayerRow
from packager.runtime.objects import (
    constant_of,
    make_buffer,
    operator_name,
    pack_model,
    text_of,
    type_name,
    unpack_model,
)
from packager.sources.converters.shrink import Weights, cluster, prune


@dataclass(frozen=True)
class _Place:
    """Weights: the tensor that names them, and where their bytes are."""

    tensor: Any
    buffer: int


def compress_model(content: bytes, wanted: Compression) -> tuple[bytes, tuple[LayerRow, ...]]:
    """Prune, then cluster.

    Args:
        content: A float .tflite file that LiteRT loads.
        wanted: What to do.

    Returns:
        The new file, and what was done to each layer.

    Raises:
        ManifestError: There is no layer to touch, or a weight is NaN or infinite.
    """
    model = unpack_model(content)
    layers = []
    for place in _find_weights(model):
        name = text_of(place.tensor.name)
        shape = tuple(int(size) for size in place.tensor.shape)
        # The schema's numbers are little-endian, whatever the machine.
        weights = np.frombuffer(bytes(model.buffers[place.buffer].data), dtype="<f4").reshape(shape)
        if not np.isfinite(weights).all():
            raise ManifestError(f"weights {name} hold NaN or infinity", remedy="train on, or mend them")
        made = _shrink(weights.astype(np.float32), wanted)
        model.buffers[place.buffer] = make_buffer(made.astype("<f4").tobytes())
        layers.append(
            LayerRow(name=name, elements=made.size, zeros=int((made == 0).sum()), values=wanted.clusters)
        )
    if not layers:
        raise ManifestError(
            f"no layer has {ELEMENTS_LEAST} weights that could be pruned or clustered",
            remedy=f"only {', '.join(WEIGHT_INPUTS)} are; the model is small as it is",
        )
    return pack_model(model), tuple(layers)


def _shrink(weights: Weights, wanted: Compression) -> Weights:
    made = prune(weights, wanted.prune) if wanted.prune else weights
    return cluster(made, wanted.clusters).weights() if wanted.clusters else made


def _find_weights(model: Any) -> Iterator[_Place]:
    """Weights that nothing reads but operators which compute with them as such, in the graphs' order; each once."""
    found: dict[int, _Place] = {}
    others: set[int] = set()
    for graph in model.subgraphs:
        others.update(
            int(graph.tensors[index].buffer) for index in (*_list(graph.inputs), *_list(graph.outputs))
        )
        for operator in graph.operators or []:
            position = WEIGHT_INPUTS.get(operator_name(model, operator))
            for place, index in enumerate(_list(operator.inputs)):
                if index < 0:
                    continue  # an optional input that is left out
                tensor = graph.tensors[index]
                if place == position and _is_touched(model, tensor):
                    found.setdefault(int(tensor.buffer), _Place(tensor, int(tensor.buffer)))
                else:
                    others.add(int(tensor.buffer))
    return (place for buffer, place in found.items() if buffer not in others)


def _is_touched(model: Any, tensor: Any) -> bool:
    data = constant_of(model, tensor)
    return data is not None and type_name(tensor) == "float32" and len(data) // 4 >= ELEMENTS_LEAST


def _list(vector: Any) -> list[int]:
    return [] if vector is None else [int(index) for index in vector]
