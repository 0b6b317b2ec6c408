"""Ends a broker that a killed server left behind, so that the next start finds its port free.

Guarantees: only a process that this folder's pid file names, and whose command line names this folder, is ended;
the process is held by a file descriptor, so a pid that was given out again is never hit.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
from pathlib import Path

logger = logging.getLogger(__name__)

PID_NAME = "broker.pid"
TERMINATE_TIMEOUT_S = 3.0
KILL_TIMEOUT_S = 3.0


def end_remnant(folder: Path) -> bool:
    """End the broker that an earlier server started in this folder, if it still runs.

    Returns:
        Whether there was one.
    """
    try:
        pid = int((folder / PID_NAME).read_text(encoding="ascii")[:20])
        handle = os.pidfd_open(pid)
    except (OSError, ValueError):
        return False
    try:
        if not _is_of_folder(pid, folder):
            return False
        logger.warning("ending broker %d, which an earlier server left behind", pid)
        for number, timeout_s in ((signal.SIGTERM, TERMINATE_TIMEOUT_S), (signal.SIGKILL, KILL_TIMEOUT_S)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
            if _has_ended(handle, timeout_s):
                break
        return True
    finally:
        os.close(handle)


def _is_of_folder(pid: int, folder: Path) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return os.fsencode(folder) + b"/" in command


def _has_ended(handle: int, timeout_s: float) -> bool:
    # A process file descriptor becomes readable when its process ends (pidfd_open(2)).
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))
