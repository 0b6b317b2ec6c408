"""Runs a probe in a process of its own and says what became of it; the door to probe processes.

Guarantees: a probe never takes longer than its limit, whatever native code does; nothing that it does reaches this
process; what it prints is bounded. Decides nothing about the result.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from contract.errors import RuntimeLoadError
from edge_agent.inference.probe_protocol import (
    LINE_MAX_BYTES,
    At,
    Failed,
    Outcome,
    Passed,
    ProbeJob,
    Stage,
    encode_probe,
    read_lines,
)

PROBE_LIMIT_S = 60.0
"""A Pi Zero 2 takes up to 20 s to import numpy and a runtime from a slow card; libedgetpu 5 s to load its firmware."""
_OUTPUT_KEPT_BYTES = 4096
_POLL_S = 0.1
_GRACE_S = 2.0
"""From closing its pipe to its end, which tells the signal: a process that dies does that at once."""
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C"}


@dataclass(frozen=True)
class Prober:
    """Tries things, one at a time. Callable as ``resolver.Probe``.

    Attributes:
        limit_s: Longest time of one probe, seconds.
        should_stop: Asked several times a second; when true, the probe is ended and RuntimeLoadError raised.
    """

    limit_s: float = PROBE_LIMIT_S
    should_stop: Callable[[], bool] = bool

    def __call__(self, job: ProbeJob) -> Outcome:
        """Try one thing.

        Raises:
            RuntimeLoadError: No process can be started, or ``should_stop`` said so.
        """
        job = msgspec.structs.replace(job, limit_s=self.limit_s + 1)
        reading, writing = os.pipe()
        try:
            child = _spawn(job, writing)
        except OSError as error:
            os.close(reading)
            raise RuntimeLoadError(f"no probe can be started: {error}") from error
        finally:
            os.close(writing)
        assert child.stdout is not None  # noqa: S101 - _spawn asked for the pipe
        grace_s = 0.0
        try:
            lines, output, is_late = self._listen(reading, child.stdout.fileno())
            grace_s = 0.0 if is_late else _GRACE_S
        finally:
            _end(child, grace_s)
            os.close(reading)
            child.stdout.close()
        return _outcome(lines, output, child.returncode, is_late=is_late, limit_s=self.limit_s)

    def _listen(self, reading: int, printed: int) -> tuple[bytes, bytes, bool]:
        """What it says and what it prints, until it closes both or time is over."""
        said, output, open_ends = b"", b"", {reading, printed}
        ends = time.monotonic() + self.limit_s
        while reading in open_ends:
            if self.should_stop():
                raise RuntimeLoadError("the agent is ending")
            left_s = ends - time.monotonic()
            if left_s <= 0:
                return said, output, True
            for end in select.select(list(open_ends), [], [], min(left_s, _POLL_S))[0]:
                block = os.read(end, 65536)
                if not block:
                    open_ends.discard(end)
                elif end == reading:
                    said = (said + block)[: 16 * LINE_MAX_BYTES]
                else:
                    output = (output + block)[-_OUTPUT_KEPT_BYTES:]
        return said, output + _rest(printed), False


def _rest(end: int) -> bytes:
    """What is left in a pipe; nothing is waited for: a grandchild may hold it open."""
    found = b""
    while select.select([end], [], [], 0)[0]:
        block = os.read(end, 65536)
        if not block:
            break
        found = (found + block)[-_OUTPUT_KEPT_BYTES:]
    return found


def _spawn(job: ProbeJob, writing: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "edge_agent.inference.probe", str(writing), encode_probe(job).decode()]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(writing,),
        start_new_session=True,  # what it starts is ended with it, and Ctrl-C is for the agent alone
        env={**os.environ, **_ENVIRONMENT},
    )


def _end(child: subprocess.Popen[bytes], grace_s: float) -> None:
    """Let it leave when it is leaving; else end it. Whatever it started is ended with it."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(grace_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _outcome(lines: bytes, output: bytes, code: int, *, is_late: bool, limit_s: float) -> Outcome:
    at, passed, failed = At.STARTING, None, None
    libraries: tuple[str, ...] = ()
    for line in read_lines(lines):
        if isinstance(line, Stage):
            at = line.at
        elif isinstance(line, Passed):
            passed = line
        elif isinstance(line, Failed):
            failed = line
        else:
            libraries = line.libraries
    has_answered = passed is not None or failed is not None
    return Outcome(
        at=at,
        passed=passed,
        failed=failed,
        signal=_signal_name(-code) if code < 0 and not has_answered and not is_late else "",
        exit_code=code if code >= 0 else None,
        is_late=is_late and not has_answered,
        limit_s=limit_s,
        output=output[-_OUTPUT_KEPT_BYTES:].decode("utf-8", "replace").strip(),
        libraries=libraries,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # real-time signals have no name
