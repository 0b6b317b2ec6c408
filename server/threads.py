"""Threads that never die unnoticed.

Guarantees: a bug that ends a thread is logged with its traceback and reported, so that the server ends instead of
going on without a part of itself.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


def start_thread(name: str, target: Callable[[], None], on_crash: Callable[[], None]) -> threading.Thread:
    """Start a thread.

    Args:
        name: For the log.
        target: What it does; returns when the thread is to end.
        on_crash: Called in the thread when ``target`` raised.
    """

    def run() -> None:
        try:
            target()
        except BaseException:
            logger.critical("thread %s crashed", name, exc_info=True)
            on_crash()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread
