"""One worker process as the main process sees it: control channel, last words, end.

Guarantees: nothing here blocks but ``reap``, and that has a limit; a worker's output is read and bounded, so it never
waits for us; its death is told in words.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from dataclasses import dataclass

from contract.errors import RuntimeLoadError
from edge_agent.inference import control
from edge_agent.inference.forking import ForkServerHandle
from edge_agent.inference.lives import Executed, Life
from edge_agent.inference.worker import GENTLY, LAUNCH

_OUTPUT_KEPT_BYTES = 8192
_KILLED_S = 10.0
"""How long a killed process may take to be gone: a kernel that writes its core, or a device that does not answer."""


@dataclass(frozen=True)
class Ending:
    """How a process ended.

    Attributes:
        exit_code: 0 to 255; None when a signal ended it, or nobody saw what did.
        signal: Name, for example ``SIGSEGV``; empty when it exited.
        output: The end of what it wrote to its terminal channels, native libraries included.
    """

    exit_code: int | None
    signal: str
    output: str

    def __str__(self) -> str:
        if self.signal:
            return f"died of {self.signal}"
        return "ended" if self.exit_code is None else f"ended with exit code {self.exit_code}"


class WorkerProcess:
    """A running worker. Thread-safe for ``tell``, ``pid`` and ``kill``; the rest belongs to the supervisor's thread.

    Attributes:
        channel: Control channel, non-blocking; the supervisor waits on it.
    """

    def __init__(self, start: control.Start, server: ForkServerHandle | None = None) -> None:
        """Start it.

        Args:
            start: What it is to serve.
            server: Who forks it; None to execute it. One that cannot is the same as None.

        Raises:
            RuntimeLoadError: The system has no process, memory or descriptor to spare.
        """
        try:
            self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise RuntimeLoadError(f"no worker can be started: {error}") from error
        try:
            with theirs:
                forked = None if server is None else server.fork(control.encode_control(start), theirs)
                self._life: Life = forked or Executed(_arguments(theirs, start), theirs)
        except OSError as error:
            self.channel.close()
            raise RuntimeLoadError(f"no worker can be started: {error}") from error
        self.channel.setblocking(False)
        self._kept = b""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._life.pid

    @property
    def output(self) -> int:
        """Pipe with its standard output and error, non-blocking."""
        return self._life.output

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
        self._life.kill()

    def reap(self, timeout_s: float) -> Ending:
        """Wait for its end, kill it when it does not come, and free everything."""
        code = self._wait(timeout_s)
        while self.read_output():
            pass
        self.channel.close()
        self._life.close()
        output = self._kept.decode(errors="replace").strip()
        if code is not None and code < 0:
            return Ending(None, _signal_name(-code), output)
        return Ending(code, "", output)

    def _wait(self, timeout_s: float) -> int | None:
        try:
            return self._life.wait(timeout_s)
        except TimeoutError:
            self._life.kill()
        try:
            return self._life.wait(_KILLED_S)
        except TimeoutError:
            return None


def _arguments(theirs: socket.socket, start: control.Start) -> list[str]:
    gently = [f"{GENTLY}{start.gentle_s:g}"] if start.gentle_s else []
    return [*LAUNCH, *gently, str(theirs.fileno()), control.encode_control(start).decode()]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # real-time signals have no name
