"""Which models the packager takes: what it must know of a file, and the decision.

PURE. Rules:

1. A model is taken as it is described, after it was normalised, or refused with every reason; nothing is guessed.
2. Taken are float32 image classifiers: one signature, one input (1, H, W, C), one output (1, classes).
3. Weights that are already quantized or float16 are refused: quantizing again would silently do nothing or harm.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from contract.errors import ManifestError
from contract.tensor import DType, Layout, TensorSpec

_PROBABILITY_OPERATORS = frozenset(("SOFTMAX", "LOGISTIC"))
_CHANNELS = {1: "grayscale", 3: "RGB"}
_FLOAT = "float32"


class TensorDescription(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor at the model's border: name in the signature, shape (-1 for free), TFLite's type in lower case."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class SignatureDescription(msgspec.Struct, frozen=True, kw_only=True):
    """One entry point of a model."""

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
        input: (1 or -1, H, W, 1 or 3) float32 NHWC.
        output: (1 or -1, classes) float32.
        needs_softmax: Whether the output is logits: the graph does not end in SOFTMAX or LOGISTIC.
    """

    signature: str
    input: TensorSpec
    output: TensorSpec
    needs_softmax: bool

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels of one image."""
        _, height, width, channels = self.input.shape
        return height, width, channels

    @property
    def classes(self) -> int:
        """Number of scores."""
        return self.output.shape[-1]


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
            remedy="convert it again with only the one that classifies",
        )
    ((key, signature),) = description.signatures.items()
    faults = _border_faults(signature)
    if faults:
        raise ManifestError(
            f"{name} is not an image classifier that litefleet packs",
            faults=faults,
            remedy="give a model with one float32 input (1, H, W, C) and one float32 output (1, classes)",
        )
    (image,), (scores,) = signature.inputs, signature.outputs
    gives_probabilities = description.operators[-1:] and description.operators[-1] in _PROBABILITY_OPERATORS
    return Source(
        signature=key,
        input=TensorSpec(name=image.name, shape=image.shape, dtype=DType.FLOAT32, layout=Layout.NHWC),
        output=TensorSpec(
            name=scores.name,
            shape=scores.shape,
            dtype=DType.FLOAT32,
            layout=Layout.NC,
            value_range=(0.0, 1.0) if gives_probabilities else None,
        ),
        needs_softmax=not gives_probabilities,
    )


def _border_faults(signature: SignatureDescription) -> list[str]:
    faults = [
        f"{len(tensors)} {what}s, one is possible"
        for what, tensors in (("input", signature.inputs), ("output", signature.outputs))
        if len(tensors) != 1
    ]
    if faults:
        return faults
    (image,), (scores,) = signature.inputs, signature.outputs
    faults += [
        f"{what} {tensor.name} is {tensor.dtype}, not {_FLOAT}"
        for what, tensor in (("input", image), ("output", scores))
        if tensor.dtype != _FLOAT
    ]
    if len(image.shape) != 4 or image.shape[0] not in {1, -1} or min(image.shape[1:]) < 1:
        faults.append(f"input {image.name} has shape {image.shape}, not (1, H, W, C)")
    elif image.shape[3] not in _CHANNELS:
        faults.append(f"input {image.name} has {image.shape[3]} channels, 1 or 3 are possible")
    if len(scores.shape) != 2 or scores.shape[0] not in {1, -1} or scores.shape[1] < 2:
        faults.append(f"output {scores.name} has shape {scores.shape}, not (1, classes)")
    return faults
