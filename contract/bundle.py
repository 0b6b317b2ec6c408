"""The one file a packager makes for a profile: deterministic writing, bounded reading.

Guarantees: the same manifest and artifacts give the same bytes, anywhere; reading never allocates more than one
block, never follows a link, never builds a path from a member's name, and refuses anything but
``manifest.json`` followed by exactly the artifacts that the manifest names. Members are stored, not deflated:
zlib's output differs between its implementations, and devices fetch artifacts, not bundles.
Does not verify signatures: those are over the manifest, in the release repository.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from contract.errors import DigestError, ManifestError
from contract.identifiers import parse_digest
from contract.manifest import (
    ARTIFACT_MAX_BYTES,
    MANIFEST_MAX_BYTES,
    MAX_VARIANTS,
    Artifact,
    Manifest,
    check_built,
    parse_manifest,
    serialize_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

MANIFEST_MEMBER = "manifest.json"
ARTIFACT_FOLDER = "artifacts/"
MAX_MEMBERS = MAX_VARIANTS + 2  # the manifest, one artifact a variant, the golden inputs
BUNDLE_MAX_BYTES = 4 << 30
BLOCK_BYTES = 1 << 16
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a ZIP can hold (APPNOTE 4.4.6)


def bundle_name(manifest: Manifest) -> str:
    """File name of a bundle."""
    return f"{manifest.model}-{manifest.version}-{manifest.profile}.bundle"


def digest_of(source: IO[bytes]) -> Artifact:
    """Read a stream to its end and describe it as an artifact."""
    sha256, size = hashlib.sha256(), 0
    while block := source.read(BLOCK_BYTES):
        sha256.update(block)
        size += len(block)
    return Artifact(sha256=sha256.hexdigest(), size_bytes=size)


def write_bundle(folder: Path, manifest: Manifest, files: Mapping[str, Path]) -> Path:
    """Write a bundle; it appears whole or not at all.

    Args:
        folder: Where to; must exist.
        manifest: Complete (``check_built`` passes).
        files: Digest to file, for every artifact the manifest names.

    Returns:
        The bundle's path.

    Raises:
        ManifestError: The manifest is not complete, or an artifact has no file.
        DigestError: A file is not what the manifest says.
    """
    check_built(manifest)
    artifacts = manifest.artifacts()
    missing = sorted(set(artifacts) - set(files))
    if missing:
        raise ManifestError("artifacts without a file", faults=missing)
    path = folder / bundle_name(manifest)
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as raw:
            with zipfile.ZipFile(raw, "w", zipfile.ZIP_STORED) as archive:
                _write_member(archive, MANIFEST_MEMBER, serialize_manifest(manifest))
                for digest in sorted(artifacts):
                    content = files[digest].read_bytes()
                    found = Artifact(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
                    if found != artifacts[digest]:
                        raise DigestError(f"{files[digest].name} is not the artifact {digest}")
                    _write_member(archive, ARTIFACT_FOLDER + digest, content)
            raw.flush()
            os.fsync(raw.fileno())
        Path(draft).chmod(0o644)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return path


def _write_member(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    member = zipfile.ZipInfo(name, date_time=_ZIP_EPOCH)
    member.create_system = 3  # Unix, also when written on Windows
    member.external_attr = (stat.S_IFREG | 0o644) << 16
    archive.writestr(member, content, zipfile.ZIP_STORED)


class BundleReader:
    """Reads a bundle that nobody has checked yet. A context manager; owns the open file.

    Attributes:
        manifest: Parsed, and checked with ``check_built``.
        manifest_bytes: Exactly as stored: what is signed.
    """

    manifest: Manifest
    manifest_bytes: bytes

    def __init__(self, path: Path) -> None:
        """Open and check a bundle.

        Raises:
            ManifestError: No bundle, or one that breaks a bound.
        """
        self._name = path.name
        try:
            self._archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise ManifestError(
                f"{path} is not a bundle: {error}", remedy="give a file that litefleet-packager pack wrote"
            ) from error
        try:
            self._read_structure(path.stat().st_size)
        except BaseException:
            self._archive.close()
            raise

    def _read_structure(self, file_bytes: int) -> None:
        members = self._archive.infolist()
        faults = _member_faults(members, file_bytes)
        if faults:
            raise ManifestError(f"{self._name} is not a usable bundle", faults=faults)
        self.manifest_bytes = b"".join(self._blocks(MANIFEST_MEMBER))
        self.manifest = parse_manifest(self.manifest_bytes)
        check_built(self.manifest)
        named = {ARTIFACT_FOLDER + a.sha256: a.size_bytes for a in self.manifest.artifacts().values()}
        present = {member.filename: member.file_size for member in members[1:]}
        faults = [f"{name}: not in the manifest" for name in sorted(present.keys() - named.keys())]
        faults += [f"{name}: missing" for name in sorted(named.keys() - present.keys())]
        faults += [
            f"{name}: {present[name]} bytes, the manifest says {named[name]}"
            for name in sorted(named.keys() & present.keys())
            if named[name] != present[name]
        ]
        if faults:
            raise ManifestError(f"{self._name} is not a usable bundle", faults=faults)

    def __enter__(self) -> BundleReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._archive.close()

    def _blocks(self, member: str) -> Iterator[bytes]:
        try:
            with self._archive.open(member) as source:
                while block := source.read(BLOCK_BYTES):
                    yield block
        except (
            OSError,
            zipfile.BadZipFile,
            NotImplementedError,
            RuntimeError,
            ValueError,
            EOFError,
        ) as error:
            raise ManifestError(f"{self._name}: {member} is damaged: {error}") from error

    def artifact_blocks(self, digest: str) -> Iterator[bytes]:
        """An artifact's bytes in blocks of at most 64 KiB; check them as a whole before use.

        Raises:
            ManifestError: The manifest does not name it, or the file is damaged there.
            DigestError: After the last block, when the bytes are not those of the digest.
        """
        if digest not in self.manifest.artifacts():
            raise ManifestError(f"{self._name} has no artifact {digest[:80]!r}")
        sha256 = hashlib.sha256()
        for block in self._blocks(ARTIFACT_FOLDER + digest):
            sha256.update(block)
            yield block
        if sha256.hexdigest() != digest:
            raise DigestError(f"{self._name}: artifact {digest} is damaged")

    def read_artifact(self, digest: str) -> bytes:
        """An artifact's bytes, digest checked.

        Raises:
            ManifestError: The manifest does not name it, or the file is damaged there.
            DigestError: The bytes are not those of the digest.
        """
        return b"".join(self.artifact_blocks(digest))


def _member_faults(members: list[zipfile.ZipInfo], file_bytes: int) -> list[str]:
    if not members or members[0].filename != MANIFEST_MEMBER:
        return [f"the first member is not {MANIFEST_MEMBER}"]
    if len(members) > MAX_MEMBERS:
        return [f"{len(members)} members, at most {MAX_MEMBERS} are read"]
    faults: list[str] = []
    if sum(member.file_size for member in members) > min(file_bytes, BUNDLE_MAX_BYTES):
        faults.append("members are larger than the file: stored members cannot be")
    if len({member.filename for member in members}) != len(members):
        faults.append("a member appears twice")
    for index, member in enumerate(members):
        faults += _one_member_faults(member, is_first=index == 0)
    return faults


def _one_member_faults(member: zipfile.ZipInfo, *, is_first: bool) -> list[str]:
    shown = repr(member.filename[:80])
    faults: list[str] = []
    if not is_first:
        folder, name = member.filename[: len(ARTIFACT_FOLDER)], member.filename[len(ARTIFACT_FOLDER) :]
        try:
            parse_digest(name)
        except ManifestError:
            folder = ""
        if folder != ARTIFACT_FOLDER:
            faults.append(f"{shown}: only {ARTIFACT_FOLDER}<sha256> may stand here")
    limit = MANIFEST_MAX_BYTES if is_first else ARTIFACT_MAX_BYTES
    if member.file_size > limit:
        faults.append(f"{shown}: {member.file_size} bytes, at most {limit} are read")
    mode = member.external_attr >> 16
    if mode and not stat.S_ISREG(mode):
        faults.append(f"{shown}: not a plain file")
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 0x1:
        faults.append(f"{shown}: compressed or encrypted, only stored members are read")
    return faults
