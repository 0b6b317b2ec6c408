"""Opens a model for a worker with its packed weights mapped from a file.

    <slot>/weights/record.json   what the cache holds for, or why there is none
    <slot>/weights/<sha256>.xnn  what XNNPACK packed

Guarantees: a cache is used only after every byte of it was checked; it was made and compared with the classic
interpreter in a child process, so a crash or a hang there costs the cache and nothing else; a model always opens
without one. The folder belongs to the slot and goes with it. Runs in a worker.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

from contract.digest import digest_of
from contract.errors import LitefleetError
from contract.manifest import Variant
from edge_agent.files import make_folder, read_bounded, storage_errors, sync_folder, write_durably
from edge_agent.inference.compiled import CompiledGraph
from edge_agent.inference.facts import processor_of
from edge_agent.inference.runtime import Runtime
from edge_agent.inference.weight_cache import (
    RECORD_MAX_BYTES,
    Grounds,
    Packed,
    Record,
    encode_record,
    may_try,
    needed_bytes,
    next_try,
    parse_record,
    usable,
)

FOLDER = "weights"
RECORD_FILE = "record.json"
DRAFT_FILE = "draft.xnn"
LIMIT_S = 25.0
"""Longest time of the child: less than half of what the pool gives a worker that starts again."""

logger = logging.getLogger(__name__)


def open_cached(runtime: Runtime, path: Path, variant: Variant, threads: int) -> CompiledGraph | None:
    """Load a model file that was checked, with its weights from the cache; make that first where it may be made.

    Args:
        runtime: What is to run it.
        path: The file, in the ``artifacts`` folder of its slot.
        variant: It belongs to.
        threads: Of the interpreter.

    Returns:
        None where it is to be opened without.
    """
    try:
        return _open_cached(runtime, path, variant, threads)
    except (LitefleetError, OSError) as error:
        logger.warning("%s runs without cached weights: %s", path.name[:12], error)
        return None


def _open_cached(runtime: Runtime, path: Path, variant: Variant, threads: int) -> CompiledGraph | None:
    folder = path.parent.parent / FOLDER
    grounds = Grounds(model=variant.artifact.sha256, runtime=runtime.version, processor=processor_of())
    known = parse_record(read_bounded(folder / RECORD_FILE, RECORD_MAX_BYTES))
    packed = usable(known, grounds)
    if packed is None or not _is_whole(folder, packed):
        if packed is None and not may_try(known, grounds):
            return None
        packed = _make(folder, path, variant, known, grounds)
    return None if packed is None else CompiledGraph(path, folder / file_of(packed), packed, threads)


def file_of(packed: Packed) -> str:
    """Name of a cache file."""
    return f"{packed.sha256}.xnn"


def _is_whole(folder: Path, packed: Packed) -> bool:
    """Whether a cache file has the bytes that were proved; one that has not is not used."""
    try:
        with (folder / file_of(packed)).open("rb") as file:
            found = digest_of(file)
    except FileNotFoundError:
        return False
    if (found.sha256, found.size_bytes) == (packed.sha256, packed.size_bytes):
        return True
    logger.warning("cached weights in %s are damaged, they are made again", folder)
    return False


def _make(
    folder: Path, path: Path, variant: Variant, known: Record | None, grounds: Grounds
) -> Packed | None:
    """Have a cache made; None when there is none, which is written down where trying again would not help."""
    free_bytes = shutil.disk_usage(path.parent).free
    if free_bytes < needed_bytes(variant.artifact.size_bytes):
        logger.info("no room on the disk for cached weights: %d bytes are free", free_bytes)
        return None
    make_folder(folder)
    with storage_errors(f"empty {folder}"):
        for file in folder.glob("*.xnn"):
            file.unlink()
    write_durably(folder / RECORD_FILE, encode_record(next_try(known, grounds)))
    command = [
        sys.executable,
        "-m",
        "edge_agent.inference.pack_weights",
        str(path.parent.parent),
        variant.name,
    ]
    try:
        subprocess.run(command, stdin=subprocess.DEVNULL, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        logger.warning("packing the weights of %s took more than %g s", path.name[:12], LIMIT_S)
    record = parse_record(read_bounded(folder / RECORD_FILE, RECORD_MAX_BYTES))
    packed = usable(record, grounds)
    if packed is None:
        with contextlib.suppress(OSError):
            (folder / DRAFT_FILE).unlink()
    if record is not None and record.refused:
        logger.warning("%s runs without cached weights: %s", path.name[:12], record.refused)
    return packed


def keep(folder: Path, record: Record, draft: Path | None) -> None:
    """Write down what was found out; the cache file first, so that a record never promises what is not there.

    Raises:
        StorageError: It cannot be written.
    """
    if draft is not None and record.packed is not None:
        with storage_errors(f"keep {draft}"):
            handle = os.open(draft, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            draft.replace(folder / file_of(record.packed))
            sync_folder(folder)
    write_durably(folder / RECORD_FILE, encode_record(record))
