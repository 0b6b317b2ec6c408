"""A worker's process as its parent holds it, however it came to life: executed anew, or forked by the fork server.

Guarantees: nothing here blocks but ``wait``, and that has a limit; a process is killed through what cannot by mistake
mean another one. The one door of the inference part to starting programs.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from edge_agent.inference import control

ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
"""Workers do no linear algebra in numpy; without this its BLAS reserves memory for every core at import. One heap for
all threads, because the one that imports gently ends soon."""
_BIRTH_S = 1.0


class Life(Protocol):
    """A process.

    Attributes:
        output: Pipe with its standard output and error, non-blocking.
    """

    output: int

    @property
    def pid(self) -> int:
        """Its process id; 0 where it never came to life."""

    def kill(self) -> None:
        """End it now; nothing when it has ended."""

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code, or a signal's number below 0; None when it has ended and nobody saw how.

        Raises:
            TimeoutError: It has not ended.
        """

    def close(self) -> None:
        """Free everything; it has ended."""


def spawn(arguments: Sequence[str], passed: socket.socket, output: int | None) -> subprocess.Popen[bytes]:
    """Start a Python program that shares a socket with this process; its number is the program's to be told.

    Args:
        arguments: After the interpreter's name.
        passed: Stays open in the program.
        output: Where its standard output and error go; None for where this process's go.

    Raises:
        OSError: The system has no process, memory or descriptor to spare.
    """
    # A terminal's Ctrl-C and a service manager's stop reach every process of the agent. The main process decides: a
    # worker starts and lives with both blocked.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        return subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(passed.fileno(),),
            env={**os.environ, **ENVIRONMENT},
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def open_output() -> tuple[int, int]:
    """A pipe for what a process prints: the end to read, non-blocking, and the end to write; raises OSError."""
    output, written = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(output, False)
    return output, written


class Executed:
    """A program of its own; a child of this process."""

    def __init__(self, arguments: Sequence[str], passed: socket.socket) -> None:
        """Start it; see ``spawn``."""
        self.output, written = open_output()
        try:
            self._process = spawn(arguments, passed, written)
        except BaseException:
            os.close(self.output)
            raise
        finally:
            os.close(written)

    @property
    def pid(self) -> int:
        """See ``Life``."""
        return self._process.pid

    def kill(self) -> None:
        """See ``Life``."""
        self._process.kill()

    def wait(self, timeout_s: float) -> int | None:
        """See ``Life``."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError from error

    def close(self) -> None:
        """See ``Life``."""
        os.close(self.output)


class Forked:
    """A child of the fork server, which tells of its birth and its end. Thread-safe.

    Args:
        news: Where the fork server tells.
        output: See ``Life``.
        give_up: Called when the process is to end and was not even born: ends the fork server.
    """

    def __init__(self, news: socket.socket, output: int, give_up: Callable[[], None]) -> None:
        self.output = output
        self._news = news
        self._give_up = give_up
        self._lock = threading.Lock()
        self._pid = 0
        self._pidfd = -1
        self._is_lost = False

    @property
    def pid(self) -> int:
        """See ``Life``. Waits a moment: whoever has heard of the worker may be ahead of the news of its birth."""
        self._is_born(_BIRTH_S)
        return self._pid

    def kill(self) -> None:
        """See ``Life``."""
        if self._is_born(0.0):
            self._signal()
        elif not self._is_lost:
            self._give_up()  # or it would be born some time, and nobody would end it
            if self._is_born(_BIRTH_S):
                self._signal()

    def wait(self, timeout_s: float) -> int | None:
        """See ``Life``."""
        ends = time.monotonic() + timeout_s
        if not self._is_born(timeout_s):
            if self._is_lost:
                return None
            raise TimeoutError
        _await(self._news.fileno(), ends)
        with contextlib.suppress(OSError):
            record = self._news.recv(control.END.size)
            if len(record) == control.END.size:
                return int(control.END.unpack(record)[0])
        if self._pidfd >= 0:
            _await(self._pidfd, ends)  # the fork server has ended before it
        return None

    def close(self) -> None:
        """See ``Life``."""
        self._news.close()
        os.close(self.output)
        if self._pidfd >= 0:
            os.close(self._pidfd)

    def _signal(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            elif not _can_read(
                self._news.fileno(), 0.0
            ):  # as long as its end is not told, the number is its own
                os.kill(self._pid, signal.SIGKILL)

    def _is_born(self, timeout_s: float) -> bool:
        with self._lock:
            if self._pid or self._is_lost:
                return bool(self._pid)
            try:
                _await(self._news.fileno(), time.monotonic() + timeout_s)
                record, descriptors, _, _ = socket.recv_fds(self._news, control.BIRTH.size, 1)
            except TimeoutError:
                return False
            except OSError:
                record, descriptors = b"", []
            if len(record) == control.BIRTH.size:
                (self._pid,) = control.BIRTH.unpack(record)
                self._pidfd = descriptors[0] if descriptors else -1  # none where there was none to spare
            else:
                self._is_lost = True
            return bool(self._pid)


def _await(descriptor: int, ends: float) -> None:
    """Wait until something can be read, or a process has ended.

    Raises:
        TimeoutError: Nothing came until a monotonic time.
    """
    if not _can_read(descriptor, max(0.0, ends - time.monotonic())):
        raise TimeoutError


def _can_read(descriptor: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_s * 1e3))
