"""Where a server keeps what, and how its folder is made.

Guarantees: nothing that exists is overwritten; secrets are readable by their owner only.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from contract.errors import ConfigError
from server.config import CONFIG_NAME, ServerConfig, render_config
from server.storage.durable import make_folder, storage_errors, write_durably
from server.storage.repository import Storage
from server.trust.access import create_tokens
from server.trust.repository import TufRepository

PASSWORD_BYTES = 32
_PASSWORD_MAX_BYTES = 1024


@dataclass(frozen=True)
class Layout:
    """The paths in a server's folder."""

    folder: Path

    @property
    def config(self) -> Path:
        """Settings."""
        return self.folder / CONFIG_NAME

    @property
    def secrets(self) -> Path:
        """Tokens, the online key, the server's broker password."""
        return self.folder / "secrets"

    @property
    def online_key(self) -> Path:
        """The key that signs snapshot and timestamp."""
        return self.secrets / "online.key"

    @property
    def broker_password(self) -> Path:
        """The server's own password at the broker."""
        return self.secrets / "broker.password"

    @property
    def database(self) -> Path:
        """The database file."""
        return self.folder / "litefleet.db"

    @property
    def artifacts(self) -> Path:
        """Artifacts by digest."""
        return self.folder / "artifacts"

    @property
    def releases(self) -> Path:
        """The TUF repository."""
        return self.folder / "tuf"

    @property
    def broker(self) -> Path:
        """The broker's files."""
        return self.folder / "broker"


def create_folder(folder: Path, config: ServerConfig) -> Layout:
    """Make everything that a new server needs.

    Raises:
        ConfigError: The folder holds something already.
        StorageError: It cannot be written.
    """
    layout = Layout(folder.absolute())
    if layout.config.exists():
        raise ConfigError(
            f"{folder} is a server's folder already",
            remedy=f"start it with: litefleet-server run {folder}; or choose another folder",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not an empty folder", remedy="choose a new or empty one")
    with storage_errors(f"{folder} could not be made"):
        make_folder(layout.folder)
        layout.secrets.mkdir(mode=0o700)
        layout.broker.mkdir(mode=0o700)
    create_tokens(layout.secrets)
    TufRepository.create_online_key(layout.online_key)
    write_durably(layout.broker_password, (secrets.token_urlsafe(PASSWORD_BYTES) + "\n").encode())
    Storage(layout.database).close()
    # Last, since it makes the folder a server's: an interrupted init is not mistaken for a server.
    write_durably(layout.config, render_config(config).encode())
    return layout


def read_broker_password(layout: Layout) -> str:
    """The server's own password at the broker.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        with layout.broker_password.open("rb") as file:
            return file.read(_PASSWORD_MAX_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{layout.broker_password} cannot be read: {error}") from error


class FolderLock:
    """Held while a server runs in a folder; the kernel lets go of it however the server ends.

    Raises:
        ConfigError: Another server runs there.
    """

    def __init__(self, layout: Layout) -> None:
        with storage_errors("the lock could not be opened"):
            self._handle = os.open(layout.folder / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._handle)
            raise ConfigError(
                f"a server runs in {layout.folder} already", remedy="stop it first, or use another folder"
            ) from error

    def release(self) -> None:
        """Let another server start."""
        os.close(self._handle)
