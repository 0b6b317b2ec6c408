"""The child process that first touches a model file: loads it, runs it once, describes it.

Reads the file's bytes from standard input and writes one JSON line to standard output: ``{"description": …}`` or
``{"refused": "why"}``. A damaged flatbuffer may crash the native loader; then this process dies and its parent
(``packager.sources.tflite``) says so. Run as ``python -m packager.probe``.
"""

from __future__ import annotations

import sys

import msgspec
import numpy as np

from contract.errors import RuntimeLoadError
from contract.profile import DelegateName
from packager.description import ProbeAnswer
from packager.normalize.rewrite import needs_normalizing
from packager.runtime.flatbuffer import describe
from packager.runtime.interpreter import LoadedModel


def probe(content: bytes) -> ProbeAnswer:
    """Load a model without delegates, run it on zeros when it has one input, and describe it."""
    try:
        model = LoadedModel(content, DelegateName.NONE)
        description = describe(content)
        if all(len(signature.inputs) == 1 for signature in description.signatures.values()):
            model.run(np.zeros((1, *model.input_shape[1:]), dtype=np.float32))
    except RuntimeLoadError as error:
        return ProbeAnswer(refused=str(error))
    return ProbeAnswer(description=description, is_normal=not needs_normalizing(content))


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(probe(sys.stdin.buffer.read())) + b"\n")
