"""Runs a model with any number of inputs and outputs, and shows what it computes inside.

Guarantees: one thread, and no delegates unless asked for, so that two runs of the same graph give the same values.
Values go in and come out as they are stored. Does not catch crashes: bytes that nobody vouches for
are run in a child process only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from contract.errors import RuntimeLoadError
from packager.quiet import native_output_hidden

Array = npt.NDArray[Any]


_RESOLVERS = {True: OpResolverType.BUILTIN, False: OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES}


@dataclass(frozen=True)
class Port:
    """An input or output: its tensor's position, name, shape and type."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class Session:
    """A model in an interpreter of its own."""

    def __init__(self, content: bytes, *, keep_values: bool = False, is_fast: bool = False) -> None:
        """Load a model.

        Args:
            content: The .tflite file.
            keep_values: Whether ``value`` may be asked for after a run; takes the memory of all tensors.
            is_fast: Whether XNNPACK may be used, which rounds otherwise.

        Raises:
            RuntimeLoadError: LiteRT refuses it.
        """
        try:
            with native_output_hidden():
                self._interpreter: Any = Interpreter(
                    model_content=content,
                    num_threads=1,
                    experimental_op_resolver_type=_RESOLVERS[is_fast],
                    experimental_preserve_all_tensors=keep_values,
                )
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise RuntimeLoadError(f"LiteRT does not load the model: {_first_line(error)}") from error

    @property
    def inputs(self) -> tuple[Port, ...]:
        """In the order of the graph."""
        return tuple(_port(details) for details in self._interpreter.get_input_details())

    @property
    def outputs(self) -> tuple[Port, ...]:
        """In the order of the graph; shapes that depend on values are known after a run."""
        return tuple(_port(details) for details in self._interpreter.get_output_details())

    def reshape(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Give every input a shape.

        Raises:
            RuntimeLoadError: The graph does not work with them.
        """
        try:
            for port, shape in zip(self.inputs, shapes, strict=True):
                self._interpreter.resize_tensor_input(port.index, shape)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise RuntimeLoadError(f"LiteRT does not take the shapes: {_first_line(error)}") from error

    def run(self, values: Sequence[Array]) -> list[Array]:
        """Run once.

        Args:
            values: One array per input, as the input stores it.

        Returns:
            One array per output.

        Raises:
            RuntimeLoadError: LiteRT fails while it runs.
        """
        try:
            for port, value in zip(self.inputs, values, strict=True):
                self._interpreter.set_tensor(port.index, value)
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(port.index) for port in self.outputs]
        except (ValueError, RuntimeError) as error:
            raise RuntimeLoadError(f"LiteRT does not run the model: {_first_line(error)}") from error

    def value(self, index: int) -> Array:
        """What a tensor of the main graph held after the last run; needs ``keep_values``."""
        found: Array = self._interpreter.get_tensor(index)
        return found

    def shapes(self) -> dict[int, tuple[int, ...]]:
        """Shape of each tensor of the main graph, after the last run; needs ``keep_values``."""
        details = self._interpreter.get_tensor_details()
        return {
            int(one["index"]): tuple(int(size) for size in one["shape"]) for one in details if one is not None
        }


def _port(details: dict[str, Any]) -> Port:
    return Port(
        index=int(details["index"]),
        name=str(details["name"]),
        shape=tuple(int(size) for size in details["shape"]),
        dtype=np.dtype(details["dtype"]),
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
