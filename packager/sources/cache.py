"""Where converters and what they made are kept: ``$XDG_CACHE_HOME/litefleet``, by default ``~/.cache/litefleet``.

Guarantees: everything there can be deleted at any time by hand and is made again; one process at a time makes one
thing, others wait for it; a lock is freed when its process dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from contract.errors import StorageError
from packager.durable import storage_errors

_POLL_S = 0.2


def cache_folder(part: str) -> Path:
    """The folder of one kind of thing, made when it is not there.

    Raises:
        StorageError: It cannot be made.
    """
    # The specification says that a path that is not absolute must be ignored (XDG Base Directory, 0.8).
    given = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(given) if given.startswith("/") else Path.home() / ".cache"
    folder = root / "litefleet" / part
    with storage_errors(f"make {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def locked(path: Path, timeout_s: float, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold a lock file while the block runs.

    Args:
        path: The lock file; stays there.
        timeout_s: How long to wait for another process.
        on_wait: Called once when there is one to wait for.

    Raises:
        StorageError: It cannot be opened, or the time is over.
    """
    with storage_errors(f"open {path}"):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(handle, path, timeout_s, on_wait)
        yield
    finally:
        os.close(handle)


def _acquire(handle: int, path: Path, timeout_s: float, on_wait: Callable[[], None]) -> None:
    if _try_lock(handle):
        return
    on_wait()
    deadline = time.monotonic() + timeout_s
    while not _try_lock(handle):
        if time.monotonic() > deadline:
            raise StorageError(
                f"another process has held {path} for {timeout_s:.0f} s", remedy="end it, and try again"
            )
        time.sleep(_POLL_S)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
