"""Artifacts into a slot: taken from another slot where possible, downloaded with resume where not.

Guarantees: ``artifacts/<sha256>`` appears only after every byte was checked, and is on disk; a half-fetched artifact
waits as ``<sha256>.part``, over processes and reboots, and the next try goes on from there; never more bytes are
written than the manifest promises; bytes that turn out wrong are fetched again from zero exactly once. Memory: one
block of 64 KiB.
Does not verify signatures, and does not retry what the network refuses: its caller does, with back-off.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from contract.errors import DigestError, DownloadError, NotFoundError, StorageError
from contract.manifest import Artifact
from edge_agent.files import make_folder, storage_errors, sync_folder
from edge_agent.update.http import BLOCK_BYTES, Answer

logger = logging.getLogger(__name__)

DISK_RESERVE_BYTES = 16 << 20
"""Left free beside the artifacts: room for the agent's own journal, outbox and logs while a slot fills."""
PROGRESS_INTERVAL_S = 0.5
_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_LINK = {
    errno.EXDEV,
    errno.EPERM,
    errno.EMLINK,
    errno.EOPNOTSUPP,
}  # link(2): other disk, or no links there


class Source(Protocol):
    """Where bytes come from: ``edge_agent.update.http.Http``, or a test's double."""

    def get(self, url: str, *, start: int = 0) -> AbstractContextManager[Answer]:
        """Ask for a resource, from a byte on."""
        ...


@dataclass(frozen=True)
class Places:
    """Folders of one fetch; ``parts`` is on the same file system as ``artifacts``."""

    artifacts: Path
    parts: Path
    reuse: Sequence[Path] = ()


class Meter:
    """Counts bytes, and reports now and then.

    Attributes:
        bytes_total: Of all artifacts.
        bytes_downloaded: That came over the network.
    """

    def __init__(self, bytes_total: int, report: Callable[[int, int], None]) -> None:
        """Start at zero.

        Args:
            bytes_total: Of all artifacts.
            report: Told (bytes done, bytes total), at most every half second, and at the end of each artifact.
        """
        self.bytes_total = bytes_total
        self.bytes_downloaded = 0
        self._finished = 0
        self._report = report
        self._last_s = time.monotonic() - PROGRESS_INTERVAL_S

    def at(self, position: int) -> None:
        """The artifact under way has this many bytes."""
        if time.monotonic() - self._last_s >= PROGRESS_INTERVAL_S:
            self._last_s = time.monotonic()
            self._report(self._finished + position, self.bytes_total)

    def finish(self, artifact: Artifact) -> None:
        """An artifact is complete."""
        self._finished += artifact.size_bytes
        self._report(self._finished, self.bytes_total)


def fetch_artifacts(
    artifacts: Sequence[Artifact], server_url: str, places: Places, source: Source, meter: Meter
) -> None:
    """Fill a slot's artifact folder.

    Args:
        artifacts: What must be there.
        server_url: Artifacts are at ``/artifacts/<sha256>`` below it.
        places: Folders; made when missing.
        source: HTTP.
        meter: Told of every byte.

    Raises:
        DigestError: The server's bytes are wrong, also when fetched again; names both digests.
        NotFoundError: The server does not have an artifact.
        DownloadError: Cut off; what came stays for the next try.
        StorageError: The disk is too full, or failing.
    """
    with storage_errors("use the slot"):
        make_folder(places.artifacts)
        make_folder(places.parts)
        missing = [artifact for artifact in artifacts if not _is_there(artifact, places)]
        for artifact in artifacts:
            if artifact not in missing:
                meter.finish(artifact)
        _check_disk(missing, places)
    for artifact in missing:
        _Download(artifact, f"{server_url}/artifacts/{artifact.sha256}", places, source, meter).run()


def _is_there(artifact: Artifact, places: Places) -> bool:
    """Whether the slot has it, or could take it from another slot."""
    place = places.artifacts / artifact.sha256
    if place.is_file() and _is_intact(place, artifact):
        return True
    draft = places.artifacts / f"{artifact.sha256}.reused"
    for folder in places.reuse:
        known = folder / artifact.sha256
        if known.is_symlink() or not known.is_file():
            continue
        draft.unlink(missing_ok=True)
        _link_or_copy(known, draft)
        # Checked after linking: what is checked is what will be used.
        if _is_intact(draft, artifact):
            draft.replace(place)
            sync_folder(place.parent)
            (places.parts / f"{artifact.sha256}.part").unlink(missing_ok=True)
            logger.info("artifact %s taken from %s", artifact.sha256, folder)
            return True
        draft.unlink()
        logger.warning("artifact %s in %s is damaged", artifact.sha256, folder)
    return False


def _is_intact(path: Path, artifact: Artifact) -> bool:
    if path.stat().st_size != artifact.size_bytes:
        return False
    with path.open("rb") as file:
        return _hash(file).hexdigest() == artifact.sha256


def _hash(file: IO[bytes]) -> hashlib._Hash:
    sha256 = hashlib.sha256()
    while block := file.read(BLOCK_BYTES):
        sha256.update(block)
    return sha256


def _link_or_copy(known: Path, draft: Path) -> None:
    try:
        draft.hardlink_to(known)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copyfile(known, draft)
        with draft.open("rb") as file:
            os.fsync(file.fileno())


def _check_disk(missing: Sequence[Artifact], places: Places) -> None:
    needed = sum(artifact.size_bytes for artifact in missing)
    for artifact in missing:
        with contextlib.suppress(FileNotFoundError):
            needed -= min((places.parts / f"{artifact.sha256}.part").stat().st_size, artifact.size_bytes)
    free = shutil.disk_usage(places.parts).free
    if missing and needed + DISK_RESERVE_BYTES > free:
        raise StorageError(
            f"{needed} bytes are to come, and {DISK_RESERVE_BYTES} must stay free, but only {free} are",
            remedy="free some disk space",
        )


@dataclass(frozen=True)
class _Download:
    """One artifact on its way from the server."""

    artifact: Artifact
    url: str
    places: Places
    source: Source
    meter: Meter

    @property
    def _part(self) -> Path:
        return self.places.parts / f"{self.artifact.sha256}.part"

    def run(self) -> None:
        with _disk_failures(self.artifact, self._part):
            found = self._complete()
            if found != self.artifact.sha256:
                # The part may come from another boot or a bad disk: one try that owes nothing to the past.
                logger.warning("artifact %s arrived as %s; once more from zero", self.artifact.sha256, found)
                self._part.unlink()
                found = self._complete()
            if found != self.artifact.sha256:
                self._part.unlink()
                raise DigestError(
                    f"artifact {self.artifact.sha256} arrived twice with other content: {found}",
                    remedy="the file on the server is damaged: publish its bundle again",
                )
            self._part.replace(self.places.artifacts / self.artifact.sha256)
            sync_folder(self.places.artifacts)
        self.meter.finish(self.artifact)

    def _complete(self) -> str:
        """Bring the part to its full size; the digest it then has, or what is wrong with it."""
        self._part.touch(mode=0o600)
        with self._part.open("r+b") as file:
            sha256 = _hash(file)
            have = file.tell()
            if have == self.artifact.size_bytes:
                return sha256.hexdigest()
            if have > self.artifact.size_bytes:
                return f"{have} bytes instead of {self.artifact.size_bytes}"
            try:
                return self._receive(file, sha256, have)
            finally:
                file.flush()
                os.fsync(file.fileno())

    def _receive(self, file: IO[bytes], sha256: hashlib._Hash, have: int) -> str:
        with self.source.get(self.url, start=have) as answer:
            if have and answer.status == 206 and answer.start == have:
                return self._append(file, sha256, have, answer.blocks)
            if answer.status == 200:
                return self._from_zero(file, answer.blocks)
            if not have or answer.status not in {206, 416}:
                raise _refusal(self.url, answer.status)
        # The server has nothing from there on, or something else: ask for the whole.
        with self.source.get(self.url) as answer:
            if answer.status != 200:
                raise _refusal(self.url, answer.status)
            return self._from_zero(file, answer.blocks)

    def _from_zero(self, file: IO[bytes], blocks: Iterator[bytes]) -> str:
        file.seek(0)
        file.truncate()
        return self._append(file, hashlib.sha256(), 0, blocks)

    def _append(self, file: IO[bytes], sha256: hashlib._Hash, have: int, blocks: Iterator[bytes]) -> str:
        for block in blocks:
            self.meter.bytes_downloaded += len(block)
            if have + len(block) > self.artifact.size_bytes:
                return f"more than {self.artifact.size_bytes} bytes"
            file.write(block)
            sha256.update(block)
            have += len(block)
            self.meter.at(have)
        if have < self.artifact.size_bytes:
            raise DownloadError(f"{self.url} ended after {have} of {self.artifact.size_bytes} bytes")
        return sha256.hexdigest()


def _refusal(url: str, status: int) -> NotFoundError | DownloadError:
    if status in {404, 410}:
        return NotFoundError(f"{url} is not on the server", remedy="publish its bundle again")
    return DownloadError(f"{url} was answered with status {status}")


@contextlib.contextmanager
def _disk_failures(artifact: Artifact, part: Path) -> Iterator[None]:
    with storage_errors(f"store artifact {artifact.sha256}"):
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:  # a board with a full disk needs the space more than a resume
                part.unlink(missing_ok=True)
            raise
