"""Which models the packager takes: what it must know of a file, and the decision.

PURE. Rules:

1. A model is taken as it is described, after it was normalised, or refused with every reason; nothing is guessed.
2. Taken are models with one signature and fixed shapes; the first dimension, the batch, may be free. Whether a model
   fits what it is for, its task says (``packager.tasks.kind``).
3. Weights that are already quantized or float16 are refused: quantizing again would silently do nothing or harm.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from contract.errors import ManifestError
from contract.manifest import MAX_TENSORS
from contract.tensor import DType, Layout, TensorSpec

_PROBABILITY_OPERATORS = frozenset(("SOFTMAX", "LOGISTIC"))
_CHANNELS = frozenset((1, 3))
_TYPES = frozenset(("float32", "int32", "int64", "uint8", "int8", "int16", "bool"))
"""What the agent takes at a model's border. Integers are values here, as token numbers are, and not quantized."""


class TensorDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor at the model's border: name in the signature, shape (-1 for free), TFLite's type in lower case."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class SignatureDescription(msgspec.Struct, frozen=True, kw_only=True):
    """One entry point of a model; inputs and outputs in the order of its graph."""

    inputs: tuple[TensorDescription, ...]
    outputs: tuple[TensorDescription, ...]


class ModelDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What a model file says of itself.

    Attributes:
        signatures: Name to entry point.
        operators: Operators of the main graph in order, TFLite's names in upper case.
        quantized_tensors: How many tensors hold integers that stand for real values.
        half_tensors: How many tensors are float16.
    """

    signatures: dict[str, SignatureDescription]
    operators: tuple[str, ...]
    quantized_tensors: int
    half_tensors: int


class ProbeAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the child process that first loads a file found.

    Attributes:
        description: None when the file is refused.
        refused: Why; empty when it is not.
        is_normal: Whether it can be quantized as it is (``packager.normalize``).
    """

    description: ModelDescription | None = None
    refused: str = ""
    is_normal: bool = True


@dataclass(frozen=True)
class Source:
    """A model that can be packed.

    Attributes:
        signature: Name of its entry point.
        inputs: In the model's own order; free dimensions are the batch's only.
        outputs: In the model's own order.
        gives_probabilities: Whether the graph ends in SOFTMAX or LOGISTIC.
    """

    signature: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    gives_probabilities: bool = False


def sample_shape(spec: TensorSpec) -> tuple[int, ...]:
    """Shape of one sample of a tensor: without its leading batch dimension, if it has one (1 or -1)."""
    return spec.shape[1:] if spec.shape[:1] in {(1,), (-1,)} else spec.shape


def whole_shape(spec: TensorSpec) -> tuple[int, ...]:
    """Shape that a tensor has when it is run: free dimensions are 1."""
    return tuple(max(1, size) for size in spec.shape)


def check_source(description: ModelDescription, name: str) -> Source:
    """Decide whether a model can be packed.

    Args:
        description: What the file says of itself.
        name: The file's name, for error texts.

    Raises:
        ManifestError: It cannot, with every reason and what to do.
    """
    if description.quantized_tensors or description.half_tensors:
        kind = "quantized already" if description.quantized_tensors else "stored with float16 weights"
        raise ManifestError(f"{name} is {kind}", remedy="give the float32 model that it was made from")
    if not description.signatures:
        raise ManifestError(
            f"{name} has no signature, so its inputs have no names to calibrate by",
            remedy="convert it again with TFLiteConverter.from_saved_model or from_keras_model, which write one",
        )
    if len(description.signatures) > 1:
        raise ManifestError(
            f"{name} has {len(description.signatures)} signatures: {', '.join(sorted(description.signatures))}",
            remedy="convert it again with only the one that devices are to run",
        )
    ((key, signature),) = description.signatures.items()
    borders = {"input": signature.inputs, "output": signature.outputs}
    faults = [fault for what, tensors in borders.items() for fault in _border_faults(what, tensors)]
    if faults:
        raise ManifestError(
            f"{name} has inputs or outputs that litefleet does not pack",
            faults=faults,
            remedy="convert it again with fixed shapes; only the batch, the first dimension, may be free",
        )
    gives_probabilities = (
        description.operators[-1:] != () and description.operators[-1] in _PROBABILITY_OPERATORS
    )
    is_bounded = gives_probabilities and len(signature.outputs) == 1
    return Source(
        signature=key,
        inputs=tuple(_spec(tensor) for tensor in signature.inputs),
        outputs=tuple(_spec(tensor, is_bounded=is_bounded) for tensor in signature.outputs),
        gives_probabilities=gives_probabilities,
    )


def _border_faults(what: str, tensors: tuple[TensorDescription, ...]) -> list[str]:
    if not 1 <= len(tensors) <= MAX_TENSORS:
        return [f"{len(tensors)} {what}s, 1 to {MAX_TENSORS} are possible"]
    faults = [
        f"{what} {tensor.name} is {tensor.dtype}, possible are {', '.join(sorted(_TYPES))}"
        for tensor in tensors
        if tensor.dtype not in _TYPES
    ]
    faults += [
        f"{what} {tensor.name} has shape {tensor.shape}, which is not fixed"
        for tensor in tensors
        if any(size < 1 for size in tensor.shape[1:])
        or any(size < 1 and size != -1 for size in tensor.shape[:1])
    ]
    return faults


def _spec(tensor: TensorDescription, *, is_bounded: bool = False) -> TensorSpec:
    return TensorSpec(
        name=tensor.name,
        shape=tensor.shape,
        dtype=DType(tensor.dtype),
        layout=_layout(tensor.shape),
        value_range=(0.0, 1.0) if is_bounded else None,
    )


def _layout(shape: tuple[int, ...]) -> Layout:
    if len(shape) == 2:
        return Layout.NC
    if len(shape) == 4 and shape[3] in _CHANNELS:
        return Layout.NHWC
    return Layout.NCHW if len(shape) == 4 and shape[1] in _CHANNELS else Layout.ANY
