"""Files that are whole or absent, and stay after a power cut.

Guarantees: ``write_durably`` leaves either the old file or the new one, on disk, whatever happens in between.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from contract.errors import StorageError


@contextlib.contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn what the file system refuses into one error.

    Raises:
        StorageError: For every ``OSError`` raised inside.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot {what}: {error.strerror or error}", remedy="look at the disk and its permissions"
        ) from error


def write_durably(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write, fsync, rename, fsync the folder.

    Args:
        path: The file.
        content: All of it.
        mode: Its permissions; the owner's only by default.

    Raises:
        StorageError: The disk is full, read-only or failing.
    """
    with storage_errors(f"write {path}"):
        handle, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, mode)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(draft).replace(path)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to disk: a rename is only safe after this."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
