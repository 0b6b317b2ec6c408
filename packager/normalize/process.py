"""Normalises a model file that nobody vouches for.

Guarantees: as ``packager.normalize.rewrite``, and a file that crashes native code ends in an error and not in a crash
here.
"""

from __future__ import annotations

import msgspec

from contract.errors import ManifestError
from packager.child import REMEDY, run_child
from packager.normalize.child import Answer
from packager.normalize.rewrite import Normalized

_TIMEOUT_S = (
    600.0  # some ten invocations without a delegate; the largest nets for small boards take seconds each
)


def normalize_model(content: bytes, name: str) -> tuple[bytes, Normalized]:
    """Bring a model into the form that can be quantized.

    Args:
        content: A .tflite file.
        name: How to call it in error texts.

    Returns:
        The file, the same bytes when there was nothing to do; and what was done.

    Raises:
        ManifestError: The file is damaged, or its changed form answers otherwise.
    """
    line, _, made = run_child("packager.normalize.child", content, name, _TIMEOUT_S).partition(b"\n")
    found = msgspec.json.decode(line, type=Answer)
    if found.normalized is None:
        raise ManifestError(f"{name} cannot be used: {found.refused}", remedy=REMEDY)
    return made or content, found.normalized
