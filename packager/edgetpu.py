"""Runs Google's Edge TPU compiler; the packager's door to ``edgetpu_compiler``.

Guarantees: every run ends, by itself or by its time limit, with all processes that it started; a compiled model is
known by the operator in it, never by its name. Does not install the compiler, which exists for x86-64 Linux only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from contract.errors import RejectedError
from contract.profile import DelegateName, Profile
from packager.coverage.edgetpu import NEWEST_RUNTIME
from packager.edgetpu_log import CompilerReport, parse_compiler_log
from packager.runtime.graph import is_edgetpu_model

_log = logging.getLogger(__name__)
COMMAND = "edgetpu_compiler"
LIBRARY = "libedgetpu.so.1"
"""What a compiled model needs on the board (https://coral.ai/docs/edgetpu/tflite-python/)."""

RUNTIME_OPTION = "min_runtime"
"""Option of a profile's Edge TPU delegate: the runtime version of its libedgetpu."""

_ATTEMPTS = 4
"""The compiler crashes at random and does well on the next run (google-coral/edgetpu issue 211)."""

_TIMEOUT_S = 300.0
"""Its own limit is 180 s (compiler 16.0, ``--timeout_sec``); older ones have none."""

_CRASH_TEXTS = ("Internal compiler error", "Segmentation fault", "Aborted")
_SHELL_SIGNAL = 128  # the compiler is started by a shell script, which ends with this plus the signal
_SHOWN_CHARS = 500


@dataclass(frozen=True)
class Compiled:
    """A model for the Edge TPU, and what the compiler said."""

    content: bytes
    report: CompilerReport


def find_compiler() -> Path | None:
    """Where the compiler is; None when it is not installed."""
    found = shutil.which(COMMAND)
    return Path(found) if found else None


def runtime_of(profile: Profile) -> int | None:
    """The Edge TPU runtime version of a board; None for a board without an Edge TPU."""
    for delegate in profile.delegates:
        if delegate.name is DelegateName.EDGETPU:
            text = delegate.options.get(RUNTIME_OPTION, "")
            return int(text) if text.isascii() and text.isdigit() else NEWEST_RUNTIME
    return None


def compile_edgetpu(compiler: Path, content: bytes, runtime: int, timeout_s: float = _TIMEOUT_S) -> Compiled:
    """Compile a static int8 model.

    Args:
        compiler: What ``find_compiler`` gave.
        content: The .tflite file.
        runtime: Lowest Edge TPU runtime version that it must run on.
        timeout_s: Of one attempt.

    Raises:
        RejectedError: The compiler does not take the model, crashes every time, takes too long, or maps nothing.
    """
    with tempfile.TemporaryDirectory(prefix="litefleet-edgetpu-") as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(content)
        command = [str(compiler), "-s", "-m", str(runtime), "-o", name, str(folder / "model.tflite")]
        for attempt in range(1, _ATTEMPTS + 1):
            code, text = _run(command, folder, timeout_s)
            made = folder / "model_edgetpu.tflite"
            if code == 0 and made.is_file():
                return _checked(made.read_bytes(), text)
            if not _is_crash(code, text):
                raise RejectedError(f"{COMMAND} refuses the model: {_last_words(text)}")
            _log.info("%s crashed in attempt %d (%d): %s", COMMAND, attempt, code, _last_words(text))
    raise RejectedError(f"{COMMAND} crashed {_ATTEMPTS} times: {_last_words(text)}")


def _run(command: list[str], folder: Path, timeout_s: float) -> tuple[int, str]:
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    with process:
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise RejectedError(f"{COMMAND} was not ready after {timeout_s:.0f} s") from error
        finally:
            # The whole group: the command is a script that starts the compiler proper.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, output.decode("utf-8", errors="replace")


def _checked(content: bytes, text: str) -> Compiled:
    report = parse_compiler_log(text)
    if report is None:
        raise RejectedError(f"{COMMAND} says nothing of what it made: {_last_words(text)}")
    if not report.operations_tpu or not is_edgetpu_model(content):
        raise RejectedError(f"{COMMAND} maps nothing to the Edge TPU: {report.describe()}")
    return Compiled(content, report)


def _is_crash(code: int, text: str) -> bool:
    return code < 0 or code > _SHELL_SIGNAL or any(known in text for known in _CRASH_TEXTS)


def _last_words(text: str) -> str:
    return " ".join(text.split())[-_SHOWN_CHARS:] or "it says nothing"
