"""The one file a packager makes for a profile: deterministic writing, bounded reading.

Guarantees: the same manifest and artifacts give the same bytes, anywhere; reading never allocates more than one
block, never follows a link, never builds a path from a member's name, and refuses anything but
``manifest.json`` followed by exactly the artifacts and documents that the manifest names. Members are stored, not
deflated: zlib's output differs between its implementations, and devices fetch artifacts, not bundles.
Does not verify signatures: those are over the manifest, in the release repository.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from contract.bundle_layout import (
    ARTIFACT_FOLDER,
    BUNDLE_MAX_BYTES,
    MANIFEST_MEMBER,
    TAIL_BYTES,
    bundle_bytes,
    member_faults,
    named_members,
    parse_end,
)
from contract.digest import BLOCK_BYTES, digest_of
from contract.errors import DigestError, ManifestError, StorageError
from contract.manifest import Artifact, Manifest, check_built, parse_manifest, serialize_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

__all__ = ["BLOCK_BYTES", "BundleReader", "bundle_name", "digest_of", "write_bundle"]

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a ZIP can hold (APPNOTE 4.4.6)


def bundle_name(manifest: Manifest) -> str:
    """File name of a bundle."""
    return f"{manifest.model}-{manifest.version}-{manifest.profile}.bundle"


def write_bundle(folder: Path, manifest: Manifest, files: Mapping[str, Path]) -> Path:
    """Write a bundle; it appears whole or not at all.

    Args:
        folder: Where to; must exist.
        manifest: Complete (``check_built`` passes).
        files: Digest to file, for every artifact and document the manifest names.

    Returns:
        The bundle's path.

    Raises:
        ManifestError: The manifest is not complete, something it names has no file, or they are too large together.
        DigestError: A file is not what the manifest says.
        StorageError: A file cannot be read, or the bundle not be written.
    """
    check_built(manifest)
    members = named_members(manifest)
    missing = sorted({file.sha256 for file in members.values()} - set(files))
    if missing:
        raise ManifestError("artifacts without a file", faults=missing)
    content = serialize_manifest(manifest)
    sizes = [(name, file.size_bytes) for name, file in members.items()]
    size = bundle_bytes([(MANIFEST_MEMBER, len(content)), *sizes])
    if size > BUNDLE_MAX_BYTES:
        raise ManifestError(f"the bundle would have {size} bytes, at most {BUNDLE_MAX_BYTES} are possible")
    path = folder / bundle_name(manifest)
    try:
        _write_whole(path, content, {name: (file, files[file.sha256]) for name, file in members.items()})
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error}", remedy="see to the folder and its space"
        ) from error
    return path


def _write_whole(path: Path, manifest: bytes, files: Mapping[str, tuple[Artifact, Path]]) -> None:
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as raw:
            with zipfile.ZipFile(raw, "w", zipfile.ZIP_STORED) as archive:
                archive.writestr(_member(MANIFEST_MEMBER), manifest)
                for name, (artifact, file) in files.items():
                    _copy(archive, name, artifact, file)
            raw.flush()
            os.fsync(raw.fileno())
        Path(draft).chmod(0o644)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _copy(archive: zipfile.ZipFile, name: str, artifact: Artifact, file: Path) -> None:
    sha256, size = hashlib.sha256(), 0
    with file.open("rb") as source, archive.open(_member(name), "w") as member:
        while size <= artifact.size_bytes and (block := source.read(BLOCK_BYTES)):
            sha256.update(block)
            size += len(block)
            member.write(block)
    if Artifact(sha256=sha256.hexdigest(), size_bytes=size) != artifact:
        raise DigestError(f"{file.name} is not the artifact {artifact.sha256}")


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name, date_time=_ZIP_EPOCH)
    member.create_system = 3  # Unix, also when written on Windows
    member.external_attr = (stat.S_IFREG | 0o644) << 16
    return member


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
            self._file = path.open("rb")
        except OSError as error:
            raise ManifestError(f"{path} cannot be read: {error.strerror}") from error
        try:
            self._open(path)
            self._read_structure()
        except BaseException:
            self._file.close()
            raise

    def _open(self, path: Path) -> None:
        try:
            file_bytes = self._file.seek(0, os.SEEK_END)
            self._file.seek(max(0, file_bytes - TAIL_BYTES))
            self._end = parse_end(self._file.read(TAIL_BYTES), file_bytes)
            self._archive = zipfile.ZipFile(self._file)
        except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError, ManifestError) as error:
            raise ManifestError(
                f"{path} is not a bundle: {error}", remedy="give a file that litefleet-packager pack wrote"
            ) from error

    def _read_structure(self) -> None:
        members = self._archive.infolist()
        faults = member_faults(members, self._end)
        if faults:
            raise ManifestError(f"{self._name} is not a usable bundle", faults=faults)
        self.manifest_bytes = b"".join(self._blocks(MANIFEST_MEMBER))
        self.manifest = parse_manifest(self.manifest_bytes)
        check_built(self.manifest)
        named = {name: file.size_bytes for name, file in named_members(self.manifest).items()}
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
        self._file.close()

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
        yield from self._checked_blocks(ARTIFACT_FOLDER + digest, digest)

    def _checked_blocks(self, member: str, digest: str) -> Iterator[bytes]:
        sha256 = hashlib.sha256()
        for block in self._blocks(member):
            sha256.update(block)
            yield block
        if sha256.hexdigest() != digest:
            raise DigestError(f"{self._name}: {member} is damaged")

    def read_artifact(self, digest: str) -> bytes:
        """An artifact's bytes, digest checked.

        Raises:
            ManifestError: The manifest does not name it, or the file is damaged there.
            DigestError: The bytes are not those of the digest.
        """
        return b"".join(self.artifact_blocks(digest))

    def read_document(self, member: str) -> bytes | None:
        """A document's bytes, digest checked; None when the bundle has none.

        Args:
            member: ``sbom.json`` or ``provenance.json``.

        Raises:
            ManifestError: The file is damaged there.
            DigestError: The bytes are not those that the manifest names.
        """
        documents = self.manifest.documents
        if documents is None:
            return None
        return b"".join(self._checked_blocks(member, documents.members()[member].sha256))
