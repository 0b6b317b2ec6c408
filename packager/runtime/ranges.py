"""Reads the range of every tensor while a float model runs.

Guarantees: XNNPACK and one thread, as the quantizer's own calibration, so the ranges are its ranges to the last bit.
Does not catch crashes: bytes that nobody vouches for are run in a child process first (``packager.probe``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from contract.errors import RuntimeLoadError
from packager.quiet import native_output_hidden
from packager.runtime.graph import read_graph

Array = npt.NDArray[Any]
_STATE = frozenset(("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE"))


def is_plain(content: bytes) -> bool:
    """Whether a model is one graph without memory: what it computes for a sample depends on that sample alone.

    Args:
        content: A TFLite flatbuffer that the native loader took.
    """
    graph = read_graph(content)
    has_state = any(tensor.is_variable for tensor in graph.tensors)
    return graph.graphs == 1 and not has_state and _STATE.isdisjoint(node.operator for node in graph.nodes)


class RangeReader:
    """A model in an interpreter of its own that keeps all tensors."""

    def __init__(self, content: bytes, signature: str, names: Sequence[str]) -> None:
        """Load a model.

        Args:
            content: The .tflite file; ``is_plain``.
            signature: Which of its signatures is run.
            names: Tensors whose ranges are wanted.

        Raises:
            RuntimeLoadError: LiteRT refuses it, or there is not exactly one tensor of a name.
        """
        try:
            with native_output_hidden():
                self._interpreter: Any = Interpreter(
                    model_content=content,
                    num_threads=1,
                    experimental_op_resolver_type=OpResolverType.BUILTIN,
                    experimental_preserve_all_tensors=True,
                )
                self._interpreter.allocate_tensors()
            self._run: Any = self._interpreter.get_signature_runner(signature)
        except (ValueError, RuntimeError) as error:
            raise RuntimeLoadError(f"LiteRT does not load the model: {error}") from error
        places: dict[str, list[int]] = {}
        for details in self._interpreter.get_tensor_details():
            places.setdefault(str(details["name"]), []).append(int(details["index"]))
        if any(len(places.get(name, ())) != 1 for name in names):
            raise RuntimeLoadError("two tensors of the model have one name, or one has none")
        self._places = [places[name][0] for name in names]

    def read(self, feed: Mapping[str, Array]) -> npt.NDArray[np.float64]:
        """Run one sample.

        Args:
            feed: Name of each input to its value, batch dimension included.

        Returns:
            (names, 2) lowest and highest value of each tensor; every float32 is exact in it. NaN where one is.

        Raises:
            RuntimeLoadError: LiteRT fails while it runs.
        """
        try:
            self._run(**feed)
        except (ValueError, RuntimeError) as error:
            raise RuntimeLoadError(f"LiteRT does not run the model: {error}") from error
        return np.array([_range(self._interpreter.tensor(place)()) for place in self._places])


def _range(values: Array) -> tuple[float, float]:
    # Nothing may keep a view of the interpreter's memory over the next run: plain numbers leave.
    return float(values.min()), float(values.max())
