"""One worker process as the main process sees it: start, control channel, last words, end.

Guarantees: nothing here blocks but ``reap``, and that has a limit; a worker's output is read and bounded, so it never
waits for us; its death is told in words. The one door of the inference part to ``subprocess``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass

from contract.errors import RuntimeLoadError
from edge_agent.inference import control
from edge_agent.inference.worker import GENTLY, LAUNCH

_OUTPUT_KEPT_BYTES = 8192
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
"""Workers do no linear algebra in numpy; without this its BLAS reserves memory for every core at import. One heap for
all threads, because the one that imports gently ends soon."""


@dataclass(frozen=True)
class Ending:
    """How a process ended.

    Attributes:
        exit_code: 0 to 255; None when a signal ended it.
        signal: Name, for example ``SIGSEGV``; empty when it exited.
        output: The end of what it wrote to its terminal channels, native libraries included.
    """

    exit_code: int | None
    signal: str
    output: str

    def __str__(self) -> str:
        return f"died of {self.signal}" if self.signal else f"ended with exit code {self.exit_code}"


class WorkerProcess:
    """A running worker. Thread-safe for ``tell`` and ``kill``; the rest belongs to the supervisor's thread.

    Attributes:
        pid: Its process id.
        channel: Control channel, non-blocking; the supervisor waits on it.
        output: Pipe with its standard output and error, non-blocking.
    """

    def __init__(self, start: control.Start, *, gentle_s: float = 0.0) -> None:
        """Start it.

        Args:
            start: What it is to serve.
            gentle_s: For how long at most it leaves the processor to others while it imports, seconds.

        Raises:
            RuntimeLoadError: The system has no process, memory or descriptor to spare.
        """
        try:
            self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise RuntimeLoadError(f"no worker can be started: {error}") from error
        try:
            with theirs:
                self._process = _spawn(theirs, start, gentle_s)
        except OSError as error:
            self.channel.close()
            raise RuntimeLoadError(f"no worker can be started: {error}") from error
        self.channel.setblocking(False)
        self.pid = self._process.pid
        assert self._process.stdout is not None  # noqa: S101 - _spawn asked for the pipe
        self.output = self._process.stdout.fileno()
        os.set_blocking(self.output, False)
        self._kept = b""

    def tell(self, message: control.ToWorker) -> None:
        """Send without waiting; lost when the worker is gone or does not read, which shows in other ways."""
        with contextlib.suppress(OSError):
            self.channel.send(control.encode_control(message))

    def receive(self) -> control.FromWorker | None:
        """What the worker says, once the channel is readable; None when the worker has closed its side.

        Raises:
            MessageError: It cannot be understood.
        """
        try:
            record = self.channel.recv(control.RECORD_MAX_BYTES)
        except ConnectionError:
            return None
        return control.parse_from_worker(record) if record else None

    def read_output(self) -> bool:
        """Take over what it wrote; False when there is nothing to read now, or never again."""
        try:
            block = os.read(self.output, 4096)
        except BlockingIOError:
            return False
        self._kept = (self._kept + block)[-_OUTPUT_KEPT_BYTES:]
        return bool(block)

    def order_end(self) -> None:
        """End the control channel: the worker finishes its request and ends."""
        with contextlib.suppress(OSError):
            self.channel.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """End it now."""
        self._process.kill()

    def reap(self, timeout_s: float) -> Ending:
        """Wait for its end, kill it when it does not come, and free everything."""
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        while self.read_output():
            pass
        self.channel.close()
        assert self._process.stdout is not None  # noqa: S101 - _spawn asked for the pipe
        self._process.stdout.close()
        output = self._kept.decode(errors="replace").strip()
        if code < 0:
            return Ending(None, _signal_name(-code), output)
        return Ending(code, "", output)


def _spawn(theirs: socket.socket, start: control.Start, gentle_s: float) -> subprocess.Popen[bytes]:
    # A terminal's Ctrl-C and a service manager's stop reach every process of the agent. The main process decides: a
    # worker starts and lives with both blocked.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        return subprocess.Popen(
            [
                sys.executable,
                *LAUNCH,
                *((f"{GENTLY}{gentle_s:g}",) if gentle_s else ()),
                str(theirs.fileno()),
                control.encode_control(start).decode(),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(theirs.fileno(),),
            env={**os.environ, **_ENVIRONMENT},
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # real-time signals have no name
