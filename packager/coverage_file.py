"""Predicts the delegate coverage of a model file that nobody vouches for.

Guarantees: the file is read in a child process with a time limit, so a damaged one ends in an error and not in a
crash here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from contract.errors import ManifestError
from contract.manifest import ARTIFACT_MAX_BYTES
from packager.child import run_child
from packager.coverage.coverage import Count, Predictions

_PROBE = "packager.coverage_probe"
_IDENTIFIER = b"TFL3"  # schema.fbs, file_identifier; flatbuffers keep it at bytes 4 to 7
_TIMEOUT_S = 120.0
_REMEDY = "give a .tflite file, copied whole"


@dataclass(frozen=True)
class FileCoverage:
    """What is known of a file.

    Attributes:
        name: The file's name.
        predictions: For both delegates.
        count: What XNNPACK took here; None when it was not asked for.
    """

    name: str
    predictions: Predictions
    count: Count | None


def cover_file(path: Path, runtime: int, *, is_measured: bool) -> FileCoverage:
    """Predict a file's coverage.

    Args:
        path: A .tflite file of any kind.
        runtime: Edge TPU runtime version to predict for.
        is_measured: Whether XNNPACK's share is also counted on this machine.

    Raises:
        ManifestError: It cannot be read, or is no TFLite model.
    """
    content = _read(path)
    predicted = run_child(_PROBE, content, path.name, _TIMEOUT_S, [str(runtime)])
    counted = _count(content, path.name) if is_measured else None
    return FileCoverage(path.name, msgspec.json.decode(predicted, type=Predictions), counted)


def _count(content: bytes, name: str) -> Count:
    try:
        return msgspec.json.decode(run_child(_PROBE, content, name, _TIMEOUT_S, ["--measure"]), type=Count)
    except ManifestError as error:
        return Count(refused=str(error))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(ARTIFACT_MAX_BYTES + 1)
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > ARTIFACT_MAX_BYTES:
        raise ManifestError(f"{path.name} is larger than {ARTIFACT_MAX_BYTES} bytes, no TFLite model is")
    if content[4:8] != _IDENTIFIER:
        raise ManifestError(
            f"{path.name} is no TFLite model: it has no identifier {_IDENTIFIER.decode()}", remedy=_REMEDY
        )
    return content
