"""The process that workers are forked from, run as ``LAUNCH`` says: it has imported what all of them need.

Guarantees: has one thread and serves no model, so that a fork of it is whole, and nothing a model does can end it; a
worker gets what is its own and none of what the server holds for others; the end of the server's channel ends it, and
its workers live on. Tells of every worker's birth and end.

Why: docs/adr/0050.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from contract.errors import MessageError
from edge_agent.inference.gentle import NotYetError
from edge_agent.inference.lean import Lean
from edge_agent.inference.worker import begin_again, end

with Lean():
    from edge_agent.inference import control
    from edge_agent.inference.serving import import_runtime_of, serve

LAUNCH = ("-c", f"import {__name__} as server; server.run()", __name__)
"""Starts the server; the last word is for who looks at the processes of a device."""
PASSED = 3
"""Descriptors that come with an order: control channel, output, and where to tell of birth and end."""


class _Child:
    """A worker that has not been reaped."""

    def __init__(self, pid: int, news: socket.socket) -> None:
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)
        self._news = news

    def announce(self) -> None:
        """Tell of its birth."""
        with contextlib.suppress(OSError):
            socket.send_fds(self._news, [control.BIRTH.pack(self.pid)], [self.pidfd])

    def bury(self) -> None:
        """It has ended: tell how."""
        _, status = os.waitpid(self.pid, 0)
        with contextlib.suppress(OSError):
            self._news.send(control.END.pack(os.waitstatus_to_exitcode(status)))
        self.close()

    def close(self) -> None:
        """Free what is held for it."""
        self._news.close()
        os.close(self.pidfd)


class ForkServer:
    """Forks as it is told.

    Args:
        channel: Where orders come from: a ``control.Start`` in JSON each, and ``PASSED`` descriptors.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._children: dict[int, _Child] = {}
        self._has_runtime = False
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)

    def run(self) -> None:
        """Serve until the channel ends."""
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor != self._channel.fileno():
                    self._poll.unregister(descriptor)
                    self._children.pop(descriptor).bury()
                elif not self._obey():
                    return

    def _obey(self) -> bool:
        """Fork a worker; False at the end of the channel."""
        order, passed, _, _ = socket.recv_fds(
            self._channel, control.RECORD_MAX_BYTES, PASSED, socket.MSG_CMSG_CLOEXEC
        )
        if not order:
            return False
        if len(passed) != PASSED:  # no descriptor to spare; the other side sees its ends closed
            _close_all(passed)
            return True
        try:
            start = control.parse_start(order)
            self._import_runtime(start)
            # A runtime may have started threads, and no fork has them.
            is_whole = len(list(Path("/proc/self/task").iterdir())) == 1
            pid = os.fork()
        except (OSError, MessageError) as error:
            os.write(passed[1], f"no process can be forked: {error}".encode())
            _close_all(passed)
            return True
        if not pid:
            self._become_worker(order, start, passed, is_whole=is_whole)
        _close_all(passed[:2])
        self._adopt(pid, socket.socket(fileno=passed[2]))
        return True

    def _adopt(self, pid: int, news: socket.socket) -> None:
        try:
            child = _Child(pid, news)
        except OSError:  # no descriptor to spare: nobody could be told of its end
            news.close()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return
        self._children[child.pidfd] = child
        self._poll.register(child.pidfd, select.POLLIN)
        child.announce()

    def _import_runtime(self, start: control.Start) -> None:
        """Have what the first worker needs, and those after it; one that needs another runtime imports it itself."""
        if not self._has_runtime:
            self._has_runtime = True
            with Lean():
                import_runtime_of(start)

    def _become_worker(
        self, order: bytes, start: control.Start, passed: list[int], *, is_whole: bool
    ) -> NoReturn:
        """Serve in this fork.

        Every page that it writes to is copied first, which takes milliseconds that others need: what can be left to
        the gentle part is.
        """
        channel, output, _ = passed
        code = 1
        try:
            for terminal in (1, 2):
                os.dup2(output, terminal)
            if not is_whole:
                begin_again(str(channel), order.decode())
            code = serve(channel, start, start.gentle_s, first=lambda: self._let_go(passed[1:]))
        except NotYetError:
            begin_again(str(channel), order.decode())
        except BaseException:  # noqa: BLE001 - the process ends here, and this is the end of its output
            sys.excepthook(*sys.exc_info())
        finally:
            end(code)

    def _let_go(self, descriptors: list[int]) -> None:
        """Close these, and what the server holds for itself and for other workers."""
        _close_all(descriptors)
        self._channel.close()
        for other in self._children.values():
            other.close()


def _close_all(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def run() -> None:
    """What ``LAUNCH`` calls, with the number of the channel's descriptor; ends the process."""
    with socket.socket(fileno=int(sys.argv[2])) as channel:
        ForkServer(channel).run()
    end(0)
