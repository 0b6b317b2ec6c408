"""The queue before a sink, and the thread that empties it.

Guarantees: ``put`` never waits; at most ``queue`` answers wait, the oldest are dropped and counted; an answer that a
sink cannot take now is tried again, one that it can never take is counted as dropped; trouble is logged when it
changes, and never reaches the source.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Any

from contract.errors import LitefleetError, TransientError
from edge_agent.inference.sources.doors import Sink
from edge_agent.inference.sources.results import is_wanted
from edge_agent.inference.sources.settings import Sink as Settings

_LOG = logging.getLogger(__name__)
_RETRY_S = 0.5
_END_S = 2.0


class Outlet:
    """One sink with its queue.

    Args:
        settings: Of the sink.
        sink: Opened; closed with this.
    """

    def __init__(self, settings: Settings, sink: Sink) -> None:
        self._settings = settings
        self._sink = sink
        self._queue: deque[dict[str, Any]] = deque()
        self._condition = threading.Condition()
        self._ends_s: float | None = None
        self._trouble = ""
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name=f"{settings.kind} sink", daemon=True)
        self._thread.start()

    def put(self, result: dict[str, Any]) -> None:
        """Leave an answer."""
        settings = self._settings
        if settings.kind != "gpio" and not is_wanted(result, settings.labels, settings.min_score):
            return
        with self._condition:
            if len(self._queue) >= settings.queue:
                self._queue.popleft()
                self.dropped += 1
            self._queue.append(result)
            self._condition.notify_all()

    def _run(self) -> None:
        while (result := self._next()) is not None:
            self._write(result)
        self._sink.close()

    def _write(self, result: dict[str, Any]) -> None:
        try:
            self._sink.write(result)
        except LitefleetError as error:
            self._note(error.summary())
            self._give_back(result, is_lost=not isinstance(error, TransientError))
        else:
            self._note("")

    def _next(self) -> dict[str, Any] | None:
        """The oldest answer; None when it is time to end."""
        with self._condition:
            self._condition.wait_for(lambda: bool(self._queue) or self._ends_s is not None)
            is_late = self._ends_s is not None and time.monotonic() > self._ends_s
            return None if is_late or not self._queue else self._queue.popleft()

    def _give_back(self, result: dict[str, Any], *, is_lost: bool) -> None:
        with self._condition:
            if is_lost or len(self._queue) >= self._settings.queue:
                self.dropped += 1
            else:
                self._queue.appendleft(result)
            if not is_lost:
                self._condition.wait_for(lambda: self._ends_s is not None, _RETRY_S)
                if self._ends_s is not None:
                    self._condition.wait(0.05)

    def _note(self, trouble: str) -> None:
        if trouble != self._trouble:
            _LOG.warning("%s sink: %s", self._settings.kind, trouble or "well again")
            self._trouble = trouble

    def close(self) -> None:
        """Give the sink a moment for what waits, and end it; what then still waits is lost."""
        with self._condition:
            self._ends_s = time.monotonic() + _END_S / 2
            self._condition.notify_all()
        self._thread.join(_END_S)
