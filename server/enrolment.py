"""Lets new devices in.

Guarantees: a device's password leaves the server once, in the answer; only its hash is kept. Nothing is let in before
there is a trust root, since a device must be given one.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from contract.errors import ConflictError
from contract.identifiers import parse_device_id
from contract.topics import SERVER
from firmware_profiles import load_profile
from server.broker.passwords import SALT_BYTES, hash_password
from server.layout import PASSWORD_BYTES
from server.storage.repository import Storage
from server.trust.repository import TufRepository


@dataclass(frozen=True)
class Enrolled:
    """What a new device must be given: the TUF root to trust, and its password at the broker."""

    id: str
    profile: str
    root: str
    password: str


class Enrolment:
    """Lets devices in, and knows who may connect to the broker.

    Args:
        storage: Where devices are kept.
        tuf: Where the root comes from.
        server_password: The server's own password at the broker.
        admit: Lets a user with a password connect to the broker; last, user name to password hash of all.
    """

    def __init__(
        self,
        storage: Storage,
        tuf: TufRepository,
        server_password: str,
        admit: Callable[[str, str, Mapping[str, str]], None],
    ) -> None:
        self._storage = storage
        self._tuf = tuf
        self._server_hash = _hashed(server_password)
        self._admit = admit
        self._lock = threading.Lock()

    def password_hashes(self) -> dict[str, str]:
        """User name to password hash of all who may connect to the broker."""
        with self._storage.read() as rows:
            return {SERVER: self._server_hash, **rows.devices.password_hashes()}

    def add(self, device: str, profile: str) -> Enrolled:
        """Let a device in.

        Raises:
            ManifestError: The id is not one.
            ConfigError: There is no such profile.
            ConflictError: The device is known, or there is no trust root yet.
            StorageError: It could not be written.
        """
        parse_device_id(device)
        load_profile(profile)
        root = self._tuf.newest_root()
        if root is None:
            raise ConflictError(
                "there is no trust root yet, and a device must be given one",
                remedy="run: litefleet-packager keys init --server URL --token-file FILE; or publish a bundle",
            )
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        with self._lock:
            now = datetime.now(timezone.utc)
            with self._storage.write() as rows:
                rows.devices.add(device, profile=profile, password_hash=_hashed(password), at=now)
            self._admit(device, password, self.password_hashes())
        return Enrolled(id=device, profile=profile, root=root.decode(), password=password)


def _hashed(password: str) -> str:
    return hash_password(password, secrets.token_bytes(SALT_BYTES))
