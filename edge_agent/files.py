"""Small files that must be found whole after a power cut, and the lock that keeps a second agent out.

Guarantees: ``write_durably`` replaces a file atomically and has it on disk when it returns; every read is bounded;
every failure of the file system is a StorageError that says what to do. Knows nothing of what the files mean.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from contract.errors import ConfigError, StorageError

DRAFT_SUFFIX = ".draft"
_LOCK_TRIES = 4
_LOCK_PAUSE_S = 0.05
_REMEDIES = {
    errno.ENOSPC: "free some disk space",
    errno.EDQUOT: "raise the disk quota, or free some space",
    errno.EROFS: "remount the file system writable, or replace the card",
    errno.EACCES: "give the agent's user access to this path",
    errno.EIO: "the disk is failing: replace it",
}


@contextlib.contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn failures of the file system into StorageError.

    Args:
        what: What was being done, for example ``write slots.json``.

    Raises:
        StorageError: Any OSError inside.
    """
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "")
        raise StorageError(f"cannot {what}: {error.strerror or error}", remedy=remedy) from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable (fsync(2): syncing a file does not sync its folder entry)."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_durably(path: Path, content: bytes) -> None:
    """Replace a file: write a draft beside it, sync, rename, sync the folder. Readable by the owner only.

    Raises:
        StorageError: The file is as it was before.
    """
    draft = path.with_name(path.name + DRAFT_SUFFIX)
    with storage_errors(f"write {path}"):
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_folder(path.parent)


def read_bounded(path: Path, limit_bytes: int) -> bytes | None:
    """A file's bytes; None when there is no such file.

    Raises:
        StorageError: It cannot be read, or is larger than ``limit_bytes``.
    """
    with storage_errors(f"read {path}"):
        try:
            with path.open("rb") as file:
                content = file.read(limit_bytes + 1)
        except FileNotFoundError:
            return None
    if len(content) > limit_bytes:
        raise StorageError(f"{path} is larger than {limit_bytes} bytes")
    return content


def make_folder(path: Path) -> None:
    """Make a folder that only the owner may enter, and those above it; nothing happens when it is there.

    Raises:
        StorageError: It cannot be made.
    """
    with storage_errors(f"make {path}"):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a folder and everything in it, durably; nothing happens when it is not there.

    Raises:
        StorageError: Something of it is still there.
    """
    with storage_errors(f"remove {path}"):
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            return
        sync_folder(path.parent)


class StateLock:
    """Held as long as an agent uses a state folder. A context manager.

    The kernel frees it when the process ends, however that happens. Child processes do not inherit it.

    Args:
        folder: The state folder; must exist.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "agent.lock"
        self._handle: int | None = None

    def __enter__(self) -> StateLock:
        """Take the lock.

        Raises:
            ConfigError: Another agent holds it; names its process id.
            StorageError: The lock file cannot be written.
        """
        with storage_errors(f"lock {self._path}"):
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if not _lock_patiently(self._handle):
                pid = os.pread(self._handle, 32, 0).decode("ascii", "replace").strip()
                self._close()
                raise ConfigError(
                    f"another agent (process {pid or 'unknown'}) already uses {self._path.parent}",
                    remedy="end it first, or give this one another state_dir",
                )
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{os.getpid()}\n".encode("ascii"), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _lock_patiently(handle: int) -> bool:
    """Take the lock, patiently enough that ``lock_holder`` looking at it is not taken for another agent."""
    for _ in range(_LOCK_TRIES):
        if _lock(handle, fcntl.LOCK_EX):
            return True
        time.sleep(_LOCK_PAUSE_S)
    return False


def _lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock_holder(folder: Path) -> int | None:
    """Process id of the agent that uses a state folder; None when none runs.

    Raises:
        StorageError: The lock file cannot be read.
    """
    path = folder / "agent.lock"
    with storage_errors(f"read {path}"):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            if _lock(handle, fcntl.LOCK_SH):
                return None
            text = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            return int(text) if text.isdigit() else None
        finally:
            os.close(handle)
