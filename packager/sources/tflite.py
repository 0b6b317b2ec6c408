"""Reads a float .tflite model that nobody vouches for.

Guarantees: bytes come back only after a child process loaded and ran them, so a damaged file that crashes the
native loader ends in an error and not in a crash here. Bounded: size, and the child's time. A model that is not in
the form that can be quantized is brought into it (``packager.normalize``), and says what was done.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from contract.errors import ManifestError
from contract.manifest import ARTIFACT_MAX_BYTES
from packager.child import REMEDY, run_child
from packager.description import ModelDescription, ProbeAnswer, Source, check_source
from packager.normalize.process import normalize_model
from packager.normalize.rewrite import Normalized
from packager.sources.conversion import Conversion

_IDENTIFIER = b"TFL3"  # schema.fbs, file_identifier; flatbuffers keep it at bytes 4 to 7
_PROBE_TIMEOUT_S = 120.0  # loading and one invocation; the largest nets for small boards take seconds


@dataclass(frozen=True)
class SourceModel:
    """A model file that can be packed.

    Attributes:
        name: The file's name.
        content: Its bytes, normalised.
        sha256: Digest of the file as it was given.
        source: What it takes and gives.
        normalized: What was done to it; no changes when nothing was.
        conversion: How it was made of another framework's model; None for a .tflite file.
    """

    name: str
    content: bytes
    sha256: str
    source: Source
    normalized: Normalized = field(default_factory=Normalized)
    conversion: Conversion | None = None

    @property
    def tools(self) -> dict[str, str]:
        """Versions of what converted it; none for a .tflite file."""
        return self.conversion.answer.tools if self.conversion else {}


def load_tflite(path: Path) -> SourceModel:
    """Read and check a float model.

    Raises:
        ManifestError: It cannot be read, is no TFLite model, does not load, or is not one that litefleet packs.
    """
    return check_tflite(read_tflite(path), path.name)


def check_tflite(content: bytes, name: str) -> SourceModel:
    """Check a float model.

    Args:
        content: The file.
        name: How to call it.

    Raises:
        ManifestError: It is no TFLite model, does not load, or is not one that litefleet packs.
    """
    _check_identifier(content, name)
    sha256 = hashlib.sha256(content).hexdigest()
    description, is_normal = _probe(content, name)
    normalized = Normalized()
    if not is_normal:
        content, normalized = normalize_model(content, name)
        description, _ = _probe(content, name)
    return SourceModel(
        name=name,
        content=content,
        sha256=sha256,
        source=check_source(description, name),
        normalized=normalized,
    )


def read_tflite(path: Path) -> bytes:
    """Read a file that says it is a TFLite model; nothing is run.

    Raises:
        ManifestError: It cannot be read, is too large, or is no TFLite model.
    """
    try:
        with path.open("rb") as file:
            content = file.read(ARTIFACT_MAX_BYTES + 1)
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > ARTIFACT_MAX_BYTES:
        raise ManifestError(f"{path.name} is larger than {ARTIFACT_MAX_BYTES} bytes, no TFLite model is")
    _check_identifier(content, path.name)
    return content


def _check_identifier(content: bytes, name: str) -> None:
    if content[4:8] != _IDENTIFIER:
        raise ManifestError(
            f"{name} is no TFLite model: it has no identifier {_IDENTIFIER.decode()}", remedy=REMEDY
        )


def _probe(content: bytes, name: str) -> tuple[ModelDescription, bool]:
    """Describe a model, and say whether it is in the form that can be quantized."""
    written = run_child("packager.probe", content, name, _PROBE_TIMEOUT_S)
    answer = msgspec.json.decode(written, type=ProbeAnswer)
    if answer.description is None:
        raise ManifestError(f"{name} cannot be used: {answer.refused}", remedy=REMEDY)
    return answer.description, answer.is_normal
