"""Predicts the delegate coverage of a model file that nobody vouches for.

Guarantees: the file is read in a child process with a time limit, so a damaged one ends in an error and not in a
crash here.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from contract.errors import ManifestError
from contract.manifest import ARTIFACT_MAX_BYTES
from packager.coverage.coverage import Count, Predictions

_log = logging.getLogger(__name__)
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
    command = [sys.executable, "-P", "-m", "packager.coverage_probe", str(runtime)]
    command += ["--measure"] if is_measured else []
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise ManifestError(
            f"{path.name} could not be read within {_TIMEOUT_S:.0f} s", remedy=_REMEDY
        ) from error
    lines = done.stdout.splitlines()
    if not lines:
        _log.info(
            "the probe ended with %d: %s", done.returncode, done.stderr.decode(errors="replace")[-2000:]
        )
        raise ManifestError(f"{path.name} is damaged: it cannot be read as a flatbuffer", remedy=_REMEDY)
    counted: Count | None = None
    if is_measured:
        crashed = Count(refused=f"the TFLite loader crashed on it ({done.returncode})")
        counted = msgspec.json.decode(lines[1], type=Count) if len(lines) > 1 else crashed
    return FileCoverage(path.name, msgspec.json.decode(lines[0], type=Predictions), counted)


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
