"""The publisher's private keys: the packager's only door to key files and signers.

Guarantees: keys are made once, never overwritten, and readable by their owner only (folder 0700, files 0600, PEM
PKCS#8, ed25519); a folder has all of its keys or none. Private keys never leave the folder: signing happens here.
One folder belongs to one server: the same key under two servers would let the one replay what was signed for the
other.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner

from contract.errors import ConfigError, ConflictError
from packager.durable import storage_errors, sync_folder

ROOT_KEY_FILE = "root.key"
TARGETS_KEY_FILE = "targets.key"
_KEY_MAX_BYTES = 4096


@dataclass(frozen=True)
class KeySet:
    """A publisher's signers.

    Attributes:
        folder: Where the keys are, and beside them what was signed last.
        root: For the root: who may sign what. This version makes one.
        targets: For releases. This version makes one.
    """

    folder: Path
    root: Sequence[CryptoSigner]
    targets: Sequence[CryptoSigner]


def create_keys(folder: Path) -> KeySet:
    """Make a root key and a targets key.

    Args:
        folder: Where to; made when missing, else it must be empty.

    Raises:
        ConflictError: Something is in the folder already; it is left as it is.
        StorageError: The keys cannot be written.
    """
    with storage_errors(f"write keys to {folder}"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))  # mode 0700
        try:
            for name in (ROOT_KEY_FILE, TARGETS_KEY_FILE):
                _write_secret(draft / name, CryptoSigner.generate_ed25519().private_bytes)
            sync_folder(draft)
            if folder.exists() and any(folder.iterdir()):
                raise ConflictError(
                    f"{folder} is not empty; keys are never overwritten",
                    remedy="name another folder with --keys, or move this one away: the devices of its server trust "
                    "only these keys",
                )
            draft.rename(folder)  # atomic, and refused by the kernel when the folder is not empty
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return load_keys(folder)


def load_keys(folder: Path) -> KeySet:
    """Read the keys of a folder.

    Raises:
        ConfigError: There are none, they cannot be read, or others than their owner can read them.
    """
    return KeySet(
        folder=folder,
        root=(_load_signer(folder / ROOT_KEY_FILE),),
        targets=(_load_signer(folder / TARGETS_KEY_FILE),),
    )


def _load_signer(path: Path) -> CryptoSigner:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_KEY_MAX_BYTES)
    except FileNotFoundError as error:
        raise ConfigError(
            f"there is no key {path}", remedy=f"make keys: litefleet-packager keys init --keys {path.parent}"
        ) from error
    except OSError as error:
        raise ConfigError(f"the key {path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise ConfigError(f"the key {path} can be read by others", remedy=f"chmod 600 {path}")
    try:
        private = load_pem_private_key(content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{path} is not a private key", remedy="bring it back from a backup") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError(f"{path} is not an ed25519 key", remedy="bring it back from a backup")
    return CryptoSigner(private)


def _write_secret(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
