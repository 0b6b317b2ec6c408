"""Artifacts by digest: a folder in which a file's name is the sha256 of its content.

Guarantees: an artifact appears whole, with the right digest, on disk, or not at all; nothing larger than
``ARTIFACT_MAX_BYTES`` is taken in; writing needs the memory of one block. Names are digests and nothing else, so
that no request can reach another file.
Does not verify on reading: devices check every byte against the signed manifest, so a file that went bad on this
disk is refused there, and reading stays a plain copy from disk to network. ``verify`` finds such a file, and drops it
so that it can be written again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from contract.bundle import digest_of
from contract.errors import DigestError, NotFoundError, TooLargeError
from contract.identifiers import Digest, parse_digest
from contract.manifest import ARTIFACT_MAX_BYTES
from server.storage.durable import make_folder, storage_errors, sync_folder

logger = logging.getLogger(__name__)

_INCOMING = ".incoming"


class ArtifactStore:
    """A folder of artifacts, sharded by the first two digits of the digest: ``ab/abcdef...``."""

    def __init__(self, folder: Path, *, max_bytes: int = ARTIFACT_MAX_BYTES) -> None:
        """Open the folder, which is made when missing; drop what an earlier process left half-written.

        Args:
            folder: Where artifacts are kept.
            max_bytes: The largest artifact taken in.

        Raises:
            StorageError: The folder cannot be used.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        with storage_errors("the artifact folder cannot be used"):
            make_folder(folder / _INCOMING)
            for draft in (folder / _INCOMING).iterdir():
                draft.unlink(missing_ok=True)

    def path(self, digest: str) -> Path:
        """Where an artifact's bytes are.

        Raises:
            ManifestError: Not a digest.
            NotFoundError: There is no such artifact.
        """
        place = self._place(parse_digest(digest))
        if not place.is_file():
            raise NotFoundError(f"there is no artifact {digest}", remedy="publish a bundle that holds it")
        return place

    def has(self, digest: str) -> bool:
        """Whether an artifact is there."""
        return self.size_bytes(digest) is not None

    def size_bytes(self, digest: str) -> int | None:
        """Size of an artifact; None when it is not there."""
        try:
            return self.path(digest).stat().st_size
        except (NotFoundError, FileNotFoundError):
            return None

    def verify(self, digest: str) -> bool:
        """Whether an artifact is there and its bytes still have its digest; one that has not is removed.

        Raises:
            ManifestError: Not a digest.
            StorageError: It cannot be read or removed.
        """
        place = self._place(parse_digest(digest))
        with storage_errors(f"artifact {digest} could not be verified"):
            if not place.is_file():
                return False
            with place.open("rb") as file:
                found = digest_of(file).sha256
            if found == digest:
                return True
            logger.warning("artifact %s went bad on this disk (now %s) and is removed", digest, found)
            place.unlink(missing_ok=True)
            return False

    def write(self, digest: str, blocks: Iterable[bytes]) -> bool:
        """Take in an artifact.

        Args:
            digest: What its bytes must have.
            blocks: Its bytes in order; read until the end only if they stay within the limit.

        Returns:
            False when it was there already; the blocks are then not read.

        Raises:
            ManifestError: Not a digest.
            DigestError: The bytes have another digest; nothing is kept.
            TooLargeError: More than the limit; nothing is kept.
            StorageError: The disk is full or failing; nothing is kept.
        """
        place = self._place(parse_digest(digest))
        if place.is_file():
            return False
        with storage_errors(f"artifact {digest} could not be stored"):
            handle, name = tempfile.mkstemp(dir=self._folder / _INCOMING)
            draft = Path(name)
            try:
                self._fill(handle, digest, blocks)
                make_folder(place.parent)
                draft.replace(place)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
            sync_folder(place.parent)
        return True

    def _fill(self, handle: int, digest: str, blocks: Iterable[bytes]) -> None:
        sha256, size = hashlib.sha256(), 0
        with os.fdopen(handle, "wb") as file:
            for block in blocks:
                size += len(block)
                if size > self._max_bytes:
                    raise TooLargeError(f"artifact {digest} has more than {self._max_bytes} bytes")
                sha256.update(block)
                file.write(block)
            if sha256.hexdigest() != digest:
                raise DigestError(f"artifact {digest} arrived as {sha256.hexdigest()} ({size} bytes)")
            file.flush()
            os.fsync(file.fileno())

    def _place(self, digest: Digest) -> Path:
        return self._folder / digest[:2] / digest
