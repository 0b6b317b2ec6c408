"""Where deployments are remembered: one small file per model, and the last desired document.

Guarantees: what is written is on disk when the call returns; what is read is bounded and checked; a record with a
state this agent does not know comes back as one that rolls back. Decides nothing else.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from contract.errors import MessageError
from contract.messages import DESIRED_MAX_BYTES, Desired, decode_message
from contract.scalars import Count, ModelStr, OpaqueStr, VersionStr
from edge_agent.files import DRAFT_SUFFIX, make_folder, read_bounded, storage_errors, write_durably
from edge_agent.update.machine import RECORD_FORMAT, Record, decide_unknown

JOURNAL_FILE = "journal.json"
DESIRED_FILE = "desired.json"
_RECORD_MAX_BYTES = 64 * 1024
_DAMAGED_SUFFIX = ".damaged"

logger = logging.getLogger(__name__)


class _Stored(msgspec.Struct, frozen=True):
    """The least that a record must say to be rolled back, whatever its state and format."""

    deployment: OpaqueStr
    model: ModelStr
    version: VersionStr
    state: str
    step: Count = 0


class Journal:
    """The records of all models.

    Args:
        models_dir: Folder with one folder per model.
        desired_dir: Folder of the desired document.
    """

    def __init__(self, models_dir: Path, desired_dir: Path) -> None:
        self._models = models_dir
        self._desired = desired_dir / DESIRED_FILE

    def write(self, record: Record) -> None:
        """Remember a record.

        Raises:
            StorageError: The one before is still there.
        """
        folder = self._models / record.model
        make_folder(folder)
        write_durably(folder / JOURNAL_FILE, msgspec.json.encode(record))

    def peek(self, model: str) -> Record | None:
        """The record of a model; None when there is none, or only a damaged one.

        Raises:
            StorageError: The file cannot be read.
        """
        content = read_bounded(self._models / model / JOURNAL_FILE, _RECORD_MAX_BYTES)
        return None if content is None else _parse_record(content, model)

    def read(self, model: str) -> Record | None:
        """Like ``peek``, but a damaged record is put aside.

        Raises:
            StorageError: The file cannot be read, or not be put aside.
        """
        path = self._models / model / JOURNAL_FILE
        record = self.peek(model)
        if record is None and path.exists():
            logger.error(
                "journal of %s cannot be understood, put aside as %s%s", model, path.name, _DAMAGED_SUFFIX
            )
            with storage_errors(f"put {path} aside"):
                path.replace(path.with_name(path.name + _DAMAGED_SUFFIX))
        return record

    def forget(self, model: str) -> None:
        """Remove the record of a model.

        Raises:
            StorageError: It is still there.
        """
        path = self._models / model / JOURNAL_FILE
        with storage_errors(f"remove {path}"):
            path.unlink(missing_ok=True)

    def write_desired(self, desired: Desired) -> None:
        """Remember the desired document that is taken over.

        Raises:
            StorageError: The one before is still there.
        """
        write_durably(self._desired, msgspec.json.encode(desired))

    def read_desired(self) -> Desired | None:
        """The desired document taken over last; None when there is none, or only a damaged one.

        Raises:
            StorageError: The file cannot be read.
        """
        content = read_bounded(self._desired, DESIRED_MAX_BYTES)
        if content is None:
            return None
        try:
            return decode_message(Desired, content)
        except MessageError as error:
            logger.warning("desired document on disk is ignored: %s", error.summary())
            return None

    def models(self) -> list[str]:
        """Every model with a folder here, in alphabetical order.

        Raises:
            StorageError: The folder cannot be read.
        """
        with storage_errors(f"read {self._models}"):
            try:
                return sorted(entry.name for entry in self._models.iterdir() if entry.is_dir())
            except FileNotFoundError:
                return []

    def clear_drafts(self) -> None:
        """Remove what a power cut in the middle of writing left."""
        with storage_errors(f"clean {self._models}"):
            for draft in self._models.glob(f"*/*{DRAFT_SUFFIX}"):
                draft.unlink(missing_ok=True)
            for draft in self._desired.parent.glob(f"*{DRAFT_SUFFIX}"):
                draft.unlink(missing_ok=True)


def _parse_record(content: bytes, model: str) -> Record | None:
    try:
        record = msgspec.json.decode(content, type=Record)
        if record.format == RECORD_FORMAT and record.model == model:
            return record
    except msgspec.DecodeError:
        pass  # written by another version of the agent, or damaged: look at what can be read of it
    try:
        stored = msgspec.json.decode(content, type=_Stored)
    except msgspec.DecodeError:
        return None
    if stored.model != model:
        return None
    state, step, reason, detail = decide_unknown(stored.state, stored.step)
    return Record(
        format=RECORD_FORMAT,
        deployment=stored.deployment,
        model=model,
        version=stored.version,
        trial_s=0.0,
        state=state,
        step=step,
        reason=reason,
        detail=detail,
    )
