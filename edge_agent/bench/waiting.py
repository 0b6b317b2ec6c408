"""Benches on disk until the server has them; and the lock that lets one bench run at a time.

    <state_dir>/benches/<id>.json    a bench that the server has not acknowledged
    <state_dir>/benches/agent.lock   held while a bench runs

Guarantees: a bench that ``add`` returned for survives a power cut; it is removed only by ``remove``, or as the oldest
of more than ``KEPT``. A file that cannot be read as a bench is put out of the way, and never stops the others. Written
by ``litefleet-agent bench``, read and emptied by the agent, which may be the same moment.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from contract.bench import Bench
from contract.errors import ConfigError, ConflictError, MessageError, StorageError
from contract.messages import MESSAGE_MAX_BYTES, decode_message, encode_message
from edge_agent.files import StateLock, lock_holder, make_folder, read_bounded, storage_errors, write_durably

FOLDER = "benches"
KEPT = 32
"""Most benches that wait for the server; one takes about 2 KiB."""
_SUFFIX = ".json"

logger = logging.getLogger(__name__)


class WaitingBenches:
    """The benches of a state folder.

    Args:
        state_dir: The state folder; nothing is made in it before something is written.
    """

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / FOLDER

    def add(self, bench: Bench) -> None:
        """Keep a bench until it is removed.

        Raises:
            StorageError: It is not kept.
            MessageError: It could never be sent.
        """
        content = encode_message(bench)
        make_folder(self._folder)
        write_durably(self._folder / f"{bench.id}{_SUFFIX}", content)
        for name in self._names()[:-KEPT]:
            logger.warning("bench %s is dropped: %d newer ones wait for the server", name, KEPT)
            self._unlink(name)

    def oldest(self) -> Bench | None:
        """The bench that waits longest; None when none does.

        Raises:
            StorageError: The folder cannot be read or changed.
        """
        return next(filter(None, map(self._load, self._names())), None)

    def _load(self, name: str) -> Bench | None:
        """A bench; None when it has just been removed, or cannot be read and was put aside."""
        try:
            content = read_bounded(self._folder / name, MESSAGE_MAX_BYTES)
            return None if content is None else decode_message(Bench, content)
        except (MessageError, StorageError) as error:
            logger.warning("bench %s cannot be read and is put aside: %s", name, error.summary())
        self._put_aside(name)
        return None

    def remove(self, bench_id: str) -> None:
        """Forget a bench; nothing happens when it is not there.

        Raises:
            StorageError: It is still there.
        """
        self._unlink(f"{bench_id}{_SUFFIX}")

    def _names(self) -> list[str]:
        """File names, oldest first: ids begin with the time."""
        with storage_errors(f"read {self._folder}"):
            try:
                return sorted(path.name for path in self._folder.iterdir() if path.suffix == _SUFFIX)
            except FileNotFoundError:
                return []

    def _put_aside(self, name: str) -> None:
        with storage_errors(f"put {name} aside"):
            (self._folder / name).replace(self._folder / f"{name}.damaged")

    def _unlink(self, name: str) -> None:
        with storage_errors(f"remove {name}"):
            (self._folder / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the lock: no other bench of this device runs meanwhile.

        Raises:
            ConflictError: Another bench runs; names its process.
            StorageError: The folder cannot be made, or the lock not be taken.
        """
        make_folder(self._folder)
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(StateLock(self._folder))
            except ConfigError as error:
                raise ConflictError(
                    f"another bench (process {lock_holder(self._folder) or 'unknown'}) runs on this device",
                    remedy="wait until it has ended: each would measure the other",
                ) from error
            yield
