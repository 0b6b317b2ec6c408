"""What a publisher trusts and signed last: ``root.json`` and ``targets.json`` beside its keys.

A signature cannot tell old from new. So the publisher keeps the targets it signed last, and refuses a server that
shows older ones, or others under the same version number: it could otherwise make the publisher sign away releases,
or sign twice under one number so that two halves of a fleet see different things. Newer ones are taken: they carry
this publisher's signature, made on another machine or just before an interruption.
"""

from __future__ import annotations

from pathlib import Path

from contract.errors import RollbackAttackError
from packager.durable import storage_errors, write_durably
from packager.trust import Signed, read_root, read_targets

_ROOT_FILE = "root.json"
_TARGETS_FILE = "targets.json"


class Memory:
    """The two files of one keys folder."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read yet."""
        self._folder = folder

    @property
    def cache(self) -> Path:
        """Where the TUF client keeps what it has seen."""
        return self._folder / "cache"

    def root(self) -> Signed | None:
        """The pinned root; None before trust is established.

        Raises:
            SignatureError: The file is damaged.
            StorageError: It cannot be read.
        """
        content = self._load(_ROOT_FILE)
        return None if content is None else read_root(content)

    def targets(self) -> Signed | None:
        """The targets signed last; None before trust is established.

        Raises:
            SignatureError: The file is damaged.
            StorageError: It cannot be read.
        """
        content = self._load(_TARGETS_FILE)
        return None if content is None else read_targets(content)

    def keep(self, root: Signed, targets: Signed) -> None:
        """Remember what a server has accepted, or showed with valid signatures.

        Raises:
            RollbackAttackError: The targets are older than those kept, or others under the same number.
            StorageError: It cannot be written.
        """
        known = self.targets()
        if known is not None:
            _check_not_older(known, targets)
        write_durably(self._folder / _ROOT_FILE, root.content)
        write_durably(self._folder / _TARGETS_FILE, targets.content)

    def _load(self, name: str) -> bytes | None:
        path = self._folder / name
        with storage_errors(f"read {path}"):
            return path.read_bytes() if path.is_file() else None


def _check_not_older(known: Signed, offered: Signed) -> None:
    if known.content == offered.content or known.version < offered.version:
        return
    if known.version > offered.version:
        problem = f"the server shows targets {offered.version}, but these keys signed {known.version} already"
    else:
        problem = f"the server shows other targets {offered.version} than these keys signed last"
    raise RollbackAttackError(
        problem,
        remedy="the server was set back to an old state, or is not to be trusted: bring its repository back from a "
        "newer backup before publishing",
    )
