"""The two homes of a model on this device, and which of them is active.

    <models>/<model>/a/, b/      manifest.json, variant, artifacts/<sha256>
    <models>/<model>/parts/<version>/  half-fetched artifacts
    <models>/<model>/slots.json  which slot is active, which are good, what they hold

Guarantees: the active slot is chosen by one atomic replacement of ``slots.json``; nothing here writes into the active
slot; a slot is emptied only after ``slots.json`` says on disk that it is not good. Decides nothing about deployments.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from contract.bundle import digest_of
from contract.errors import DigestError, StorageError
from contract.manifest import check_received
from edge_agent.files import make_folder, read_bounded, remove_tree, storage_errors, write_durably
from edge_agent.inference.slot import load_slot
from edge_agent.update.fetch_protocol import ARTIFACT_FOLDER
from edge_agent.update.slot_table import EMPTY, SLOT_NAMES, SlotContent, SlotTable

SLOTS_FILE = "slots.json"
PARTS_FOLDER = "parts"
_SLOTS_MAX_BYTES = 16 * 1024


class Slots:
    """The slots of one model.

    Args:
        folder: ``<models>/<model>``; made when missing.

    Raises:
        StorageError: The folder cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / SLOTS_FILE
        make_folder(folder)
        self.table = read_slot_table(folder)

    def _write(self, table: SlotTable) -> None:
        if table != self.table:
            write_durably(self._path, msgspec.json.encode(table))
            self.table = table

    @staticmethod
    def put_aside(folder: Path) -> None:
        """Take a damaged ``slots.json`` out of the way: no slot is active then.

        Raises:
            StorageError: It cannot be renamed.
        """
        with storage_errors(f"put {folder / SLOTS_FILE} aside"):
            (folder / SLOTS_FILE).replace(folder / f"{SLOTS_FILE}.damaged")

    def path(self, name: str) -> Path:
        """Folder of a slot."""
        return self._folder / name

    def parts_dir(self, version: str) -> Path:
        """Folder of half-fetched artifacts of a version."""
        return self._folder / PARTS_FOLDER / version

    def empty(self, name: str) -> None:
        """Empty a slot that is not active, and make its folder; nothing happens when it is empty.

        Raises:
            StorageError: It may be half empty; it is not good any more.
        """
        assert name != self.table.active  # noqa: S101 - the caller took the table's inactive slot
        self._write(self.table.with_slot(name, EMPTY))
        artifacts = self.path(name) / ARTIFACT_FOLDER
        with storage_errors(f"look at {self.path(name)}"):
            is_empty = [*self.path(name).glob("**/*")] == [artifacts]
        if not is_empty:
            remove_tree(self.path(name))
            make_folder(artifacts)

    def record_staged(self, name: str, content: SlotContent) -> None:
        """Write down what a slot that is not active holds now.

        Raises:
            StorageError: As it was before.
        """
        self._write(self.table.with_slot(name, content))

    def switch(self, name: str) -> None:
        """Make a slot the active one; an empty name: none is.

        Raises:
            StorageError: The old one is still active.
        """
        self._write(msgspec.structs.replace(self.table, active=name))

    def mark_good(self) -> None:
        """Mark the active slot good.

        Raises:
            StorageError: As it was before.
        """
        good = msgspec.structs.replace(self.table.running, good=True)
        self._write(self.table.with_slot(self.table.active, good))

    def clear_parts(self, *, but: str = "") -> None:
        """Remove half-fetched artifacts.

        Args:
            but: A version whose parts are kept.

        Raises:
            StorageError: Something of them is still there.
        """
        with storage_errors(f"look at {self._folder}"):
            found = [path for path in self._folder.glob(f"{PARTS_FOLDER}/*") if path.name != but]
        for path in found:
            remove_tree(path)

    def remove(self) -> None:
        """Remove everything of the model.

        Raises:
            StorageError: Something of it is still there; no slot is active any more.
        """
        self.switch("")
        remove_tree(self._folder)


def read_slot_table(folder: Path) -> SlotTable:
    """The table of a model's folder; an empty one when there is none.

    Raises:
        StorageError: It cannot be read, or is damaged.
    """
    path = folder / SLOTS_FILE
    content = read_bounded(path, _SLOTS_MAX_BYTES)
    if content is None:
        return SlotTable()
    try:
        table = msgspec.json.decode(content, type=SlotTable)
    except msgspec.DecodeError as error:
        raise StorageError(f"{path} is damaged: {error}") from error
    if table.active not in {"", *SLOT_NAMES}:
        raise StorageError(f"{path} is damaged: no slot {table.active[:16]!r}")
    return table


def check_slot(folder: Path, *, model: str, version: str, profile: str) -> SlotContent:
    """Check everything that will be used of a slot, every byte of it.

    Returns:
        What it holds; not good yet.

    Raises:
        ManifestError: The manifest is not the one asked for.
        DigestError: A file is not what the manifest promises.
        StorageError: The slot cannot be read.
    """
    slot = load_slot(folder)
    check_received(slot.manifest, model=model, version=version, profile=profile)
    for artifact in (slot.golden.artifact, *(variant.artifact for variant in slot.variants())):
        with (
            storage_errors(f"read artifact {artifact.sha256}"),
            (folder / ARTIFACT_FOLDER / artifact.sha256).open("rb") as file,
        ):
            found = digest_of(file)
        if found != artifact:
            raise DigestError(f"artifact {artifact.sha256} is damaged on this device")
    return SlotContent(
        version=version, variant=slot.variant.name, digest=slot.variant.artifact.sha256, good=False
    )
