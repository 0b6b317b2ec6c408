"""What a publisher signs and verifies: the packager's only door to TUF.

Guarantees: nothing counts that did not verify under the root pinned in the keys folder. What a signature cannot tell,
old from new, is kept by ``packager.memory``.

Expiry is not what protects a publisher (the server holds the keys of timestamp and snapshot; the memory of the last
signature is stronger), and it is the publisher who must renew what expires. So its own root and targets are judged at
a time before their expiry, or an expired one could never be renewed; timestamp and snapshot at the real time.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import Key, Metadata, Root, Snapshot, T, TargetFile, Targets, Timestamp
from tuf.ngclient import Updater
from tuf.ngclient.fetcher import FetcherInterface

from contract.errors import (
    ConflictError,
    LitefleetError,
    NotFoundError,
    RollbackAttackError,
    ServerUnavailableError,
    SignatureError,
)
from packager.durable import storage_errors
from packager.keys import KeySet

ROOT_THRESHOLD = 1
"""How many root keys must sign; one, because ``keys init`` makes one. Raise it together with the number of keys."""
ROOT_LIFETIME = timedelta(days=365)
"""A year, as PEP 458 ("Metadata Expiry Times") has it for PyPI: renewing takes the publisher's keys."""
TARGETS_LIFETIME = timedelta(days=365)
"""A year, from the same source: so long a fleet goes on updating without a new release; each one starts it again."""
RENEW_BEFORE = timedelta(days=90)
"""What is left when ``publish`` renews; a quarter, so that who publishes a few times a year never comes too late."""


Fetch = Callable[[str], Iterator[bytes]]
"""Gets a URL: the body's blocks. Raises NotFoundError when the server has no such thing, ServerUnavailableError when
it cannot be reached."""


@dataclass(frozen=True)
class Repository:
    """A server's URL, and the folder that keeps what was seen of it."""

    server: str
    cache: Path


@dataclass(frozen=True)
class Signed:
    """Root or targets as signed.

    Attributes:
        content: Exact bytes.
        version: Version number.
        expires: UTC.
        digests: Targets only: target path to the manifest's sha256.
    """

    content: bytes
    version: int
    expires: datetime
    digests: Mapping[str, str]


def sign_first_root(
    keys: KeySet, online_key: Mapping[str, object], now: datetime, *, threshold: int = ROOT_THRESHOLD
) -> Signed:
    """Make the root of a new repository.

    Args:
        keys: The publisher's.
        online_key: The server's public key, as the server gives it.
        now: Current time.
        threshold: How many root keys must sign.

    Raises:
        SignatureError: The online key is none, or claims the identity of one of the publisher's keys.
    """
    online = _parse_key(online_key)
    own = [signer.public_key for signer in (*keys.root, *keys.targets)]
    if any(online.keyid == key.keyid or online.keyval == key.keyval for key in own):
        raise SignatureError("the server presents one of the publisher's keys as its own")
    root = Root(version=1, expires=now + ROOT_LIFETIME, consistent_snapshot=True)
    for signer in keys.root:
        root.add_key(signer.public_key, Root.type)
    for signer in keys.targets:
        root.add_key(signer.public_key, Targets.type)
    for role in (Snapshot.type, Timestamp.type):
        root.add_key(online, role)
    root.roles[Root.type].threshold = threshold
    return _sign_root(root, keys)


def sign_next_root(before: Signed, keys: KeySet, now: datetime) -> Signed:
    """The same root with the next version and a new expiry."""
    root = _parse(Root, before.content).signed
    root.version += 1
    root.expires = now + ROOT_LIFETIME
    return _sign_root(root, keys)


def sign_first_targets(keys: KeySet, now: datetime) -> Signed:
    """Targets of a repository without releases."""
    return _sign_targets(Targets(version=1, expires=now + TARGETS_LIFETIME), keys)


def sign_next_targets(before: Signed, manifests: Mapping[str, bytes], keys: KeySet, now: datetime) -> Signed:
    """Everything that is published, plus these manifests (by target path), under the next version."""
    targets = _parse(Targets, before.content).signed
    targets.version += 1
    targets.expires = now + TARGETS_LIFETIME
    for path, content in manifests.items():
        targets.targets[path] = TargetFile.from_data(path, content, ["sha256"])
    return _sign_targets(targets, keys)


def read_root(content: bytes) -> Signed:
    """Read a root; does not verify it."""
    root = _parse(Root, content).signed
    return Signed(content, root.version, root.expires, {})


def read_targets(content: bytes) -> Signed:
    """Read targets; does not verify them."""
    targets = _parse(Targets, content).signed
    digests = {path: target.hashes.get("sha256", "") for path, target in targets.targets.items()}
    return Signed(content, targets.version, targets.expires, digests)


def check_own_root(content: bytes, keys: KeySet) -> Signed:
    """Accept a root that these keys signed: on another machine, or just before an interruption.

    Raises:
        ConflictError: Another publisher's keys are in it.
        SignatureError: It does not verify.
    """
    metadata = _parse(Root, content)
    root = metadata.signed
    for role, signers in ((Root.type, keys.root), (Targets.type, keys.targets)):
        own = {signer.public_key.keyid: signer.public_key for signer in signers}
        if {keyid: root.keys.get(keyid) for keyid in root.roles[role].keyids} != own:
            raise ConflictError(
                f"this server trusts another publisher's {role} key",
                remedy="publish with the keys that this server was set up with (--keys)",
            )
    with _tuf_failures():
        root.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
    return read_root(content)


def fetch_trusted(
    repository: Repository, root: Signed, last: Signed | None, fetch: Fetch, now: datetime
) -> tuple[Signed, Signed]:
    """Fetch and verify what the server has.

    Args:
        repository: Where from, and what was seen of it before.
        root: The pinned root.
        last: The targets signed last, if known.
        fetch: HTTP.
        now: Current time.

    Returns:
        Root and targets in force.

    Raises:
        SignatureError: It does not verify under the pinned root.
        RollbackAttackError: It has expired, or is older than what was seen before.
        ServerUnavailableError: The server cannot be reached.
        StorageError: The cache cannot be written.
    """
    own = [signed.expires - timedelta(seconds=1) for signed in (root, last) if signed is not None]
    with _tuf_failures(), storage_errors("keep the server's metadata"):
        repository.cache.mkdir(mode=0o700, exist_ok=True)
        updater = Updater(
            metadata_dir=str(repository.cache),
            metadata_base_url=f"{repository.server}/tuf/metadata/",
            fetcher=_Fetcher(fetch),
            bootstrap=root.content,
        )
        # ngclient takes the wall clock and offers no other way; see the module's text on expiry.
        updater._trusted_set.reference_time = min(now, *own)  # noqa: SLF001
        updater.refresh()
        newest = (repository.cache / "root.json").read_bytes()
        targets = (repository.cache / "targets.json").read_bytes()
    return read_root(newest), read_targets(targets)


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


def _sign_root(root: Root, keys: KeySet) -> Signed:
    metadata = Metadata[Root](root)
    for signer in keys.root:
        metadata.sign(signer, append=True)
    return read_root(metadata.to_bytes())


def _sign_targets(targets: Targets, keys: KeySet) -> Signed:
    metadata = Metadata[Targets](targets)
    for signer in keys.targets:
        metadata.sign(signer, append=True)
    return read_targets(metadata.to_bytes())


def _parse(kind: type[T], content: bytes) -> Metadata[T]:
    with _tuf_failures():
        metadata: Metadata[T] = Metadata.from_bytes(content)
    if not isinstance(metadata.signed, kind):
        raise SignatureError(f"expected {kind.type} metadata, got {metadata.signed.type}")
    return metadata


def _parse_key(raw: Mapping[str, object]) -> Key:
    fields = dict(raw)
    try:
        return Key.from_dict(str(fields.pop("keyid")), fields)
    except (KeyError, TypeError, ValueError) as error:
        raise SignatureError(f"the server's key cannot be understood: {error}") from error


@contextlib.contextmanager
def _tuf_failures() -> Iterator[None]:
    try:
        yield
    except tuf_errors.DownloadError as error:
        if isinstance(error.__cause__, LitefleetError):
            raise error.__cause__ from error
        raise ServerUnavailableError(f"signed metadata cannot be fetched: {error}") from error
    except (tuf_errors.ExpiredMetadataError, tuf_errors.BadVersionNumberError) as error:
        raise RollbackAttackError(
            f"the server's metadata is expired or too old: {error}",
            remedy="is the server running, and is the clock right on both machines?",
        ) from error
    except tuf_errors.RepositoryError as error:
        raise SignatureError(
            f"the server's metadata does not verify under the pinned root: {error}",
            remedy="one keys folder belongs to one server: name the other server's folder with --keys",
        ) from error
