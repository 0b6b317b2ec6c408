"""Reads ``.npz`` files of plain arrays that nobody vouches for.

Guarantees: nothing is unpickled; no more memory is taken than the file's own index admits to and ``SET_MAX_BYTES``
allows, because sizes and headers are compared before values are read. Does not know what the arrays are for.
"""

from __future__ import annotations

import hashlib
import io
import math
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from contract.errors import ManifestError
from packager.tasks.arrays import SET_MAX_BYTES
from packager.tasks.task import Array

MAX_ARRAYS = 256
_SUFFIX = ".npy"
_PREFIX_BYTES = (
    16  # magic, version and length of the header (numpy.lib.format, version 1.0: 10 bytes, 2.0: 12)
)
_HEADER_MAX_BYTES = 64 << 10
_VERSIONS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_KINDS = "biuf"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class ArrayFile:
    """A file's arrays by name, and the digest of the file."""

    arrays: dict[str, Array]
    sha256: str


def read_npz(path: Path, purpose: str, max_bytes: int = SET_MAX_BYTES) -> ArrayFile:
    """Read all arrays.

    Args:
        path: The file.
        purpose: ``evaluation`` or ``calibration``, for error texts.
        max_bytes: How much all arrays may take.

    Raises:
        ManifestError: It cannot be read, is no ZIP of arrays of numbers, or is too large.
    """
    what = f"{purpose} file {path.name}"
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            found = {_name(info): _read(archive, info, what) for info in _members(archive, what, max_bytes)}
            file.seek(0)
            return ArrayFile(found, _sha256(file))
    except OSError as error:
        raise ManifestError(f"{what} cannot be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError) as error:
        # zipfile: NotImplementedError for unknown compression, RuntimeError for encrypted members.
        raise ManifestError(
            f"{what} is no .npz that can be read", remedy="write it with numpy.savez, without pickled objects"
        ) from error


def _members(archive: zipfile.ZipFile, what: str, max_bytes: int) -> list[zipfile.ZipInfo]:
    members = archive.infolist()
    if len(members) > MAX_ARRAYS:
        raise ManifestError(f"{what} has {len(members)} arrays, at most {MAX_ARRAYS} are read")
    total = sum(info.file_size for info in members)
    if total > max_bytes:
        raise ManifestError(f"{what} unpacks to {total:,} bytes, at most {max_bytes:,} are read")
    names = [_name(info) for info in members]
    for info, name in zip(members, names, strict=True):
        if not info.filename.endswith(_SUFFIX):
            raise ManifestError(f"{what} holds {info.filename[:80]!r}, which is no array")
        if names.count(name) > 1:
            raise ManifestError(f"{what} holds {name[:80]!r} twice")
    return members


def _name(info: zipfile.ZipInfo) -> str:
    return info.filename.removesuffix(_SUFFIX)


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, what: str) -> Array:
    """One array; its header must promise exactly the bytes that follow it."""
    what = f"{what}: {_name(info)[:80]!r}"
    with archive.open(info) as member:
        shape, is_fortran, dtype, start = _header(member, what)
        if dtype.kind not in _KINDS:
            raise ManifestError(f"{what} holds {dtype}, numbers are needed")
        if min(shape, default=1) < 0 or start + math.prod(shape) * dtype.itemsize != info.file_size:
            raise ManifestError(f"{what} does not have the size that its shape {shape} needs")
        content = member.read()
    if len(content) != math.prod(shape) * dtype.itemsize:
        raise ManifestError(f"{what} ends too early")
    values = np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if is_fortran else "C")
    native: Array = np.ascontiguousarray(values.astype(dtype.newbyteorder("="), copy=False)).reshape(shape)
    return native


def _header(member: IO[bytes], what: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, order, type, and how many bytes the header took."""
    head = member.read(_PREFIX_BYTES)
    try:
        version = np.lib.format.read_magic(io.BytesIO(head))
        reader = _VERSIONS[version]
        width = 2 if version == (1, 0) else 4
        length = int.from_bytes(head[8 : 8 + width], "little")
        if length > _HEADER_MAX_BYTES:
            raise ManifestError(f"{what} has a header of {length} bytes")
        start = 8 + width + length
        head += member.read(max(0, start - len(head)))
        shape, is_fortran, dtype = reader(io.BytesIO(head[8:start]), max_header_size=_HEADER_MAX_BYTES)
    except (ValueError, KeyError, TypeError, SyntaxError, RecursionError, tokenize.TokenError) as error:
        # numpy evaluates the header as a Python literal, and each of these is how that fails.
        raise ManifestError(f"{what} has no header that can be read") from error
    return shape, is_fortran, dtype, start


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()
