"""What the agent's main thread is to look at: the newest message of each kind, and a wake-up.

Guarantees: bounded by the number of message kinds, because a newer message replaces an older one of its kind: desired
documents and acknowledgements are cumulative, and controls are settings. ``wake`` may be called from a signal
handler: ``queue.SimpleQueue.put`` is reentrant (https://docs.python.org/3/library/queue.html#queue.SimpleQueue.put).
"""

from __future__ import annotations

import queue
import threading

from contract.messages import Message


class Mailbox:
    """Filled by any thread, emptied by one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: dict[type[Message], Message] = {}
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()

    def put(self, message: Message) -> None:
        """Leave a message; one of the same kind that was not taken yet is replaced."""
        with self._lock:
            self._newest.pop(type(message), None)
            self._newest[type(message)] = message
        self.wake()

    def wake(self) -> None:
        """Let ``take`` return."""
        self._calls.put(None)

    def take(self, timeout_s: float) -> list[Message]:
        """Wait for a message or a wake-up, then take all messages, oldest kind first."""
        try:
            self._calls.get(timeout=max(0.0, timeout_s))
            while True:
                self._calls.get_nowait()
        except queue.Empty:
            pass
        with self._lock:
            messages, self._newest = list(self._newest.values()), {}
        return messages
