"""The child process that normalises a model file.

Reads the file's bytes from standard input; writes one JSON line, an ``Answer``, to standard output, and behind it the
new file's bytes where there was something to do. Run as ``python -m packager.normalize.child``.
"""

from __future__ import annotations

import msgspec

from contract.errors import ManifestError, RuntimeLoadError
from packager import confined
from packager.normalize.rewrite import Normalized, normalize


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was done, or why the model cannot be used."""

    normalized: Normalized | None = None
    refused: str = ""


def answer(content: bytes) -> bytes:
    """Normalise a model; gives what the process writes."""
    try:
        made, normalized = normalize(content)
    except (ManifestError, RuntimeLoadError) as error:
        return msgspec.json.encode(Answer(refused=str(error))) + b"\n"
    return msgspec.json.encode(Answer(normalized=normalized)) + b"\n" + (made if normalized.changes else b"")


if __name__ == "__main__":
    confined.answer(answer)
