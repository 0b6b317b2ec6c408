"""Builds bundles that nobody should read: by zipfile for what it can say, by bytes for the rest."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")


@dataclass(frozen=True)
class Member:
    """One member as the two headers tell of it; every field may lie.

    Attributes:
        name: In the central directory.
        content: Stored bytes.
        local_name: In the local header; None for the same.
        method: Compression method; 0 is stored.
        flags: General purpose flags.
        mode: Unix mode.
        size: Uncompressed size; None for the truth.
        stored: Compressed size; None for the truth.
        crc: None for the truth.
        extra: Extra field of the central directory.
        local_extra: Extra field of the local header.
        comment: Of the central directory.
        gap: Bytes that no header tells of, before the local header.
        offset: Of the local header; None for the truth.
    """

    name: bytes
    content: bytes = b""
    local_name: bytes | None = None
    method: int = 0
    flags: int = 0
    mode: int = 0o100644
    size: int | None = None
    stored: int | None = None
    crc: int | None = None
    extra: bytes = b""
    local_extra: bytes = b""
    comment: bytes = b""
    gap: bytes = b""
    offset: int | None = None


def members_of(path: Path) -> list[Member]:
    """The members of a sound bundle."""
    with zipfile.ZipFile(path) as archive:
        return [Member(info.filename.encode(), archive.read(info)) for info in archive.infolist()]


def changed(members: Sequence[Member], index: int, **changes: object) -> list[Member]:
    """The members with one of them lying."""
    result = list(members)
    result[index] = replace(result[index], **changes)  # type: ignore[arg-type]
    return result


def zip_bytes(members: Sequence[Member], *, before_end: bytes = b"", **end: int) -> bytes:
    """A ZIP file of these members, with the same bytes that zipfile writes when nothing lies.

    Args:
        members: In order.
        before_end: Bytes between the central directory and the end record, counted to the directory.
        end: Fields of the end record that lie: ``disk``, ``count``, ``size``, ``offset``, ``comment``.
    """
    body, directory = b"", b""
    for member in members:
        body += member.gap
        name = member.name if member.local_name is None else member.local_name
        crc = zlib.crc32(member.content) if member.crc is None else member.crc
        stored = len(member.content) if member.stored is None else member.stored
        size = len(member.content) if member.size is None else member.size
        shared = (member.flags, member.method, 0, 33, crc, stored, size)
        offset = len(body) if member.offset is None else member.offset
        head = CENTRAL.pack(
            b"PK\x01\x02",
            20 | 3 << 8,
            20,
            *shared,
            len(member.name),
            len(member.extra),
            len(member.comment),
            0,
            0,
            member.mode << 16,
            offset,
        )
        directory += head + member.name + member.extra + member.comment
        body += LOCAL.pack(b"PK\x03\x04", 20, *shared, len(name), len(member.local_extra))
        body += name + member.local_extra + member.content
    directory += before_end
    count = end.get("count", len(members))
    record = END.pack(
        b"PK\x05\x06",
        end.get("disk", 0),
        0,
        count,
        count,
        end.get("size", len(directory)),
        end.get("offset", len(body)),
        end.get("comment", 0),
    )
    return body + directory + record
