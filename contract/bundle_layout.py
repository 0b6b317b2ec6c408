"""Where each byte of a bundle stands: the one ZIP layout that is written, and the only one that is read.

PURE. Rules:

1. ``manifest.json`` first, then ``artifacts/<sha256>``, ``provenance.json`` and ``sbom.json`` in ascending order, each
   once; members are stored, plain files, and follow each other without a gap; then the central directory, then its end
   record, then nothing. No extra fields, no comments, no flags, no ZIP64.
2. The end record is judged before anything reads the directory: a hostile file cannot make a reader allocate.
3. Nothing becomes a path: a member's name is only compared.

Names of clauses are those of the ZIP specification (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT).
"""

from __future__ import annotations

import stat
import struct
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from contract.documents import DOCUMENT_MAX_BYTES, PROVENANCE_MEMBER, SBOM_MEMBER
from contract.errors import ManifestError
from contract.identifiers import parse_digest
from contract.manifest import ARTIFACT_MAX_BYTES, MANIFEST_MAX_BYTES, MAX_VARIANTS, Artifact, Manifest

MANIFEST_MEMBER = "manifest.json"
ARTIFACT_FOLDER = "artifacts/"
MAX_MEMBERS = MAX_VARIANTS + 4  # the manifest, one artifact a variant, the golden inputs, two documents
BUNDLE_MAX_BYTES = 2_000_000_000
"""Just below where Python's zipfile begins to write ZIP64 records (2 GiB with five percent in reserve)."""

_END = struct.Struct("<4s4H2LH")  # end of central directory record, 4.3.16
_END_SIGNATURE = b"PK\x05\x06"
_LOCATOR_BYTES = (
    20  # ZIP64 end of central directory locator, 4.3.15; readers look for it before the end record
)
_LOCATOR_SIGNATURE = b"PK\x06\x07"
TAIL_BYTES = _LOCATOR_BYTES + _END.size
_LOCAL_HEADER_BYTES = 30  # 4.3.7, without name and extra field
_DIRECTORY_ENTRY_BYTES = 46  # 4.3.12, without name, extra field and comment
_NAME_MAX_BYTES = len(ARTIFACT_FOLDER) + 64
_DIRECTORY_MAX_BYTES = MAX_MEMBERS * (_DIRECTORY_ENTRY_BYTES + _NAME_MAX_BYTES)
_SHOWN_CHARS = 80
_MEMBER_MAX_BYTES = {
    MANIFEST_MEMBER: MANIFEST_MAX_BYTES,
    PROVENANCE_MEMBER: DOCUMENT_MAX_BYTES,
    SBOM_MEMBER: DOCUMENT_MAX_BYTES,
}


@dataclass(frozen=True)
class End:
    """What the end record says of the central directory: number of members, its size and its place in bytes."""

    members: int
    directory_bytes: int
    directory_offset: int


def named_members(manifest: Manifest) -> dict[str, Artifact]:
    """What stands behind the manifest: member name to file, in the order of the bundle."""
    members = {ARTIFACT_FOLDER + file.sha256: file for file in manifest.artifacts().values()}
    members |= manifest.documents.members() if manifest.documents else {}
    return dict(sorted(members.items()))


def bundle_bytes(members: Iterable[tuple[str, int]]) -> int:
    """Size of the bundle file.

    Args:
        members: Name and size in bytes of each member.
    """
    headers = _LOCAL_HEADER_BYTES + _DIRECTORY_ENTRY_BYTES
    return sum(headers + 2 * len(name) + size for name, size in members) + _END.size


def parse_end(tail: bytes, file_bytes: int) -> End:
    """Read the end record.

    Args:
        tail: The last ``TAIL_BYTES`` of the file, all of it when it is shorter.
        file_bytes: Size of the file.

    Raises:
        ManifestError: No bundle, or one that breaks a bound.
    """
    if file_bytes > BUNDLE_MAX_BYTES:
        raise ManifestError(f"has {file_bytes} bytes, at most {BUNDLE_MAX_BYTES} are read")
    if len(tail) < TAIL_BYTES or tail[_LOCATOR_BYTES:][:4] != _END_SIGNATURE:
        raise ManifestError("does not end as a bundle does: cut off, extended, or something else")
    _, disk, directory_disk, here, members, size, offset, comment_bytes = _END.unpack(tail[_LOCATOR_BYTES:])
    if tail.startswith(_LOCATOR_SIGNATURE):
        raise ManifestError("has ZIP64 records, a bundle has none")
    if disk or directory_disk or here != members or comment_bytes:
        raise ManifestError("its end record tells of several disks or a comment")
    if members > MAX_MEMBERS or size > _DIRECTORY_MAX_BYTES:
        raise ManifestError(
            f"{members} members in a directory of {size} bytes, at most {MAX_MEMBERS} are read"
        )
    if offset + size + _END.size != file_bytes:
        raise ManifestError("its directory is not where the end record says")
    return End(members=members, directory_bytes=size, directory_offset=offset)


def member_faults(members: Sequence[zipfile.ZipInfo], end: End) -> list[str]:
    """List everything in a bundle's directory that breaks the layout; empty when it is sound."""
    if not members or members[0].filename != MANIFEST_MEMBER:
        return [f"the first member is not {MANIFEST_MEMBER}"]
    if len(members) != end.members:
        return [f"{len(members)} members, the end record says {end.members}"]
    faults: list[str] = []
    names = [member.filename for member in members[1:]]
    if names != sorted(set(names)):
        faults.append("members do not stand in ascending order, each once")
    place = 0
    for index, member in enumerate(members):
        faults += _one_member_faults(member, is_manifest=index == 0)
        if member.header_offset != place:
            faults.append(
                f"{member.filename[:_SHOWN_CHARS]!r}: begins at {member.header_offset}, not at {place}"
            )
        place += _LOCAL_HEADER_BYTES + len(member.filename) + member.file_size
    if place != end.directory_offset:
        faults.append(f"members end at {place}, the directory begins at {end.directory_offset}")
    return faults


def _one_member_faults(member: zipfile.ZipInfo, *, is_manifest: bool) -> list[str]:
    shown = repr(member.filename[:_SHOWN_CHARS])
    faults: list[str] = []
    if not is_manifest and not _may_follow(member.filename):
        faults.append(
            f"{shown}: only {ARTIFACT_FOLDER}<sha256>, {PROVENANCE_MEMBER} and {SBOM_MEMBER} may stand here"
        )
    # zipfile cuts a name at a zero byte; the original tells.
    if member.orig_filename != member.filename or member.extra or member.comment:
        faults.append(f"{shown}: has a hidden name, an extra field or a comment")
    limit = _MEMBER_MAX_BYTES.get(member.filename, ARTIFACT_MAX_BYTES)
    if member.file_size > limit:
        faults.append(f"{shown}: {member.file_size} bytes, at most {limit} are read")
    mode = member.external_attr >> 16
    if mode and not stat.S_ISREG(mode):
        faults.append(f"{shown}: not a plain file")
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits:
        faults.append(f"{shown}: compressed, encrypted or streamed, only stored members are read")
    elif member.compress_size != member.file_size:
        faults.append(f"{shown}: two sizes, {member.compress_size} and {member.file_size} bytes")
    return faults


def _may_follow(name: str) -> bool:
    if name in {PROVENANCE_MEMBER, SBOM_MEMBER}:
        return True
    if not name.startswith(ARTIFACT_FOLDER):
        return False
    try:
        parse_digest(name.removeprefix(ARTIFACT_FOLDER))
    except ManifestError:
        return False
    return True
