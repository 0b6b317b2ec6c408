"""The digest of a stream. Apart from ``contract.bundle``, so that a process that reads no bundles loads no ZIP code."""

from __future__ import annotations

import hashlib
from typing import IO

from contract.manifest import Artifact

BLOCK_BYTES = 1 << 16


def digest_of(source: IO[bytes]) -> Artifact:
    """Read a stream to its end and describe it as an artifact."""
    sha256, size = hashlib.sha256(), 0
    while block := source.read(BLOCK_BYTES):
        sha256.update(block)
        size += len(block)
    return Artifact(sha256=sha256.hexdigest(), size_bytes=size)
