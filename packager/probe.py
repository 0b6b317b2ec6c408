"""The child process that first touches a model file: loads it, runs it once, describes it.

Reads the file's bytes from standard input and writes one JSON line to standard output: ``{"description": …}`` or
``{"refused": "why"}``. A damaged flatbuffer may crash the native loader; then this process dies and its parent
(``packager.sources.tflite``) says so. Run as ``python -m packager.probe``.
"""

from __future__ import annotations

import msgspec

from contract.errors import RuntimeLoadError
from contract.profile import DelegateName
from packager import confined
from packager.description import ProbeAnswer, SignatureDescription, TensorDescription
from packager.normalize.rewrite import needs_normalizing
from packager.runtime.flatbuffer import describe
from packager.runtime.interpreter import LoadedModel


def probe(content: bytes) -> ProbeAnswer:
    """Load a model without delegates, run it on zeros, and describe it."""
    try:
        model = LoadedModel(content, DelegateName.NONE)
        description = describe(content)
        shapes = [found.shape[1:] for found in model.run(model.zeros())]
        settled = {key: _settle(found, shapes) for key, found in description.signatures.items()}
    except RuntimeLoadError as error:
        return ProbeAnswer(refused=str(error))
    description = msgspec.structs.replace(description, signatures=settled)
    return ProbeAnswer(description=description, is_normal=not needs_normalizing(content))


def _settle(signature: SignatureDescription, shapes: list[tuple[int, ...]]) -> SignatureDescription:
    """The signature with the shapes that outputs turned out to have, where the file leaves them open."""
    if len(shapes) != len(signature.outputs):
        return signature
    outputs = tuple(_settled(output, shape) for output, shape in zip(signature.outputs, shapes, strict=True))
    return msgspec.structs.replace(signature, outputs=outputs)


def _settled(output: TensorDescription, sample: tuple[int, ...]) -> TensorDescription:
    """An output with its free dimensions filled in.

    Args:
        output: What the file says.
        sample: Shape of one sample; it has a leading dimension only where that is not the batch of 1.
    """
    first = output.shape[0] if output.shape[:1] in {(1,), (-1,)} else 1
    found = sample if len(sample) == len(output.shape) else (first, *sample)
    if len(found) != len(output.shape) or any(
        said not in {-1, size} for said, size in zip(output.shape, found, strict=True)
    ):
        raise RuntimeLoadError(f"output {output.name} should have shape {output.shape} and has {found}")
    return msgspec.structs.replace(output, shape=found)


if __name__ == "__main__":
    confined.answer(lambda content: msgspec.json.encode(probe(content)))
