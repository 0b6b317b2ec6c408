"""The one door to LiteRT: which runtime is there, and one loaded model on it.

Guarantees: the best installed runtime of a fixed order is taken; whatever the runtime raises while loading comes out
as RuntimeLoadError. Does not survive a native crash: that is why this runs in a worker process.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from contract.errors import InferenceError, RuntimeLoadError
from contract.manifest import Variant
from contract.messages import DelegateReport
from contract.profile import DelegateName
from edge_agent.inference.delegates import ops_of, report_delegate

_RUNTIMES: tuple[tuple[str, Callable[[], Any]], ...] = (
    ("ai-edge-litert", lambda: importlib.import_module("ai_edge_litert.interpreter")),
    ("tflite-runtime", lambda: importlib.import_module("tflite_runtime.interpreter")),
    ("tensorflow", lambda: importlib.import_module("tensorflow.lite.python.interpreter")),
)
"""Distribution, and how its interpreter is imported; best first: ADR 0001. TensorFlow takes ten times the memory."""

EDGETPU_LIBRARY = "libedgetpu.so.1"
"""Name under which Coral's packages install the Edge TPU delegate (https://coral.ai/docs/edgetpu/tflite-python/)."""

_LOAD_FAILURES = (ValueError, RuntimeError, OSError, AttributeError, TypeError, SystemError, MemoryError)
"""What the runtimes raise for a model or delegate that they cannot load; SystemError: tflite-runtime with numpy 2."""


@dataclass(frozen=True)
class Border:
    """One input or output tensor as the interpreter holds it.

    Attributes:
        index: Of the tensor in the interpreter.
        name: In the model's signature; the tensor's own where there is no signature.
        shape: Without free dimensions.
        dtype: As stored.
        scale: real = (stored - zero_point) * scale; 0 for tensors that hold real values.
        zero_point: See ``scale``.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float
    zero_point: int


@dataclass(frozen=True)
class Runtime:
    """An installed runtime: distribution, version (empty when it does not say), interpreter module."""

    name: str
    version: str
    module: Any


def find_runtime() -> Runtime:
    """Import the best runtime that is installed.

    Raises:
        RuntimeLoadError: None is, or the installed ones do not import.
    """
    faults: list[str] = []
    for name, load in _RUNTIMES:
        try:
            module = load()
        except (ImportError, *_LOAD_FAILURES) as error:
            faults.append(f"{name}: {error}")
            continue
        return Runtime(name, _version_of(name), module)
    raise RuntimeLoadError(
        "no TFLite runtime on this device",
        faults=faults,
        remedy="install litefleet[agent], which brings the runtime for this board",
    )


def _version_of(distribution: str) -> str:
    """What a package says of itself: asking ``importlib.metadata`` costs a worker 1 MiB."""
    return str(getattr(sys.modules[distribution.replace("-", "_")], "__version__", ""))


class Graph:
    """A model on an interpreter, allocated. Owned by one thread.

    Attributes:
        inputs: In the model's own order.
        outputs: In the model's own order.
        delegate: Asked for and got.
    """

    inputs: tuple[Border, ...]
    outputs: tuple[Border, ...]
    delegate: DelegateReport

    def __init__(self, runtime: Runtime, path: Path, variant: Variant, threads: int) -> None:
        """Load a model file that was checked.

        Raises:
            RuntimeLoadError: The runtime or the delegate refuses it.
        """
        try:
            self._interpreter = _open(runtime.module, path, variant.delegate, threads)
            self._interpreter.allocate_tensors()
            signature = _signature(self._interpreter)
            self.inputs = _borders(self._interpreter.get_input_details(), signature[0])
            self.outputs = _borders(self._interpreter.get_output_details(), signature[1])
        except _LOAD_FAILURES as error:
            raise RuntimeLoadError(
                f"{runtime.name} {runtime.version} does not load variant {variant.name}: "
                f"{str(error).strip() or type(error).__name__}",
                remedy="check that the board's runtime has the variant's ops, or pack another precision",
            ) from error
        self.delegate = report_delegate(variant.delegate, _ops(self._interpreter))

    def run(self, inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Invoke once.

        Args:
            inputs: In the order, shape and dtype of ``inputs``.

        Returns:
            Copies of the outputs, in the order of ``outputs``, as stored.

        Raises:
            InferenceError: The runtime failed.
        """
        interpreter = self._interpreter
        try:
            for border, tensor in zip(self.inputs, inputs, strict=True):
                interpreter.set_tensor(border.index, tensor)
            interpreter.invoke()
            return [interpreter.get_tensor(border.index) for border in self.outputs]
        except (RuntimeError, MemoryError) as error:
            raise InferenceError(f"the runtime failed: {error}") from error


def _open(module: Any, path: Path, delegate: DelegateName, threads: int) -> Any:
    options: dict[str, Any] = {"model_path": str(path), "num_threads": threads}
    if delegate is DelegateName.NONE:
        options["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    elif delegate is DelegateName.EDGETPU:
        options["experimental_delegates"] = [module.load_delegate(EDGETPU_LIBRARY)]
    return module.Interpreter(**options)


def _signature(interpreter: Any) -> tuple[dict[int, str], dict[int, str]]:
    """Tensor index to signature name, of inputs and of outputs; empty for models without a signature."""
    for key in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(key)
        return (
            {int(detail["index"]): name for name, detail in runner.get_input_details().items()},
            {int(detail["index"]): name for name, detail in runner.get_output_details().items()},
        )
    return {}, {}


def _borders(details: Sequence[dict[str, Any]], names: dict[int, str]) -> tuple[Border, ...]:
    borders: list[Border] = []
    for detail in details:
        index = int(detail["index"])
        scales = detail["quantization_parameters"]["scales"]
        if len(scales) > 1:
            raise ValueError(
                f"tensor {detail['name']} at the model's border has {len(scales)} scales, one can be"
            )
        borders.append(
            Border(
                index=index,
                name=names.get(index, str(detail["name"])),
                shape=tuple(int(size) for size in detail["shape"]),
                dtype=np.dtype(detail["dtype"]),
                scale=float(scales[0]) if len(scales) else 0.0,
                zero_point=int(detail["quantization_parameters"]["zero_points"][0]) if len(scales) else 0,
            )
        )
    return tuple(borders)


def _ops(interpreter: Any) -> Any:
    """The graph's nodes by the private call that alone shows delegates; none where a runtime lacks it."""
    tell = getattr(interpreter, "_get_ops_details", None)
    return ops_of(tell()) if tell is not None else []
