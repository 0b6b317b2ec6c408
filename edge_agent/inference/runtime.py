"""The one door to LiteRT: which runtime is there, and one loaded model on it.

Guarantees: the best installed runtime of a fixed order is taken; whatever the runtime raises while loading comes out
as RuntimeLoadError. Does not survive a native crash: that is why this runs in a worker process.
"""

from __future__ import annotations

import importlib
import mmap
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from contract.delegation import DelegateReport
from contract.errors import InferenceError, RuntimeLoadError
from contract.manifest import Variant
from contract.profile import CPU_DELEGATES, DelegateName
from contract.scalars import TEXT_MAX_CHARS
from edge_agent.inference.delegates import Attempt, Op, ops_of, plan_attempts, report_delegate
from edge_agent.inference.engine import UNPROVED, Engine

_RUNTIMES: tuple[tuple[str, Callable[[], Any]], ...] = (
    ("ai-edge-litert", lambda: importlib.import_module("ai_edge_litert.interpreter")),
    ("tflite-runtime", lambda: importlib.import_module("tflite_runtime.interpreter")),
    ("tensorflow", lambda: importlib.import_module("tensorflow.lite.python.interpreter")),
)
"""Distribution, and how its interpreter is imported; best first: ADR 0001. TensorFlow takes ten times the memory."""

EDGETPU_OP = b"edgetpu-custom-op"
"""The op that the Edge TPU compiler leaves in a model (google-coral/libedgetpu, kCustomOp)."""

LOAD_FAILURES = (ValueError, RuntimeError, OSError, AttributeError, TypeError, SystemError, MemoryError)
"""What the runtimes raise for a model or delegate that they cannot load; SystemError: tflite-runtime with numpy 2."""


class Border(msgspec.Struct, frozen=True):
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


class Runtime(msgspec.Struct, frozen=True):
    """An installed runtime: distribution, version (empty when it does not say), interpreter module."""

    name: str
    version: str
    module: Any


def import_runtime(name: str) -> Runtime:
    """Import one runtime; raises whatever it raises.

    Args:
        name: Its distribution.
    """
    module = dict(_RUNTIMES)[name]()
    return Runtime(name, _version_of(name), module)


def find_runtime(only: str = "") -> Runtime:
    """Import the best runtime that is installed.

    Args:
        only: The distribution that was proved on this board; empty for the best.

    Raises:
        RuntimeLoadError: None is, or the installed ones do not import.
    """
    faults: list[str] = []
    for name, _ in _RUNTIMES:
        if only and name != only:
            continue
        try:
            return import_runtime(name)
        except (ImportError, *LOAD_FAILURES) as error:
            faults.append(f"{name}: {error}")
    raise RuntimeLoadError(
        "no TFLite runtime on this device",
        faults=faults,
        remedy="install litefleet[agent], which brings the runtime for this board",
    )


def import_compiled() -> Any:
    """The module of ai-edge-litert's second interface; raises ImportError where it has none."""
    return importlib.import_module("ai_edge_litert.compiled_model")


def _version_of(distribution: str) -> str:
    """What a package says of itself: asking ``importlib.metadata`` costs a worker 1 MiB."""
    return str(getattr(sys.modules[distribution.replace("-", "_")], "__version__", ""))


class Graph:
    """A model on an interpreter, allocated. Owned by one thread.

    Attributes:
        inputs: In the model's own order.
        outputs: In the model's own order.
        delegate: Asked for and got.
        signature: Key of the signature that names its tensors; empty for a model without one.
    """

    inputs: tuple[Border, ...]
    outputs: tuple[Border, ...]
    delegate: DelegateReport
    signature: str

    def __init__(
        self, runtime: Runtime, path: Path, variant: Variant, threads: int, engine: Engine = UNPROVED
    ) -> None:
        """Load a model file that was checked, on the first delegate that takes it.

        Raises:
            RuntimeLoadError: The runtime refuses it, or every delegate that it can run on does.
        """
        made_for = DelegateName.EDGETPU if is_compiled_for_edgetpu(path) else variant.delegate
        plan = plan_attempts(made_for, engine)
        cause: Exception | None = None
        faults = [plan.reason] if plan.reason else []
        for attempt in plan.attempts:
            try:
                early = self._load(runtime.module, path, attempt, threads)
            except (InferenceError, *LOAD_FAILURES) as error:
                cause = error
                on = attempt.delegate.name if attempt.delegate else runtime.name
                faults.append(f"{on}: {str(error).strip() or type(error).__name__}")
                continue
            loaded = attempt.delegate.name if attempt.delegate else ""
            self.delegate = report_delegate(
                plan.requested,
                ops_in(self._interpreter),
                loaded=loaded,
                early=early,
                reason="; ".join(faults),
            )
            return
        why = "; ".join(faults) or f"it runs on {plan.requested} alone, which this board does not have"
        raise RuntimeLoadError(
            f"{runtime.name} {runtime.version} does not load variant {variant.name}: {why}",
            remedy="check that the board's runtime has the variant's ops, or pack another precision"
            if made_for in CPU_DELEGATES
            else "ask the board what is wrong with its delegate: litefleet-agent doctor",
        ) from cause

    def note_fallback(self, requested: str, reason: str) -> None:
        """Say that this variant runs in place of one whose delegate could not be had."""
        self.delegate = msgspec.structs.replace(
            self.delegate, requested=requested, reason=reason[:TEXT_MAX_CHARS]
        )

    def _load(self, module: Any, path: Path, attempt: Attempt, threads: int) -> list[Op]:
        """Take one way; with a delegate in a library, the nodes as they were before XNNPACK could take any."""
        self._interpreter = open_interpreter(module, path, attempt, threads)
        early = ops_in(self._interpreter) if attempt.delegate is not None else []
        self._interpreter.allocate_tensors()
        self.signature, into, out_of = _signature(self._interpreter)
        self.inputs = _borders(self._interpreter.get_input_details(), into)
        self.outputs = _borders(self._interpreter.get_output_details(), out_of)
        if attempt.delegate is not None:  # a delegate may refuse only now
            self.run([np.zeros(border.shape, border.dtype) for border in self.inputs])
        return early

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

    def run_one(self, tensor: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """``run`` for a model with one input and one output; each step around ``invoke`` is gone with cold caches."""
        interpreter = self._interpreter
        try:
            interpreter.set_tensor(self.inputs[0].index, tensor)
            interpreter.invoke()
            stored: npt.NDArray[Any] = interpreter.get_tensor(self.outputs[0].index)
        except (RuntimeError, MemoryError) as error:
            raise InferenceError(f"the runtime failed: {error}") from error
        return stored


def open_interpreter(module: Any, path: Path, attempt: Attempt, threads: int) -> Any:
    """An interpreter with a model, tensors not allocated; raises whatever the runtime or delegate raises."""
    options: dict[str, Any] = {"model_path": str(path), "num_threads": threads}
    if not attempt.has_xnnpack:
        options["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    if attempt.delegate is not None:
        delegate = module.load_delegate(attempt.delegate.library, attempt.delegate.options)
        options["experimental_delegates"] = [delegate]
    return module.Interpreter(**options)


def is_compiled_for_edgetpu(path: Path) -> bool:
    """Whether a model holds what the Edge TPU compiler leaves behind; a file's name proves nothing.

    Raises:
        RuntimeLoadError: The file cannot be read.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(EDGETPU_OP) >= 0
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise RuntimeLoadError(f"{path.name} cannot be read: {error}") from error


def _signature(interpreter: Any) -> tuple[str, dict[int, str], dict[int, str]]:
    """Its key, then tensor index to name, of inputs and of outputs; empty for models without a signature."""
    for key in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(key)
        return (
            str(key),
            {int(detail["index"]): name for name, detail in runner.get_input_details().items()},
            {int(detail["index"]): name for name, detail in runner.get_output_details().items()},
        )
    return "", {}, {}


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


def ops_in(interpreter: Any) -> list[Op]:
    """The graph's nodes by the private call that alone shows delegates; none where a runtime lacks it."""
    tell = getattr(interpreter, "_get_ops_details", None)
    return ops_of(tell()) if tell is not None else []
