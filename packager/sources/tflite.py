"""Reads a float .tflite model that nobody vouches for.

Guarantees: bytes come back only after a child process loaded and ran them, so a damaged file that crashes the
native loader ends in an error and not in a crash here. Bounded: size, and the child's time.
"""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from contract.errors import ManifestError
from contract.manifest import ARTIFACT_MAX_BYTES
from packager.description import ModelDescription, ProbeAnswer, Source, check_source

_log = logging.getLogger(__name__)
_IDENTIFIER = b"TFL3"  # schema.fbs, file_identifier; flatbuffers keep it at bytes 4 to 7
_PROBE_TIMEOUT_S = 120.0  # loading and one invocation; the largest nets for small boards take seconds
_REMEDY = "give the float32 .tflite file that the converter wrote, copied whole"


@dataclass(frozen=True)
class SourceModel:
    """A model file that can be packed.

    Attributes:
        name: The file's name.
        content: Its bytes.
        sha256: Their digest.
        source: What it takes and gives.
    """

    name: str
    content: bytes
    sha256: str
    source: Source


def load_tflite(path: Path) -> SourceModel:
    """Read and check a float model.

    Raises:
        ManifestError: It cannot be read, is no TFLite model, does not load, or is not one that litefleet packs.
    """
    content = _read(path)
    if content[4:8] != _IDENTIFIER:
        raise ManifestError(
            f"{path.name} is no TFLite model: it has no identifier {_IDENTIFIER.decode()}", remedy=_REMEDY
        )
    description = _probe(content, path.name)
    return SourceModel(
        name=path.name,
        content=content,
        sha256=hashlib.sha256(content).hexdigest(),
        source=check_source(description, path.name),
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(ARTIFACT_MAX_BYTES + 1)
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > ARTIFACT_MAX_BYTES:
        raise ManifestError(f"{path.name} is larger than {ARTIFACT_MAX_BYTES} bytes, no TFLite model is")
    return content


def _probe(content: bytes, name: str) -> ModelDescription:
    # -P: a file of the user's own in the working directory must not be taken for a library.
    command = [sys.executable, "-P", "-m", "packager.probe"]
    try:
        done = subprocess.run(
            command, input=content, capture_output=True, timeout=_PROBE_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ManifestError(f"{name} did not load within {_PROBE_TIMEOUT_S:.0f} s", remedy=_REMEDY) from error
    if done.returncode != 0:
        _log.info(
            "the probe ended with %d: %s", done.returncode, done.stderr.decode(errors="replace")[-2000:]
        )
        ending = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
        raise ManifestError(f"{name} is damaged: the TFLite loader crashed on it ({ending})", remedy=_REMEDY)
    answer = msgspec.json.decode(done.stdout, type=ProbeAnswer)
    if answer.description is None:
        raise ManifestError(f"{name} cannot be used: {answer.refused}", remedy=_REMEDY)
    return answer.description
