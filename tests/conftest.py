"""For every test."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Have SIGINT interrupt what tests start also when they run in a shell's background, which ignores it (bash(1))."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
