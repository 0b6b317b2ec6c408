"""The main process's thread that listens to all workers: what they say, what they print, that they ended.

Guarantees: one thread reads every control channel and every worker's output, reaps what ended, and calls the
``Policy`` for everything else; it never waits for one worker. Decides nothing.
"""

from __future__ import annotations

import logging
import os
import selectors
import threading
import time
from typing import Literal, NamedTuple, Protocol

from contract.errors import MessageError
from edge_agent.inference.control import FromWorker
from edge_agent.inference.process import Ending, WorkerProcess

_LOG = logging.getLogger(__name__)
_REAP_S = 1.0
"""A worker that has closed its control channel is at its very end; one that hangs there is killed."""


class Policy(Protocol):
    """What is done about it. Every call comes from the supervisor's thread."""

    def heard(self, key: int, message: FromWorker) -> None:
        """A worker said something."""

    def ended(self, key: int, ending: Ending) -> None:
        """A worker ended and was reaped; nothing comes from it any more."""

    def tick(self, now: float) -> float | None:
        """Do what is due at a monotonic time; seconds until something is due again, None for nothing."""


class _Event(NamedTuple):
    kind: Literal["wake", "channel", "output"]
    key: int


class Supervisor:
    """The thread. Ends after ``stop``, once every worker has ended.

    Args:
        policy: Who decides.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._lock = threading.Lock()
        self._newcomers: list[tuple[int, WorkerProcess]] = []
        self._processes: dict[int, WorkerProcess] = {}
        self._is_stopping = self._has_ended = False
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake, selectors.EVENT_READ, _Event("wake", 0))
        self._thread = threading.Thread(target=self._run, name="litefleet-supervisor", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def adopt(self, key: int, process: WorkerProcess) -> None:
        """Listen to one more worker, known to the policy by ``key``. Any thread."""
        with self._lock:
            self._newcomers.append((key, process))
        self.wake()

    def wake(self) -> None:
        """Call ``tick`` soon: something new is due. Any thread; nothing after the end."""
        with self._lock:
            if not self._has_ended:
                os.eventfd_write(self._wake, 1)

    def stop(self, timeout_s: float) -> None:
        """Wait until the last worker has ended. Any thread but the supervisor's own."""
        self._is_stopping = True
        self.wake()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            _LOG.error("workers %s could not be ended", sorted(self._processes))

    def _run(self) -> None:
        try:
            while not self._is_over():
                self._welcome()
                for selected, _ in self._selector.select(self._policy.tick(time.monotonic())):
                    self._deal_with(selected.data)
        finally:
            with self._lock:
                self._has_ended = True
                self._selector.close()
                os.close(self._wake)

    def _is_over(self) -> bool:
        with self._lock:
            return self._is_stopping and not self._processes and not self._newcomers

    def _welcome(self) -> None:
        with self._lock:
            newcomers, self._newcomers = self._newcomers, []
        for key, process in newcomers:
            self._processes[key] = process
            self._selector.register(process.channel, selectors.EVENT_READ, _Event("channel", key))
            self._selector.register(process.output, selectors.EVENT_READ, _Event("output", key))

    def _deal_with(self, event: _Event) -> None:
        if event.kind == "wake":
            os.eventfd_read(self._wake)
            return
        process = self._processes.get(event.key)
        if process is None:
            return  # reaped by an event of the same round
        if event.kind == "output":
            if not process.read_output():
                self._selector.unregister(process.output)
            return
        self._listen(event.key, process)

    def _listen(self, key: int, process: WorkerProcess) -> None:
        try:
            message = process.receive()
        except MessageError:
            _LOG.exception("worker process %d does not speak our language, it is ended", process.pid)
            message = None
            process.kill()
        if message is not None:
            self._policy.heard(key, message)
            return
        del self._processes[key]
        self._selector.unregister(process.channel)
        if process.output in self._selector.get_map():
            self._selector.unregister(process.output)
        self._policy.ended(key, process.reap(_REAP_S))
