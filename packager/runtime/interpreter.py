"""Runs one model on this machine, with real values in and out.

Guarantees: one thread, so that outputs do not depend on how many cores there are; a quantized border is hidden.
Does not catch crashes: bytes that nobody vouches for are run in a child process first (``packager.probe``).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from contract.errors import RuntimeLoadError
from contract.pixels import takes_pixels
from contract.processing import ImagePreprocessing
from contract.profile import DelegateName
from contract.vision import to_pixels
from packager.quiet import native_output_hidden

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

_RESOLVERS = {
    DelegateName.XNNPACK: OpResolverType.BUILTIN,
    DelegateName.NONE: OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
}


class LoadedModel:
    """A model in an interpreter of its own."""

    def __init__(
        self, content: bytes, delegate: DelegateName, image: ImagePreprocessing | None = None
    ) -> None:
        """Load a model.

        Args:
            content: The .tflite file.
            delegate: ``xnnpack`` or ``none``.
            image: From an image to the first input; None for a model that takes no image.

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
        inputs = self._interpreter.get_input_details()
        self._inputs = [_Border(details, None if place else image) for place, details in enumerate(inputs)]
        self._outputs = [_Border(details) for details in self._interpreter.get_output_details()]

    def zeros(self) -> tuple[Array, ...]:
        """One sample of every input, all zeros: (1, ...) each."""
        return tuple(np.zeros((1, *border.sample_shape), border.real_dtype) for border in self._inputs)

    def run(self, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """Run samples one after another.

        Args:
            inputs: Of every input in the graph's order, (N, ...) without the batch dimension: real values for float
                and quantized inputs, else the input's own type.

        Returns:
            Of every output in the graph's order, (N, ...) without the batch dimension: float32 real values of float
            and quantized outputs, else the output's own type.

        Raises:
            RuntimeLoadError: LiteRT fails while it runs.
        """
        if not self._inputs:
            raise RuntimeLoadError("the model has no input")
        try:
            stored = [
                (border.index, border.store(values).reshape((len(values), *border.shape)))
                for border, values in zip(self._inputs, inputs, strict=True)
            ]
            rows = self._run_one_border(stored[0]) if self._has_one_border else self._run_all_borders(stored)
            return tuple(border.read(row) for border, row in zip(self._outputs, rows, strict=True))
        except (ValueError, RuntimeError) as error:
            raise RuntimeLoadError(f"LiteRT does not run the model: {_first_line(error)}") from error

    @property
    def _has_one_border(self) -> bool:
        return len(self._inputs) == len(self._outputs) == 1

    def _run_one_border(self, stored: tuple[int, Array]) -> list[list[Array]]:
        """The common case without a loop over borders: for small models that loop is a tenth of the time."""
        (source, values), sink = stored, self._outputs[0].index
        set_tensor, invoke = self._interpreter.set_tensor, self._interpreter.invoke
        get_tensor = self._interpreter.get_tensor
        row: list[Array] = []
        add = row.append
        for value in values:
            set_tensor(source, value)
            invoke()
            add(get_tensor(sink))
        return [row]

    def _run_all_borders(self, stored: Sequence[tuple[int, Array]]) -> list[list[Array]]:
        interpreter = self._interpreter
        sinks = [border.index for border in self._outputs]
        rows: list[list[Array]] = [[] for _ in sinks]
        for position in range(len(stored[0][1])):
            for source, values in stored:
                interpreter.set_tensor(source, values[position])
            interpreter.invoke()
            for sink, row in zip(sinks, rows, strict=True):
                row.append(interpreter.get_tensor(sink))
        return rows

    def time_invocations(self, sample: Sequence[Array], *, runs: int, warm_up: int) -> list[float]:
        """Time single invocations, without copying tensors.

        Args:
            sample: One sample of every input, without the batch dimension.
            runs: How many are timed.
            warm_up: How many run before.

        Returns:
            Milliseconds of each run.
        """
        for border, values in zip(self._inputs, sample, strict=True):
            self._interpreter.set_tensor(border.index, border.store(values).reshape(border.shape))
        invoke, milliseconds = self._interpreter.invoke, []
        for _ in range(warm_up):
            invoke()
        for _ in range(runs):
            started = time.perf_counter()
            invoke()
            milliseconds.append((time.perf_counter() - started) * 1000)
        return milliseconds


class _Border:
    """An input or output tensor: its place, its type, and the affine map to real values."""

    def __init__(self, details: dict[str, Any], image: ImagePreprocessing | None = None) -> None:
        self.index: int = details["index"]
        self.shape: tuple[int, ...] = tuple(int(size) for size in details["shape"])
        self.dtype = np.dtype(details["dtype"])
        scale, zero_point = details["quantization"]
        self._scale = np.float32(scale)
        self._zero_point = np.float32(zero_point)
        self._pixels = image if takes_pixels(self.dtype.name, scale, zero_point, image) else None

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Without the leading batch dimension of 1, if there is one."""
        return self.shape[1:] if self.shape[:1] == (1,) else self.shape

    @property
    def is_real(self) -> bool:
        """Whether it holds floats, or integers that stand for them."""
        return self.dtype.kind == "f" or bool(self._scale)

    @property
    def real_dtype(self) -> np.dtype[Any]:
        """Type of the values that come in and go out."""
        return np.dtype(np.float32) if self.is_real else self.dtype

    def store(self, values: Array) -> Array:
        """Values as the tensor stores them: real ones / scale + zero point, rounded to even, clipped; or pixels."""
        if self._pixels is not None:
            return to_pixels(values, self._pixels)
        if self.dtype.kind == "f" or not self.is_real:
            return values.astype(self.dtype, copy=False)
        limits = np.iinfo(self.dtype)
        steps = np.rint(values / self._scale) + self._zero_point
        stored: Array = np.clip(steps, limits.min, limits.max).astype(self.dtype)
        return stored

    def read(self, rows: Sequence[Array]) -> Array:
        """Outputs of all samples, (N, ...): real values where they are, (stored - zero point) * scale."""
        stored = np.stack(rows) if rows else np.empty((0, *self.shape), self.dtype)
        stored = stored[:, 0] if stored.shape[1:2] == (1,) else stored
        if not self.is_real:
            return stored
        real: Floats = stored.astype(np.float32)
        return real if self.dtype.kind == "f" else (real - self._zero_point) * self._scale


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
