"""Signed metadata on the device: the agent's only door to TUF.

Guarantees: a manifest is returned only when the publisher's targets key signed its length and digest, under the
pinned root or a root that the pinned one's keys signed, and when timestamp and snapshot are neither expired nor
older than anything this device has accepted before. What has been accepted is on disk afterwards (python-tuf writes
without fsync; here the folder is synced), so a power cut does not reopen the way back.

Time: boards without a battery start in the past, where old metadata does not look expired. ``time_floor`` in the trust
folder keeps the latest time at which a timestamp was found valid; metadata is judged by the latest of clock, floor and
what the caller knows. The floor cannot run away: it only follows a clock at which fresh metadata was still valid.

Does not fetch artifacts, and does not read what the manifest says.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from tuf.api import exceptions as tuf_errors
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from contract.errors import (
    DigestError,
    DownloadError,
    LitefleetError,
    NotFoundError,
    RollbackAttackError,
    SignatureError,
    StorageError,
    TooLargeError,
)
from contract.manifest import MANIFEST_MAX_BYTES
from edge_agent.files import make_folder, read_bounded, storage_errors, sync_folder, write_durably

logger = logging.getLogger(__name__)

ROOT_MAX_BYTES = 512_000
"""What a TUF client reads of a root at most (tuf.ngclient.UpdaterConfig.root_max_length)."""
_FLOOR_FILE = "time_floor"
_FLOOR_MAX_BYTES = 64
_MANIFEST_FILE = "manifest.json"


Fetch = Callable[[str], Iterator[bytes]]
"""Gets a URL: the body's blocks. Raises NotFoundError when the server has no such thing, DownloadError for the rest."""


@dataclass(frozen=True)
class Repository:
    """Where signed metadata comes from, and what is trusted.

    Attributes:
        url: The server's.
        root_path: The pinned root.
        trust_dir: What this device has accepted; made when missing.
        time_floor: A time that has surely passed; None when nothing is known.
    """

    url: str
    root_path: Path
    trust_dir: Path
    time_floor: datetime | None = None


def fetch_manifest(repository: Repository, target_path: str, fetch: Fetch, now: datetime) -> bytes:
    """Bring the trusted metadata up to date and get one manifest.

    Args:
        repository: Where from.
        target_path: ``<model>/<version>/<profile>/manifest.json``, of checked identifiers.
        fetch: HTTP.
        now: This board's clock, UTC.

    Returns:
        The manifest's bytes, as signed.

    Raises:
        SignatureError: Metadata does not verify.
        RollbackAttackError: Metadata has expired, or is older than what was accepted.
        DigestError: The manifest is not the one that was signed.
        NotFoundError: There is no such release.
        DownloadError: The server cannot be reached now.
        StorageError: The trust folder cannot be written, or the pinned root not be read.
    """
    root = read_bounded(repository.root_path, ROOT_MAX_BYTES)
    if root is None:
        raise StorageError(
            f"the pinned root {repository.root_path} is missing", remedy="add the device to the server again"
        )
    make_folder(repository.trust_dir)
    reference = max(now, load_time_floor(repository.trust_dir), repository.time_floor or now)
    with _tuf_failures(reference), storage_errors("keep signed metadata"):
        updater = Updater(
            metadata_dir=str(repository.trust_dir),
            metadata_base_url=f"{repository.url}/tuf/metadata/",
            target_base_url=f"{repository.url}/tuf/targets/",
            fetcher=_Fetcher(fetch),
            bootstrap=root,
        )
        # ngclient takes the wall clock and offers no other way to give it a better one.
        updater._trusted_set.reference_time = reference  # noqa: SLF001
        updater.refresh()
        _make_durable(repository.trust_dir)
        write_durably(repository.trust_dir / _FLOOR_FILE, f"{reference.timestamp():.0f}\n".encode())
        return _fetch_target(updater, target_path, repository.trust_dir / _MANIFEST_FILE)


def load_time_floor(trust_dir: Path) -> datetime:
    """The latest time known to have passed; 1970 when there is none or it cannot be understood."""
    content = read_bounded(trust_dir / _FLOOR_FILE, _FLOOR_MAX_BYTES) or b"0"
    try:
        return datetime.fromtimestamp(int(content), timezone.utc)
    except (ValueError, OverflowError, OSError):
        logger.warning("the time floor in %s is damaged and starts again", trust_dir)
        return datetime.fromtimestamp(0, timezone.utc)


def _fetch_target(updater: Updater, target_path: str, place: Path) -> bytes:
    target = updater.get_targetinfo(target_path)
    if target is None:
        raise NotFoundError(f"nobody signed {target_path}", remedy="publish the release for this profile")
    if target.length > MANIFEST_MAX_BYTES:
        raise TooLargeError(f"{target_path} has {target.length} bytes, at most {MANIFEST_MAX_BYTES} are read")
    try:
        updater.download_target(target, str(place))
        return place.read_bytes()
    except tuf_errors.LengthOrHashMismatchError as error:
        raise DigestError(f"{target_path} is not what was signed: {error}") from error
    finally:
        place.unlink(missing_ok=True)


def _make_durable(trust_dir: Path) -> None:
    for folder in (trust_dir / "root_history", trust_dir):
        for path in folder.iterdir():
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        sync_folder(folder)


class _Fetcher(FetcherInterface):
    """Lets ngclient use our HTTP."""

    def __init__(self, fetch: Fetch) -> None:
        self._get = fetch

    def _fetch(self, url: str) -> Iterator[bytes]:
        # The first block is fetched here: ngclient looks for the end of the roots by a 404 of this call.
        try:
            blocks = self._get(url)
            first = next(blocks, b"")
        except NotFoundError as error:
            raise tuf_errors.DownloadHTTPError(str(error), 404) from error
        return itertools.chain([first], blocks)


@contextlib.contextmanager
def _tuf_failures(reference: datetime) -> Iterator[None]:
    try:
        yield
    except tuf_errors.DownloadError as error:
        if isinstance(error.__cause__, LitefleetError):
            raise error.__cause__ from error
        raise DownloadError(f"signed metadata cannot be fetched: {error}") from error
    except tuf_errors.ExpiredMetadataError as error:
        raise RollbackAttackError(
            f"{error} at {reference.isoformat(timespec='seconds')}",
            remedy="is the server running, and this board's clock right?",
        ) from error
    except tuf_errors.BadVersionNumberError as error:
        raise RollbackAttackError(f"metadata is older than what was accepted before: {error}") from error
    except tuf_errors.RepositoryError as error:
        raise SignatureError(f"signed metadata does not verify: {error}") from error
