"""The door to the fetching process: starts it, feeds it one job, and turns its answer into a result or an error.

Guarantees: at most one fetching process per state folder, also after the agent was killed: the process inherits a
lock, and one that a killed agent left behind is ended before a new one starts. It is ended when the agent stops or
loses interest, and when it is silent for too long. Knows nothing of TUF or HTTP: their memory goes back with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from contract.errors import DownloadError, MessageError
from edge_agent.files import storage_errors
from edge_agent.update.fetch_protocol import (
    LINE_MAX_BYTES,
    Fetched,
    FetchJob,
    Progress,
    Refused,
    error_of,
    parse_line,
    serialize_job,
)

COMMAND = (sys.executable, "-m", "edge_agent.update.fetch")
_POLL_S = 0.2
_READ_BYTES = 1 << 16

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FetchLimits:
    """How long things may take, in seconds.

    Attributes:
        silence_s: How long the child may say nothing: longer than any time-out of its own connections, so that it
            can tell by itself what is wrong.
        lock_s: How long to wait for a child of an agent that was killed.
        end_s: From the order to end until the child is killed.
    """

    silence_s: float = 180.0
    lock_s: float = 5.0
    end_s: float = 5.0


_DEFAULT_LIMITS = FetchLimits()


class FetchProcess:
    """Fetches releases in child processes, one at a time.

    Args:
        state_dir: Where the lock file stands.
        command: How the child is started.
        limits: How long things may take.
    """

    def __init__(
        self, state_dir: Path, command: Sequence[str] = COMMAND, limits: FetchLimits = _DEFAULT_LIMITS
    ) -> None:
        self._lock_path = state_dir / "fetch.lock"
        self._command = tuple(command)
        self._limits = limits

    def fetch(
        self, job: FetchJob, on_progress: Callable[[int, int], None], should_stop: Callable[[], bool]
    ) -> Fetched | None:
        """Run one job.

        Args:
            job: What to fetch.
            on_progress: Told bytes done and bytes in total.
            should_stop: Asked several times a second; when true, the child is ended.

        Returns:
            The result; None when it was stopped.

        Raises:
            DownloadError: Now it cannot be fetched, or the child died: try again.
            LitefleetError: Whatever else the child refused it for.
        """
        with self._lock() as lock:
            child = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=(lock,)
            )
            try:
                _write_pid(lock, child.pid)
                return self._converse(child, job, on_progress, should_stop)
            finally:
                _end(child, self._limits.end_s)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[int]:
        with storage_errors(f"lock {self._lock_path}"):
            handle = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + self._limits.lock_s
            while not _is_taken(handle):
                if time.monotonic() >= deadline:
                    raise DownloadError("an earlier fetching process has not ended yet")
                _end_holder(handle)
                time.sleep(_POLL_S)
            _write_pid(handle, None)
            yield handle
        finally:
            os.close(handle)

    def _converse(
        self,
        child: subprocess.Popen[bytes],
        job: FetchJob,
        on_progress: Callable[[int, int], None],
        should_stop: Callable[[], bool],
    ) -> Fetched | None:
        assert child.stdin is not None  # noqa: S101 - started with pipes
        with contextlib.suppress(BrokenPipeError):  # it died at once: reading tells
            child.stdin.write(serialize_job(job))
            child.stdin.close()
        for line in self._lines(child, should_stop):
            if line is None:
                return None
            answer = parse_line(line)
            if isinstance(answer, Progress):
                on_progress(answer.bytes_done, answer.bytes_total)
                continue
            self._await_end(child)
            if isinstance(answer, Refused):
                raise error_of(answer)
            return answer
        self._await_end(child)
        raise DownloadError(f"the fetching process gave no answer ({_how_it_ended(child.returncode)})")

    def _await_end(self, child: subprocess.Popen[bytes]) -> None:
        """Let it end by itself; one that does not is ended later."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=self._limits.end_s)

    def _lines(
        self, child: subprocess.Popen[bytes], should_stop: Callable[[], bool]
    ) -> Iterator[bytes | None]:
        """Its lines without newline; None once it is to stop."""
        assert child.stdout is not None  # noqa: S101 - started with pipes
        handle, rest = child.stdout.fileno(), b""
        heard = time.monotonic()
        while True:
            if should_stop():
                yield None
                return
            if not select.select([handle], [], [], _POLL_S)[0]:
                if time.monotonic() - heard > self._limits.silence_s:
                    raise DownloadError(f"the fetching process said nothing for {self._limits.silence_s:g} s")
                continue
            heard = time.monotonic()
            block = os.read(handle, _READ_BYTES)
            if not block:
                return
            *lines, rest = (rest + block).split(b"\n")
            if len(rest) > LINE_MAX_BYTES:
                raise MessageError(f"the fetching process wrote a line over {LINE_MAX_BYTES} bytes")
            yield from lines


def _write_pid(lock: int, pid: int | None) -> None:
    with storage_errors("write the fetch lock"):
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"" if pid is None else b"%d" % pid, 0)


def _end_holder(lock: int) -> None:
    """End the process that holds the lock. Its number cannot be another's: it stands there only while it runs."""
    text = os.pread(lock, 32, 0)
    if text.isdigit():
        logger.warning("fetching process %s of an earlier agent is ended", text.decode())
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(text), signal.SIGKILL)


def _is_taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end(child: subprocess.Popen[bytes], end_s: float) -> None:
    """End the child whatever it does, and close the pipes."""
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    child.terminate()
    try:
        child.wait(timeout=end_s)
    except subprocess.TimeoutExpired:
        logger.warning("fetching process %d does not end, killed", child.pid)
        child.kill()
        child.wait()


def _how_it_ended(code: int | None) -> str:
    if code is None:
        return "and does not end"
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
