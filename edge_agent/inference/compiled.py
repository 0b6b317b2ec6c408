"""A model on ``CompiledModel`` of ai-edge-litert, whose packed weights are mapped from a file.

Guarantees: the same inputs, outputs and errors as ``runtime.Graph``, which describes the tensors: this interface tells
neither quantization nor what a delegate took. Owned by one thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from contract.errors import InferenceError, RuntimeLoadError
from contract.scalars import TEXT_MAX_CHARS
from edge_agent.inference.runtime import LOAD_FAILURES, Border, import_compiled
from edge_agent.inference.weight_cache import Edge, Packed


class CompiledGraph:
    """A model, ready to run.

    Args:
        path: Model file, checked.
        weights: Cache file, checked; written when it is not there.
        packed: How the model's tensors look, and what XNNPACK takes of it.
        threads: How many.

    Raises:
        RuntimeLoadError: The runtime refuses the model or the cache, or has no such interface.
    """

    def __init__(self, path: Path, weights: Path, packed: Packed, threads: int) -> None:
        self.delegate = packed.delegate
        signature = packed.signature
        try:
            self.inputs = tuple(_border(edge) for edge in packed.inputs)
            self.outputs = tuple(_border(edge) for edge in packed.outputs)
            module = import_compiled()
            options = module.Options(
                hardware_accelerators=module.HardwareAccelerator.CPU,
                cpu_options=module.CpuOptions(num_threads=threads, xnnpack_weight_cache_path=str(weights)),
            )
            self._model: Any = module.CompiledModel.from_file(str(path), options=options)
            self._signature = self._model.get_signature_index(signature)
            create = self._model.create_input_buffer_by_name
            into = {border.name: create(signature, border.name) for border in self.inputs}
            create = self._model.create_output_buffer_by_name
            out_of = {border.name: create(signature, border.name) for border in self.outputs}
            order = self._model.get_signature_by_index(self._signature)
            self._given = [into[name] for name in order["inputs"]]
            self._taken = [out_of[name] for name in order["outputs"]]
            self._into, self._out_of = [*into.values()], [*out_of.values()]
        except (ImportError, KeyError, *LOAD_FAILURES) as error:
            raise RuntimeLoadError(
                f"no model with cached weights: {str(error).strip() or type(error).__name__}"
            ) from error

    def note_fallback(self, requested: str, reason: str) -> None:
        """Say that this variant runs in place of one whose delegate could not be had."""
        self.delegate = msgspec.structs.replace(
            self.delegate, requested=requested, reason=reason[:TEXT_MAX_CHARS]
        )

    def run(self, inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Invoke once.

        Args:
            inputs: In the order, shape and dtype of ``inputs``.

        Returns:
            Copies of the outputs, in the order of ``outputs``, as stored.

        Raises:
            InferenceError: The runtime failed.
        """
        try:
            for buffer, tensor in zip(self._into, inputs, strict=True):
                buffer.write(tensor)
            self._model.run_by_index(self._signature, self._given, self._taken)
            return [
                buffer.read(int(np.prod(at.shape, dtype=np.int64)), at.dtype).reshape(at.shape)
                for buffer, at in zip(self._out_of, self.outputs, strict=True)
            ]
        except (RuntimeError, ValueError, MemoryError) as error:
            raise InferenceError(f"the runtime failed: {error}") from error

    def run_one(self, tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """``run`` for a model with one input and one output."""
        return self.run([tensor])[0]


def edge_of(border: Border) -> Edge:
    """A tensor's description, to be kept."""
    return Edge(
        index=border.index,
        name=border.name,
        shape=border.shape,
        dtype=border.dtype.name,
        scale=border.scale,
        zero_point=border.zero_point,
    )


def _border(edge: Edge) -> Border:
    """The description that was kept."""
    return Border(edge.index, edge.name, edge.shape, np.dtype(edge.dtype), edge.scale, edge.zero_point)
