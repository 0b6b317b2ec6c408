"""Copies a source to where it is converted, and digests what was copied.

Guarantees: what is digested, checked and converted are the same bytes, even while somebody writes the original;
links and special files are refused; bounded in bytes and files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from contract.errors import ManifestError

SOURCE_MAX_BYTES = 4 << 30
"""4 GiB: twice what a .tflite file can hold; a source stores optimizer state and float32 weights at most beside."""
_MAX_FILES = 10_000
_BLOCK_BYTES = 1 << 20


def take_snapshot(path: Path, target: Path, limit_bytes: int = SOURCE_MAX_BYTES) -> str:
    """Copy a file or folder.

    Args:
        path: The source.
        target: Where it goes; not there yet.
        limit_bytes: How much is copied at most.

    Returns:
        sha256 of a file's bytes; of a folder, over its files' sorted relative names and digests.

    Raises:
        ManifestError: It cannot be read, is too large, or holds links or special files.
    """
    try:
        if not path.is_dir():
            return _copy(path, target, limit_bytes)[0]
        return _copy_folder(path, target, limit_bytes)
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror or error}") from error


def _copy_folder(path: Path, target: Path, limit: int) -> str:
    digest = hashlib.sha256()
    for name in sorted(_names(path)):
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        found, size = _copy(path / name, place, limit)
        limit -= size
        digest.update(f"{name}\0{found}\n".encode())
    return digest.hexdigest()


def _names(folder: Path) -> Iterator[str]:
    for count, path in enumerate(folder.rglob("*")):
        if count >= _MAX_FILES:
            raise ManifestError(f"{folder} holds more than {_MAX_FILES} files")
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ManifestError(f"{path} is a link or special file", remedy="give plain files and folders")
        if path.is_file():
            yield path.relative_to(folder).as_posix()


def _copy(path: Path, target: Path, limit: int) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as source, target.open("xb") as copy:
        while block := source.read(_BLOCK_BYTES):
            size += len(block)
            if size > limit:
                raise ManifestError(f"{path} is too large: at most {SOURCE_MAX_BYTES:,} bytes are converted")
            digest.update(block)
            copy.write(block)
    return digest.hexdigest(), size
