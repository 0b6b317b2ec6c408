"""Who may do what: two tokens, two roles.

Guarantees: the tokens are written once, readable by their owner only; the process keeps only their sha256 and compares
in constant time (``hmac.compare_digest``); no error or log line holds a token.
Does not know people: whoever has the file has the role.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from contract.errors import ConfigError, ConflictError
from server.storage.durable import make_folder, storage_errors, sync_folder

TOKEN_BYTES = 32
"""256 bits of randomness: what ``secrets`` calls sufficient against guessing for years to come (its documentation)."""
_TOKEN_MAX_BYTES = 4096


class Role(str, enum.Enum):
    """What a token's holder may do."""

    OPERATOR = "operator"
    """Add devices, run rollouts, read everything."""
    PUBLISHER = "publisher"
    """Upload artifacts and signed releases, read what is public to the fleet."""


def token_path(secrets_dir: Path, role: Role) -> Path:
    """Where a role's token is kept."""
    return secrets_dir / f"{role.value}.token"


def create_tokens(secrets_dir: Path) -> None:
    """Write a new token for every role; the folder is made when missing.

    Raises:
        ConflictError: A token is there already; it is never overwritten.
        StorageError: The files cannot be written.
    """
    for role in Role:
        if token_path(secrets_dir, role).exists():
            raise ConflictError(
                f"{token_path(secrets_dir, role)} is there already",
                remedy="remove the file to give out a new token; the old one stops working",
            )
    with storage_errors("the tokens could not be written"):
        make_folder(secrets_dir)
        for role in Role:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            handle = os.open(token_path(secrets_dir, role), flags, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(TOKEN_BYTES) + "\n")
                file.flush()
                os.fsync(file.fileno())
        sync_folder(secrets_dir)


class Access:
    """Knows the roles of tokens without keeping the tokens."""

    def __init__(self, secrets_dir: Path) -> None:
        """Read the tokens' digests.

        Raises:
            ConfigError: A token file is missing or unreadable, or two roles share a token.
        """
        self._digests = {role: _read_digest(token_path(secrets_dir, role)) for role in Role}
        if len(set(self._digests.values())) != len(self._digests):
            raise ConfigError("two roles have the same token", remedy="give each role its own")

    def role_of(self, token: str) -> Role | None:
        """The role that a token gives; None for an unknown one."""
        offered = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        found: Role | None = None
        for (
            role,
            digest,
        ) in self._digests.items():  # never leaves early: the time must not tell how far it got
            if hmac.compare_digest(digest, offered):
                found = role
        return found


def _read_digest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            token = file.read(_TOKEN_MAX_BYTES).strip()
    except OSError as error:
        raise ConfigError(
            f"the token {path} cannot be read: {error.strerror}", remedy="run litefleet-server init"
        ) from error
    if not token:
        raise ConfigError(f"the token {path} is empty", remedy="remove it and make new tokens")
    return hashlib.sha256(token).digest()
