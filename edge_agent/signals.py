"""The signals that ask a process to end."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

_ENDING = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def ending_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call something when the process is asked to end, while inside; only in the main thread."""
    before = {number: signal.signal(number, lambda *_: stop()) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
