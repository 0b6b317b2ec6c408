"""Runs one model on this machine, with real values in and out.

Guarantees: one thread, so that outputs do not depend on how many cores there are; a quantized border is hidden.
Does not catch crashes: bytes that nobody vouches for are run in a child process first (``packager.probe``).
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from contract.errors import RuntimeLoadError
from contract.profile import DelegateName
from packager.quiet import native_output_hidden

Floats = npt.NDArray[np.float32]

_RESOLVERS = {
    DelegateName.XNNPACK: OpResolverType.BUILTIN,
    DelegateName.NONE: OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
}


class LoadedModel:
    """A model in an interpreter of its own."""

    def __init__(self, content: bytes, delegate: DelegateName) -> None:
        """Load a model with one input and one output.

        Args:
            content: The .tflite file.
            delegate: ``xnnpack`` or ``none``.

        Raises:
            RuntimeLoadError: LiteRT refuses it.
        """
        try:
            with native_output_hidden():
                self._interpreter: Any = Interpreter(
                    model_content=content,
                    num_threads=1,
                    experimental_op_resolver_type=_RESOLVERS[delegate],
                )
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise RuntimeLoadError(f"LiteRT does not load the model: {_first_line(error)}") from error
        self._input = _Border(self._interpreter.get_input_details()[0])
        self._output = _Border(self._interpreter.get_output_details()[0])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input with its batch dimension, free dimensions as 1."""
        return self._input.shape

    def run(self, samples: Floats) -> Floats:
        """Run samples one after another.

        Args:
            samples: (N, ...) real values, the model's input without its batch dimension.

        Returns:
            (N, ...) real values of the output without its batch dimension.

        Raises:
            RuntimeLoadError: LiteRT fails while it runs.
        """
        stored = self._input.quantize(samples)
        interpreter, source, sink = self._interpreter, self._input.index, self._output.index
        results = np.empty((len(samples), *self._output.shape[1:]), dtype=self._output.dtype)
        try:
            for position in range(len(stored)):
                interpreter.set_tensor(source, stored[position : position + 1])
                interpreter.invoke()
                results[position] = interpreter.get_tensor(sink)[0]
        except (ValueError, RuntimeError) as error:
            raise RuntimeLoadError(f"LiteRT does not run the model: {_first_line(error)}") from error
        return self._output.dequantize(results)

    def time_invocations(self, sample: Floats, *, runs: int, warm_up: int) -> list[float]:
        """Time single invocations, without copying tensors.

        Args:
            sample: Real values of one input without its batch dimension.
            runs: How many are timed.
            warm_up: How many run before.

        Returns:
            Milliseconds of each run.
        """
        self._interpreter.set_tensor(self._input.index, self._input.quantize(sample[np.newaxis]))
        invoke, milliseconds = self._interpreter.invoke, []
        for _ in range(warm_up):
            invoke()
        for _ in range(runs):
            started = time.perf_counter()
            invoke()
            milliseconds.append((time.perf_counter() - started) * 1000)
        return milliseconds


class _Border:
    """The input or output tensor: its place, its type, and the affine map to real values."""

    def __init__(self, details: dict[str, Any]) -> None:
        self.index: int = details["index"]
        self.shape: tuple[int, ...] = tuple(int(size) for size in details["shape"])
        self.dtype = np.dtype(details["dtype"])
        scale, zero_point = details["quantization"]
        self._scale = np.float32(scale)
        self._zero_point = np.float32(zero_point)

    def quantize(self, values: Floats) -> npt.NDArray[Any]:
        """Real values as the tensor stores them: value / scale + zero point, rounded to even, clipped."""
        if self.dtype.kind == "f":
            return values.astype(self.dtype, copy=False)
        limits = np.iinfo(self.dtype)
        steps = np.rint(values / self._scale) + self._zero_point
        stored: npt.NDArray[Any] = np.clip(steps, limits.min, limits.max).astype(self.dtype)
        return stored

    def dequantize(self, stored: npt.NDArray[Any]) -> Floats:
        """Stored values as real ones: (stored - zero point) * scale, float32."""
        real = stored.astype(np.float32)
        return real if self.dtype.kind == "f" else (real - self._zero_point) * self._scale


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
