"""The TUF repository on disk, as devices read it under ``/tuf/``.

Guarantees:

* Files are written durably in the order manifests, targets, snapshot, timestamp, and the timestamp is the commit:
  whatever ends the process before it leaves the old state, which devices go on reading, and the next call works.
* No file that a timestamp ever made valid is changed (consistent snapshots, TUF specification 6.2).
* Names from outside become paths only after they went through ``contract.identifiers``.

Does not verify or sign by itself (``server.trust.metadata``), does not decide what new targets may change
(``server.trust.additions``), and knows neither artifacts nor the database.
Layout: ``metadata/{N.root,N.targets,N.snapshot,timestamp}.json`` and
``targets/<model>/<version>/<profile>/<sha256>.manifest.json``.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from contract.errors import ConfigError, ConflictError, NotFoundError, SignatureError, StorageError
from contract.identifiers import parse_digest, parse_model, parse_profile_id, parse_version
from server.storage.durable import make_folder, storage_errors, sync_folder, write_durably
from server.trust.additions import Target, check_additions
from server.trust.metadata import (
    SNAPSHOT_LIFETIME,
    TIMESTAMP_LIFETIME,
    OnlineKey,
    SignedFile,
    SignedTargets,
    TrustedRoot,
    load_root,
    load_snapshot,
    load_targets,
    load_timestamp,
    verify_root,
    verify_targets,
)

logger = logging.getLogger(__name__)

_METADATA_NAME = re.compile(r"timestamp\.json|[1-9][0-9]{0,8}\.(?:root|snapshot|targets)\.json")
_SUFFIX = ".manifest.json"
_COMMIT = "timestamp.json"


@dataclass(frozen=True)
class _State:
    """What the timestamp on disk makes valid."""

    root: TrustedRoot
    timestamp: SignedFile
    snapshot: SignedFile
    targets: SignedTargets


class TufRepository:
    """The metadata and manifests that devices read.

    Attributes:
        lock: Held while writing; hold it to make several steps one. Re-entrant.
    """

    def __init__(
        self,
        folder: Path,
        online_key_path: Path,
        *,
        write: Callable[[Path, bytes], None] = write_durably,
    ) -> None:
        """Open a repository; empty until ``establish``.

        Args:
            folder: Where it is; made when missing.
            online_key_path: The server's private key, from ``create_online_key``.
            write: How a file is written: whole or not at all.

        Raises:
            ConfigError: The key cannot be used.
        """
        self._metadata = folder / "metadata"
        self._targets = folder / "targets"
        try:
            self._key = OnlineKey(online_key_path.read_bytes())
        except OSError as error:
            raise ConfigError(
                f"the online key {online_key_path} cannot be read: {error.strerror}",
                remedy="run litefleet-server init, or bring the key back from a backup",
            ) from error
        self._write = write
        self.lock = threading.RLock()

    @staticmethod
    def create_online_key(path: Path) -> None:
        """Make the server's signing key, readable by its owner only.

        Raises:
            ConflictError: There is one already; it is never overwritten.
            StorageError: It cannot be written.
        """
        with storage_errors("the online key could not be written"):
            make_folder(path.parent)
            try:
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError as error:
                raise ConflictError(
                    f"{path} is there already", remedy="keep it: devices trust what it signed"
                ) from error
            with os.fdopen(handle, "wb") as file:
                file.write(OnlineKey.generate())
                file.flush()
                os.fsync(file.fileno())
            sync_folder(path.parent)

    def online_key(self) -> dict[str, object]:
        """The public half of the server's key, as TUF writes it, with its ``keyid``."""
        return self._key.public()

    def newest_root(self) -> bytes | None:
        """The root in force; None before trust is established."""
        if not (self._metadata / _COMMIT).is_file():
            return None
        version = 1
        while (self._metadata / f"{version + 1}.root.json").is_file():
            version += 1
        return self._read(f"{version}.root.json")

    def metadata(self, name: str) -> bytes:
        """A metadata file for devices, for example ``timestamp.json``.

        Raises:
            NotFoundError: No such file, or not the name of one.
        """
        if _METADATA_NAME.fullmatch(name) is None or not (self._metadata / name).is_file():
            raise NotFoundError(f"there is no metadata {name[:80]!r}")
        return self._read(name)

    def manifest(self, model: str, version: str, profile: str, digest: str) -> bytes:
        """A manifest for devices.

        Raises:
            ManifestError: A part is no identifier.
            NotFoundError: There is none.
        """
        folder = self._targets / parse_model(model) / parse_version(version) / parse_profile_id(profile)
        path = folder / (parse_digest(digest) + _SUFFIX)
        if not path.is_file():
            raise NotFoundError(f"there is no such manifest of {model} {version} for {profile}")
        with storage_errors("the manifest cannot be read"):
            return path.read_bytes()

    def published(self) -> Mapping[str, Target]:
        """The targets in force by path; empty before trust is established."""
        with self.lock:
            state = self._state()
        return {} if state is None else state.targets.targets

    def establish(self, root: bytes, targets: bytes, now: datetime) -> bool:
        """Take the first root and (empty) targets; later also the same ones with a later expiry.

        Returns:
            Whether anything changed.

        Raises:
            SignatureError: Signatures are missing or wrong, or the roles are not what this server needs.
            ConflictError: Another root is trusted, a version is not the next, or targets differ.
            StorageError: It could not be written; what was there before is still valid.
        """
        with self.lock:
            state = self._state()
            trusted, current = (None, None) if state is None else (state.root, state.targets)
            if trusted is None or root != trusted.content:
                trusted = verify_root(root, trusted, self._key, now)
            if current is None or targets != current.content:
                offered = verify_targets(targets, trusted, current, now)
                check_additions({} if current is None else current.targets, offered.targets, {})
            else:
                offered = current
            if state is not None and trusted is state.root and offered is state.targets:
                return False
            self._write(self._metadata / f"{trusted.version}.root.json", root)
            self._commit(offered, state, now)
        logger.info("trusting root %d and targets %d of the publisher", trusted.version, offered.version)
        return True

    def add_targets(self, targets: bytes, manifests: Mapping[str, bytes], now: datetime) -> None:
        """Publish manifests.

        Args:
            targets: The new targets metadata, signed by the publisher.
            manifests: Exact bytes of the new manifests by target path.
            now: Current time.

        Raises:
            SignatureError: It does not verify under the trusted root, or has expired.
            ConflictError: Its version is not the next one, or it changes what is published.
            ManifestError: The manifests are not what the metadata says, or not complete.
            StorageError: It could not be written; what was there before is still valid.
        """
        with self.lock:
            state = self._state()
            if state is None:
                raise ConflictError(
                    "this server trusts no publisher yet",
                    remedy="establish trust with litefleet-packager first",
                )
            offered = verify_targets(targets, state.root, state.targets, now)
            check_additions(state.targets.targets, offered.targets, manifests)
            for path, content in manifests.items():
                name = offered.targets[path].hashes["sha256"] + _SUFFIX
                self._write(self._targets / path.rpartition("/")[0] / name, content)
            self._commit(offered, state, now)
        logger.info("targets %d published with %d new manifests", offered.version, len(manifests))

    def refresh(self, now: datetime) -> bool:
        """Sign snapshot and timestamp again when half of a lifetime has passed; call it at start and hourly.

        Returns:
            Whether it was necessary.

        Raises:
            StorageError: It could not be written; what was there before is still valid.
        """
        with self.lock:
            state = self._state()
            if state is None:
                return False
            if state.snapshot.expires - now < SNAPSHOT_LIFETIME / 2:
                self._commit(state.targets, state, now)
            elif state.timestamp.expires - now < TIMESTAMP_LIFETIME / 2:
                self._write_timestamp(state.snapshot, state, now)
            else:
                return False
        logger.info("snapshot or timestamp signed again before its expiry")
        return True

    def _commit(self, targets: SignedTargets, before: _State | None, now: datetime) -> None:
        if before is None or targets is not before.targets:
            self._write(self._metadata / f"{targets.version}.targets.json", targets.content)
        version = 1 if before is None else before.snapshot.version + 1
        snapshot = self._key.sign_snapshot(version, targets, now)
        self._write(self._metadata / f"{version}.snapshot.json", snapshot.content)
        self._write_timestamp(snapshot, before, now)

    def _write_timestamp(self, snapshot: SignedFile, before: _State | None, now: datetime) -> None:
        version = 1 if before is None else before.timestamp.version + 1
        self._write(self._metadata / _COMMIT, self._key.sign_timestamp(version, snapshot, now).content)

    def _state(self) -> _State | None:
        root = self.newest_root()
        if root is None:
            return None
        try:
            timestamp = load_timestamp(self._read(_COMMIT))
            snapshot = load_snapshot(self._read(f"{timestamp.names_version}.snapshot.json"))
            targets = load_targets(self._read(f"{snapshot.names_version}.targets.json"))
            return _State(load_root(root), timestamp, snapshot, targets)
        except SignatureError as error:
            raise StorageError(
                f"the repository is damaged: {error}", remedy="bring its folder back from a backup"
            ) from error

    def _read(self, name: str) -> bytes:
        with storage_errors(f"{name} cannot be read"):
            return (self._metadata / name).read_bytes()
