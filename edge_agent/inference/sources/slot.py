"""The one place between a capture's thread and the model: it holds the newest frame and no other.

Guarantees: its size is one; ``put`` never waits; who takes can wait for its file descriptor together with others.
"""

from __future__ import annotations

import os
import threading

from edge_agent.inference.sources.doors import Frame


class LatestSlot:
    """Thread-safe: one thread puts, one takes."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._frame: Frame | None = None
        self._is_taken = False
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Readable while a frame is there."""
        return self._event

    def put(self, frame: Frame) -> bool:
        """Leave a frame; whether it replaced one that nobody took."""
        with self._condition:
            replaced = self._frame is not None
            self._frame = frame
            if not replaced:
                os.eventfd_write(self._event, 1)
            return replaced

    def take(self) -> Frame | None:
        """The frame, if there is one; ``finish`` says that it is dealt with."""
        with self._condition:
            frame, self._frame = self._frame, None
            if frame is not None:
                os.eventfd_read(self._event)
                self._is_taken = True
            return frame

    def finish(self) -> None:
        """The frame taken last is dealt with."""
        with self._condition:
            self._is_taken = False
            self._condition.notify_all()

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no frame is there or taken; whether that is so."""
        with self._condition:
            return self._condition.wait_for(
                lambda: self._frame is None and not self._is_taken, timeout=timeout_s
            )

    def close(self) -> None:
        """Free it; nobody uses it any more."""
        os.close(self._event)
