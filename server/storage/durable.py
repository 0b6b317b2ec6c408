"""Files that are whole or absent, and stay after a power cut.

Guarantees: ``write_durably`` leaves either the old file or the new one, on disk, whatever happens in between.
Does not lock: one writer per path is the caller's business.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from contract.errors import StorageError


@contextlib.contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn what the file system refuses into one error that says what to do.

    Raises:
        StorageError: For every ``OSError`` raised inside.
    """
    try:
        yield
    except OSError as error:
        remedy = "look at the disk and its permissions"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            remedy = "free some space on the server's disk, then try again"
        raise StorageError(f"{what}: {error.strerror or error}", remedy=remedy) from error


def write_durably(path: Path, content: bytes) -> None:
    """Write, fsync, rename, fsync the folder; missing folders are made.

    Raises:
        StorageError: The disk is full, read-only or failing.
    """
    with storage_errors(f"{path.name} could not be written"):
        make_folder(path.parent)
        handle, draft = tempfile.mkstemp(prefix=".draft-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder with its parents; each new name is on disk afterwards."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk: a rename is only safe after this."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
