"""The fork server as the main process holds it: who starts workers without importing anything anew.

Guarantees: an order is sent or refused at once; a server that is gone is replaced a few times, and while there is none
workers are executed, which always works. Nothing waits for the server but ``close``.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

from edge_agent.inference.lives import Forked, open_output, spawn

_LAUNCH = ("-c", "import edge_agent.inference.fork_server as server; server.run()")
_WORDS = "edge_agent.inference.fork_server"
_SERVERS_MAX = 4
"""One that ends this often is not started again: it would import for nothing."""
_END_S = 2.0

_LOG = logging.getLogger(__name__)


class ForkServerHandle:
    """A fork server, started with this object. Thread-safe.

    Args:
        note: Last word of its command line, for who looks at the processes of a device.

    """

    def __init__(self, note: str) -> None:
        """Start it.

        Raises:
            OSError: The system has no process, memory or descriptor to spare.
        """
        self._is_gone = False
        self._lock = threading.Lock()
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._process = spawn((*_LAUNCH, _WORDS, str(theirs.fileno()), note), theirs, None)
        except BaseException:
            self._channel.close()
            raise
        self._channel.setblocking(False)

    @property
    def is_gone(self) -> bool:
        """Whether it takes no orders any more."""
        return self._is_gone or self._process.poll() is not None

    def fork(self, order: bytes, channel: socket.socket) -> Forked | None:
        """Order a worker.

        Args:
            order: A ``control.Start`` in JSON.
            channel: The worker's end of its control channel; stays the caller's to close.

        Returns:
            The worker, which will be born when the server comes to it; None where the server takes no order.

        Raises:
            OSError: This process has no descriptor to spare.
        """
        news, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                output, written = open_output()
            except OSError:
                news.close()
                raise
            try:
                with self._lock:
                    socket.send_fds(self._channel, [order], [channel.fileno(), written, theirs.fileno()])
            except OSError:  # it is gone, or takes none of many orders
                self._is_gone = True
                news.close()
                os.close(output)
                return None
            finally:
                os.close(written)
        return Forked(news, output, self.kill)

    def kill(self) -> None:
        """End it now: what it was ordered and has not done will not be done."""
        self._is_gone = True
        self._process.kill()

    def close(self) -> None:
        """End it, and wait for that."""
        self._is_gone = True
        with self._lock:
            self._channel.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class ForkServers:
    """The fork server of now. Owned by who starts workers, under its lock.

    Args:
        run_dir: Run folder, shown in the server's command line.
        may_fork: Whether to have one at all.
    """

    def __init__(self, run_dir: Path, *, may_fork: bool) -> None:
        self._note = str(run_dir)
        self._left = _SERVERS_MAX if may_fork and _has_pidfds() else 0
        self._server: ForkServerHandle | None = None
        self._start()

    def take(self) -> ForkServerHandle | None:
        """Who forks the next worker; None to execute it. A server that ended is replaced for the one after that."""
        if self._server is None or not self._server.is_gone:
            return self._server
        _LOG.warning("the fork server has ended; the next worker starts without it")
        self._server.close()
        self._server = None
        self._start()
        return None

    def close(self) -> None:
        """End it."""
        self._left = 0
        if self._server is not None:
            self._server.close()

    def _start(self) -> None:
        if not self._left:
            return
        self._left -= 1
        try:
            self._server = ForkServerHandle(self._note)
        except OSError as error:
            _LOG.warning("no fork server can be started: %s", error)


def _has_pidfds() -> bool:
    """Whether a process can be held and killed without mistaking another for it: Linux 5.3, not forbidden."""
    try:
        descriptor = os.pidfd_open(os.getpid())
    except (AttributeError, OSError):
        return False
    try:
        signal.pidfd_send_signal(descriptor, 0)
    except (AttributeError, OSError):
        return False
    finally:
        os.close(descriptor)
    return True
