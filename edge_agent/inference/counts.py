"""What a worker counts between two windows. Owned by the worker's one thread.

Requests that are refused because of their own input are not counted: they say nothing about the model.
"""

from __future__ import annotations

import time

from contract.histogram import LatencyRecorder
from edge_agent.inference.control import Window
from edge_agent.inference.memory import resident_bytes


class Counts:
    """Requests, errors and latency since the last window.

    Attributes:
        answered: Requests of all windows, errors included.
        refused: Attempts to connect, of all windows, beyond as many clients as are taken.
    """

    def __init__(self) -> None:
        self._latency = LatencyRecorder()
        self._requests = 0
        self._errors = 0
        self._since = time.monotonic()
        self.answered = 0
        self.refused = self._refused_told = 0

    def count_answer(self, latency_s: float) -> None:
        """A request was answered; seconds in the worker."""
        self._requests += 1
        self.answered += 1
        self._latency.record(latency_s)

    def count_error(self) -> None:
        """A request could not be answered because the runtime or the model failed."""
        self._requests += 1
        self.answered += 1
        self._errors += 1

    def count_refusal(self) -> None:
        """Somebody more wanted to connect than are taken."""
        self.refused += 1

    def forget(self) -> None:
        """Begin anew: what was counted was no application's."""
        self.take_window()
        self.answered = 0

    def take_window(self) -> Window:
        """Everything since the last time; the next window begins."""
        now = time.monotonic()
        window = Window(
            duration_s=now - self._since,
            requests=self._requests,
            errors=self._errors,
            latency=self._latency.snapshot(),
            rss_bytes=resident_bytes(),
            refused=self.refused - self._refused_told,
        )
        self._latency.reset()
        self._requests = self._errors = 0
        self._refused_told = self.refused
        self._since = now
        return window
