"""Looks at the sensors again and again, in a thread of its own: a driver may make its reader wait.

Guarantees: whoever takes readings never waits; a sensor that hangs costs its readings and nothing else. A bug in
reading ends the thread and is handed on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from edge_agent.heat.reading import Reading


class HeatWatch:
    """The thread.

    Args:
        read: Looks at the sensors.
        interval_s: Time between two looks, seconds.
        on_reading: Called from the thread after each.
        on_end: Called from it when it ends because of a bug.
    """

    def __init__(
        self,
        read: Callable[[], Reading],
        interval_s: float,
        *,
        on_reading: Callable[[], None],
        on_end: Callable[[BaseException], None],
    ) -> None:
        self._read = read
        self._interval_s = interval_s
        self._on_reading = on_reading
        self._on_end = on_end
        self._newest: Reading | None = None
        self._lock = threading.Lock()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heat-watch", daemon=True)

    def start(self) -> None:
        """Begin; the first look is at once."""
        self._thread.start()

    def take(self) -> Reading | None:
        """The newest reading; None when there is none since the last call."""
        with self._lock:
            reading, self._newest = self._newest, None
        return reading

    def stop(self) -> None:
        """Ask the thread to end."""
        self._is_stopping.set()

    def join(self, timeout_s: float) -> None:
        """Wait for its end; a sensor that hangs is not waited for."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._is_stopping.is_set():
                reading = self._read()
                with self._lock:
                    self._newest = reading
                self._on_reading()
                self._is_stopping.wait(self._interval_s)
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which raises it again
            self._on_end(error)
