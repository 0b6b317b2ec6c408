"""Asks a Raspberry Pi's firmware through its own tool, ``vcgencmd``, in a child process.

Guarantees: an answer takes a bounded time and has a bounded length; a tool that fails again and again rests. No
answer is an empty text, never an error: a board without the tool, or a user who may not open ``/dev/vcio``, is fine.
"""

from __future__ import annotations

import logging
import os
import select
import subprocess
import time
from pathlib import Path
from typing import IO

TIMEOUT_S = 2.0
FAILURES_MAX = 3
REST_S = 600.0
_END_S = 1.0
_ANSWER_MAX_BYTES = 256

logger = logging.getLogger(__name__)


class FirmwareTool:
    """The tool. Not thread-safe, its owner is one thread.

    Args:
        path: Where it is.
        timeout_s: Longest time an answer may take, seconds.
    """

    def __init__(self, path: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._failures = 0
        self._rests_until_s = 0.0

    def ask(self, question: str) -> str:
        """What it answers to a command; empty when it does not.

        Args:
            question: Its argument, for example ``get_throttled``.
        """
        if time.monotonic() < self._rests_until_s or not self._path.is_file():
            return ""
        answer = _answer((str(self._path), question), time.monotonic() + self._timeout_s)
        self._failures = 0 if answer else self._failures + 1
        if self._failures >= FAILURES_MAX:
            logger.info("%s does not answer, asked again in %.0f s", self._path, REST_S)
            self._rests_until_s = time.monotonic() + REST_S
            self._failures = 0
        return answer


def _answer(command: tuple[str, ...], ends: float) -> str:
    try:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError as error:
        logger.info("%s cannot be run: %s", command[0], error)
        return ""
    assert child.stdout is not None  # noqa: S101 - it was started with a pipe
    with child.stdout as pipe:
        content = b""
        while len(content) < _ANSWER_MAX_BYTES and _is_readable(pipe, ends):
            block = os.read(pipe.fileno(), _ANSWER_MAX_BYTES - len(content))
            if not block:
                break
            content += block
    return content.decode("ascii", "replace") if _end(child, ends) == 0 else ""


def _is_readable(pipe: IO[bytes], ends: float) -> bool:
    return bool(select.select([pipe], [], [], max(0.0, ends - time.monotonic()))[0])


def _end(child: subprocess.Popen[bytes], ends: float) -> int | None:
    """Its exit code; one that does not end in time is killed, and left to the kernel where that does not help."""
    try:
        return child.wait(max(0.0, ends - time.monotonic()))
    except subprocess.TimeoutExpired:
        child.kill()
    try:
        child.wait(_END_S)
    except subprocess.TimeoutExpired:
        logger.warning("process %d of %s does not end", child.pid, child.args)
    return None
