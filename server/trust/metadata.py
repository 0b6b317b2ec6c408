"""Signed metadata in memory: the server's only door to TUF.

PURE. Rules:

1. Root and targets count only with the publisher's valid signatures, under the root that is trusted before them
   (TUF specification 5.3.4 and 5.6.3); a first root is trusted by its own signatures.
2. A root must leave snapshot and timestamp to this server's key alone, and root and targets to anybody but it.
3. This server's key signs snapshot and timestamp and nothing else; versions only grow.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Snapshot, T, Targets, Timestamp

from contract.errors import ConfigError, ConflictError, SignatureError, TooLargeError
from server.trust.additions import Target

SNAPSHOT_LIFETIME = timedelta(days=7)
"""How long an unchanged snapshot is valid; the server renews it alone, so short costs nothing, and a week leaves room
for a server that is down over a long weekend."""
TIMESTAMP_LIFETIME = timedelta(days=1)
"""The freeze window: the longest that a stolen channel can hide a new release. A day, as PEP 458
("Metadata Expiry Times") has it for PyPI."""
METADATA_MAX_BYTES = 5_000_000
"""What a TUF client reads of targets metadata at most (tuf.ngclient.UpdaterConfig.targets_max_length)."""


@dataclass(frozen=True)
class TrustedRoot:
    """A verified root with its exact bytes."""

    signed: Root
    content: bytes

    @property
    def version(self) -> int:
        """Its version number."""
        return self.signed.version


@dataclass(frozen=True)
class SignedTargets:
    """Targets metadata with its exact bytes: version, and the targets by path."""

    version: int
    targets: Mapping[str, Target]
    content: bytes


@dataclass(frozen=True)
class SignedFile:
    """Snapshot or timestamp with its exact bytes, and the version of the file that it makes valid."""

    version: int
    expires: datetime
    names_version: int
    content: bytes


class OnlineKey:
    """The server's ed25519 key: signs snapshot and timestamp."""

    def __init__(self, pem: bytes) -> None:
        """Read a private key, PEM PKCS#8.

        Raises:
            ConfigError: It is none.
        """
        try:
            private = load_pem_private_key(pem, None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise ConfigError(
                "the server's online key cannot be read", remedy="bring it back from a backup"
            ) from error
        if not isinstance(private, Ed25519PrivateKey):
            raise ConfigError("the server's online key is not ed25519", remedy="bring it back from a backup")
        self._signer = CryptoSigner(private)

    @staticmethod
    def generate() -> bytes:
        """A new private key, PEM PKCS#8."""
        return CryptoSigner.generate_ed25519().private_bytes

    def public(self) -> dict[str, object]:
        """The public half as TUF writes it, with its ``keyid``."""
        return {"keyid": self._signer.public_key.keyid, **self._signer.public_key.to_dict()}

    def sign_snapshot(self, version: int, targets: SignedTargets, now: datetime) -> SignedFile:
        """Make a snapshot that names these targets."""
        meta = MetaFile.from_data(targets.version, targets.content, ["sha256"])
        snapshot = Snapshot(version=version, expires=now + SNAPSHOT_LIFETIME, meta={"targets.json": meta})
        return SignedFile(version, snapshot.expires, targets.version, self._signed(snapshot))

    def sign_timestamp(self, version: int, snapshot: SignedFile, now: datetime) -> SignedFile:
        """Make a timestamp that names this snapshot."""
        meta = MetaFile.from_data(snapshot.version, snapshot.content, ["sha256"])
        timestamp = Timestamp(version=version, expires=now + TIMESTAMP_LIFETIME, snapshot_meta=meta)
        return SignedFile(version, timestamp.expires, snapshot.version, self._signed(timestamp))

    def root_faults(self, root: Root, now: datetime) -> list[str]:
        """Why a root, whoever signed it, is not one this server can serve."""
        mine = self._signer.public_key
        faults = [
            f"{role}: must be signed by this server's key alone"
            for role in (Snapshot.type, Timestamp.type)
            if root.roles[role].keyids != [mine.keyid] or root.keys.get(mine.keyid) != mine
        ]
        faults += [
            f"{role}: must not be signed by this server's key"
            for role in (Root.type, Targets.type)
            if mine.keyid in root.roles[role].keyids
        ]
        if not root.consistent_snapshot:
            faults.append("consistent_snapshot: must be true")
        if root.is_expired(now):
            faults.append(f"expired at {root.expires.isoformat()}")
        return faults

    def _signed(self, signed: T) -> bytes:
        metadata = Metadata[T](signed)
        metadata.sign(self._signer)
        return metadata.to_bytes()


def verify_root(content: bytes, trusted: TrustedRoot | None, key: OnlineKey, now: datetime) -> TrustedRoot:
    """Accept a root.

    Args:
        content: As it arrived.
        trusted: The root in force; None for the first.
        key: This server's key.
        now: Current time.

    Raises:
        ConflictError: Another root of that version is in force, or the version is not the next.
        SignatureError: Signatures are missing or wrong, or the roles are not what this server needs.
    """
    metadata = _parse(Root, content)
    root = metadata.signed
    if trusted is not None and root.version <= trusted.version:
        raise ConflictError(
            "this server trusts another root already", remedy="publish with the keys it was set up with"
        )
    _check_next(root, 0 if trusted is None else trusted.version)
    with _signature_errors("root"):
        for delegator in (root,) if trusted is None else (trusted.signed, root):
            delegator.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
    faults = key.root_faults(root, now)
    if faults:
        raise SignatureError("the root is not one this server can serve", faults=faults)
    return TrustedRoot(root, content)


def verify_targets(
    content: bytes, root: TrustedRoot, before: SignedTargets | None, now: datetime
) -> SignedTargets:
    """Accept targets metadata; what it may change is decided in ``server.trust.additions``.

    Args:
        content: As it arrived.
        root: The root in force.
        before: The targets in force; None for the first.
        now: Current time.

    Raises:
        SignatureError: Signatures are missing or wrong, it has expired, or it delegates.
        ConflictError: Its version is not the next one.
    """
    metadata = _parse(Targets, content)
    with _signature_errors("targets"):
        root.signed.verify_delegate(Targets.type, metadata.signed_bytes, metadata.signatures)
    targets = metadata.signed
    if targets.is_expired(now):
        raise SignatureError(f"the signed targets expired at {targets.expires.isoformat()}")
    if targets.delegations is not None:
        raise SignatureError("the signed targets delegate to other keys, which this version does not serve")
    _check_next(targets, 0 if before is None else before.version)
    return load_targets(content)


def load_root(content: bytes) -> TrustedRoot:
    """Read a root that was verified before."""
    return TrustedRoot(_parse(Root, content).signed, content)


def load_targets(content: bytes) -> SignedTargets:
    """Read targets metadata that was verified before."""
    targets = _parse(Targets, content).signed
    found = {
        path: Target(length=file.length, hashes=file.hashes, extra=bool(file.unrecognized_fields))
        for path, file in targets.targets.items()
    }
    return SignedTargets(targets.version, found, content)


def load_snapshot(content: bytes) -> SignedFile:
    """Read a snapshot that this server signed."""
    snapshot = _parse(Snapshot, content).signed
    return SignedFile(snapshot.version, snapshot.expires, snapshot.meta["targets.json"].version, content)


def load_timestamp(content: bytes) -> SignedFile:
    """Read a timestamp that this server signed."""
    timestamp = _parse(Timestamp, content).signed
    return SignedFile(timestamp.version, timestamp.expires, timestamp.snapshot_meta.version, content)


def _parse(kind: type[T], content: bytes) -> Metadata[T]:
    if len(content) > METADATA_MAX_BYTES:
        raise TooLargeError(
            f"{kind.type} metadata has {len(content)} bytes, at most {METADATA_MAX_BYTES} are read"
        )
    with _signature_errors(kind.type):
        metadata: Metadata[T] = Metadata.from_bytes(content)
    if not isinstance(metadata.signed, kind):
        raise SignatureError(f"expected {kind.type} metadata, got {metadata.signed.type}")
    return metadata


def _check_next(signed: Signed, before: int) -> None:
    if signed.version != before + 1:
        raise ConflictError(
            f"{signed.type} version {signed.version} cannot follow {before}",
            remedy="somebody published at the same time: publish again",
        )


@contextlib.contextmanager
def _signature_errors(what: str) -> Iterator[None]:
    try:
        yield
    except RepositoryError as error:
        raise SignatureError(f"{what} metadata does not verify: {error}") from error
