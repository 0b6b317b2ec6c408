"""Runs a converter as a child process that this process survives.

Guarantees: ends with its whole process group when its time is over or this process is interrupted; everything it
says is in its log; of the environment it gets what is listed here and nothing of the user's. Not a sandbox: it may
read what the user may read.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_LOOK_S = 0.5
_SETTINGS = {
    "LANG": "C.UTF-8",
    "NO_COLOR": "1",
    "PYTHONUNBUFFERED": "1",  # the log of a crash must be whole
    "CUDA_VISIBLE_DEVICES": "",  # the same answers on a machine with a GPU
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "KERAS_BACKEND": "tensorflow",
    "HF_HUB_OFFLINE": "1",
    "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
}


def run_child(
    command: Sequence[str],
    folder: Path,
    log: Path,
    timeout_s: float,
    *,
    is_ours: bool = False,
    on_look: Callable[[], None] = lambda: None,
) -> str:
    """Run a command to its end.

    Args:
        command: Program and arguments.
        folder: Its working, home and temporary folder.
        log: Gets what it says; written anew.
        timeout_s: Its time.
        is_ours: Whether it is one of our own modules, which gets the user's environment as this process does.
        on_look: Called about twice a second while it works, and once after it.

    Returns:
        Nothing when it ended with 0, else how it ended, for error texts.
    """
    foreign = {**_SETTINGS, "PATH": os.defpath, "HOME": str(folder), "TMPDIR": str(folder)}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd=folder,
            env=None if is_ours else foreign,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        ) as process,
    ):
        try:
            code = _wait(process, timeout_s, on_look)
        except BaseException as error:
            # Not yet waited for, so the number is still this process group's.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()  # Popen itself waits a quarter of a second when the user interrupts
            if isinstance(error, subprocess.TimeoutExpired):
                return f"it was not done within {timeout_s:.0f} s"
            raise
    if code < 0:
        return f"it crashed (signal {-code})"
    return f"it ended with exit code {code}" if code else ""


def _wait(process: subprocess.Popen[bytes], timeout_s: float, on_look: Callable[[], None]) -> int:
    deadline = time.monotonic() + timeout_s
    while True:
        left = deadline - time.monotonic()
        try:
            code = process.wait(max(0.0, min(left, _LOOK_S)))
        except subprocess.TimeoutExpired:
            if left <= _LOOK_S:
                raise
            on_look()
        else:
            on_look()
            return code
