"""Reads the metadata of a model file that nobody vouches for.

Guarantees: every offset is checked before it is followed, every list and text has a limit, so whatever the bytes are,
reading ends soon with what is there or with ``ManifestError``. Nothing that is shown to people can move a terminal's
cursor. Numbers of fields are those of the schemas (``packager.metadata.encode``, schema.fbs of TFLite); only what
people want to see is read.
"""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import dataclass

from contract.errors import ManifestError

_ENTRY = b"TFLITE_METADATA"
_MOST = 4096  # entries of a vector; a model has some hundred buffers and at most 64 inputs
_TEXT_MOST_BYTES = 4096
_MODEL_BUFFERS, _MODEL_METADATA = 4, 6
_FILES_MOST = 64


@dataclass(frozen=True)
class Told:
    """What a model file says of itself.

    Attributes:
        name: Of the model.
        version: Of the model.
        text: For people.
        inputs: Names that libraries know the inputs by.
        outputs: Names that libraries know the outputs by.
        files: Names of appended files.
        size_bytes: Of the metadata, without appended files.
    """

    name: str
    version: str
    text: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    files: tuple[str, ...]
    size_bytes: int


def read_card(content: bytes) -> Told | None:
    """What a model file says of itself; None when it has no metadata.

    Args:
        content: A .tflite file; need not be sound.

    Raises:
        ManifestError: It, or its metadata, leads out of the file.
    """
    try:
        card = _find(content)
        return None if card is None else _read(card, content)
    except (struct.error, IndexError) as error:
        raise ManifestError(f"the metadata of a model file is damaged: {error}") from error


def _find(content: bytes) -> bytes | None:
    model = _root(content)
    buffers = model.vector(_MODEL_BUFFERS)
    for entry in model.tables(_MODEL_METADATA):
        if entry.raw(0) == _ENTRY:
            return _Table(content, buffers.target(entry.number(1))).raw(0, _MOST * 1024)
    return None


def _read(card: bytes, content: bytes) -> Told:
    root = _root(card)
    graphs = root.tables(3)
    inputs, outputs = (graphs[0].tables(2), graphs[0].tables(3)) if graphs else ([], [])
    return Told(
        name=root.text(0),
        version=root.text(2),
        text=root.text(1),
        inputs=tuple(tensor.text(0) for tensor in inputs),
        outputs=tuple(tensor.text(0) for tensor in outputs),
        files=_files(content),
        size_bytes=len(card),
    )


def _files(content: bytes) -> tuple[str, ...]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return tuple(_shown(name) for name in archive.namelist()[:_FILES_MOST])
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, EOFError):
        return ()


def _shown(text: str) -> str:
    """Nothing that moves a terminal's cursor."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


def _root(content: bytes) -> _Table:
    return _Table(content, _unsigned(content, 0))


def _unsigned(content: bytes, place: int) -> int:
    if place < 0:
        raise IndexError(f"place {place}")
    number: int = struct.unpack_from("<I", content, place)[0]
    return number


class _Table:
    """A table of a flatbuffer (https://flatbuffers.dev/internals/)."""

    def __init__(self, content: bytes, place: int) -> None:
        self._content = content
        self._place = place
        _unsigned(content, place)
        self._fields = place - struct.unpack_from("<i", content, place)[0]
        self._size = _unsigned(content, self._fields) & 0xFFFF

    def _field(self, slot: int) -> int | None:
        at = 4 + 2 * slot
        if at + 2 > self._size:
            return None
        (offset,) = struct.unpack_from("<H", self._content, self._fields + at)
        return self._place + offset if offset else None

    def number(self, slot: int) -> int:
        place = self._field(slot)
        return 0 if place is None else _unsigned(self._content, place)

    def raw(self, slot: int, most: int = _TEXT_MOST_BYTES) -> bytes:
        place = self._field(slot)
        if place is None:
            return b""
        place += _unsigned(self._content, place)
        size = _unsigned(self._content, place)
        if size > most or place + 4 + size > len(self._content):
            raise IndexError(f"{size} bytes at {place}")
        return self._content[place + 4 : place + 4 + size]

    def text(self, slot: int) -> str:
        return _shown(self.raw(slot).decode("utf-8", errors="replace"))

    def vector(self, slot: int) -> _Vector:
        place = self._field(slot)
        return _Vector(self._content, None if place is None else place + _unsigned(self._content, place))

    def tables(self, slot: int) -> list[_Table]:
        found = self.vector(slot)
        if found.length > _MOST:
            raise IndexError(f"a list of {found.length}")
        return [_Table(self._content, found.target(index)) for index in range(found.length)]


class _Vector:
    """A vector of tables; ``place`` is that of its length, None for none."""

    def __init__(self, content: bytes, place: int | None) -> None:
        self._content = content
        self._first = 0 if place is None else place + 4
        self.length = 0 if place is None else _unsigned(content, place)

    def target(self, index: int) -> int:
        if not 0 <= index < self.length:
            raise IndexError(f"entry {index} of {self.length}")
        place = self._first + 4 * index
        return place + _unsigned(self._content, place)
