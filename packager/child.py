"""Runs a module of the packager in a process of its own, on bytes that nobody vouches for.

Guarantees: a native crash ends that process and becomes an error here; its time is bounded. The module reads the
bytes from standard input and answers on standard output.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Sequence

from contract.errors import ManifestError
from packager.confined import REFUSED

_log = logging.getLogger(__name__)
_LOGGED_CHARS = 2000
REMEDY = "give the float32 .tflite file that the converter wrote, copied whole"


def run_child(
    module: str, content: bytes, name: str, timeout_s: float, arguments: Sequence[str] = ()
) -> bytes:
    """Let a module look at a model file.

    Args:
        module: Dotted name; it is run with ``python -m``.
        content: The file.
        name: How to call the file in error texts.
        timeout_s: How long it may take, seconds.
        arguments: For the module.

    Returns:
        What the module wrote.

    Raises:
        ManifestError: The module refuses the file, crashed or took too long.
    """
    # -P: a file of the user's own in the working directory must not be taken for a library.
    command = [sys.executable, "-P", "-m", module, *arguments]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise ManifestError(f"{name} did not load within {timeout_s:.0f} s", remedy=REMEDY) from error
    if done.returncode == 0 and done.stdout.startswith(REFUSED):
        reason = done.stdout.removeprefix(REFUSED).decode(errors="replace")
        raise ManifestError(f"{name} cannot be used: {reason}", remedy=REMEDY)
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.decode(errors="replace")[-_LOGGED_CHARS:]
    _log.info("%s ended with %d: %s", module, done.returncode, said)
    ending = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
    raise ManifestError(f"{name} is damaged: the TFLite loader crashed on it ({ending})", remedy=REMEDY)
