"""Finds the real programs that tests run against; says so when one is missing."""

from __future__ import annotations

import os
import shutil
import socket
from typing import NoReturn

import pytest

_EXTRA_PATH = "/usr/sbin:/sbin:/usr/local/sbin"


def require(program: str) -> str:
    """Path of a program; skips the test on a laptop and fails it in CI when it is not installed."""
    path = shutil.which(program) or shutil.which(program, path=_EXTRA_PATH)
    if path is None:
        do_without(f"{program} is not installed", remedy="scripts/install-system-packages")
    return path


def do_without(reason: str, *, remedy: str) -> NoReturn:
    """Skip the test on a laptop, and fail it in CI, which must have what it needs."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; CI must have it ({remedy})")
    pytest.skip(reason)


def free_port() -> int:
    """A TCP port on loopback that nothing listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
