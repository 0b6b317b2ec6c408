"""What publishing needs of its user's machine: where keys and token are, by option, environment or default.

Guarantees: secrets come from files that only their owner can read; their contents stand in no error.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from contract.errors import ConfigError

KEYS_ENV = "LITEFLEET_KEYS"
SERVER_ENV = "LITEFLEET_SERVER"
TOKEN_FILE_ENV = "LITEFLEET_PUBLISHER_TOKEN_FILE"  # noqa: S105 - the name of a variable that holds a path
DEFAULT_KEYS = "~/.config/litefleet/keys"
DEFAULT_TOKEN_FILE = "~/.config/litefleet/publisher.token"  # noqa: S105 - a path
_TOKEN_MAX_BYTES = 4096


def read_token(path: Path) -> str:
    """Read the publisher's token.

    Raises:
        ConfigError: No file, not readable, readable by others, or empty.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            token = file.read(_TOKEN_MAX_BYTES).decode("ascii", errors="replace").strip()
    except OSError as error:
        raise ConfigError(
            f"the token file {path} cannot be read: {error.strerror}",
            remedy="copy secrets/publisher.token from the server's folder, and name it with --token-file",
        ) from error
    if mode & 0o077:
        raise ConfigError(f"the token file {path} can be read by others", remedy=f"chmod 600 {path}")
    if not token:
        raise ConfigError(f"the token file {path} is empty")
    return token
