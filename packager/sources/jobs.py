"""Has a converter's process do one job, and keeps what it made by content.

Guarantees: the same source, converter, environment and programs give the kept result back, whose digests are looked
at again; a job that was interrupted leaves nothing that counts. What a converter says is in a log that every error
names.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from contract.errors import ManifestError
from packager.durable import storage_errors, write_durably
from packager.sources.cache import cache_folder
from packager.sources.child import run_child
from packager.sources.distil import distil
from packager.sources.snapshot import take_snapshot
from packager.sources.toolchain import Converter, Toolchain

MODEL = "model.tflite"
REFERENCE = "reference.npz"
_ANSWER = "answer.json"
_MARKER = "digests.json"
_ANSWER_MAX_BYTES = 1 << 20
_KEY_CHARS = 32
_PART = "conversions"


class BorderFact(msgspec.Struct, frozen=True, kw_only=True):
    """An input or output, in the converted model and in its source; -1 for a free size."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    source_name: str
    source_shape: tuple[int, ...]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a converter's process answered; ``refused`` is its reason, empty where only its log has one."""

    refused: str | None = None
    inputs: tuple[BorderFact, ...] = ()
    outputs: tuple[BorderFact, ...] = ()
    tools: dict[str, str] = {}


@dataclass(frozen=True)
class Work:
    """A place to work in.

    Attributes:
        folder: Is gone when the work is done.
        name: What the source is called by its user.
        source_sha256: Of the copy that is in the folder.
    """

    folder: Path
    name: str
    source_sha256: str


@dataclass(frozen=True)
class Job:
    """What to do: convert, or answer the given inputs.

    Attributes:
        inputs: Name to (samples, ...); None to convert.
    """

    inputs: Mapping[str, npt.NDArray[Any]] | None = None


@contextlib.contextmanager
def workplace(path: Path, converter: Converter) -> Iterator[Work]:
    """Copy and check a source in a folder of its own.

    Raises:
        ManifestError: It cannot be read, or the converter's check refuses it.
        StorageError: The cache cannot be written.
    """
    with storage_errors("write the cache"):
        folder = Path(tempfile.mkdtemp(prefix=".making-", dir=cache_folder(_PART)))
    try:
        digest = take_snapshot(path, folder / converter.source_name)
        converter.check(folder / converter.source_name, path.name)
        yield Work(folder, path.name, digest)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def do_job(work: Work, converter: Converter, toolchain: Toolchain, job: Job) -> tuple[Path, Answer]:
    """Do a job, or find it done.

    Returns:
        Folder with ``model.tflite`` (when converted) and ``reference.npz``; and what was answered.

    Raises:
        ManifestError: The converter refuses the source, fails, crashes, or takes too long.
        StorageError: The cache cannot be written.
    """
    mode = "convert" if job.inputs is None else "answer"
    order = {"source": converter.source_name, "mode": mode}
    with storage_errors("write the cache"):
        if job.inputs is not None:
            arrays = {f"input.{name}": rows for name, rows in job.inputs.items()}
            np.savez(work.folder / "inputs.npz", allow_pickle=False, **arrays)
        (work.folder / "job.json").write_text(json.dumps(order), encoding="utf-8")
    key = _key(work, converter, toolchain, job)
    kept = cache_folder(_PART) / key
    answer = _find_kept(kept)
    if answer is not None:
        return kept, answer
    log = cache_folder("logs") / f"{key}.log"
    command = [str(toolchain.python), *toolchain.flags, str(converter.programs / "__main__.py")]
    ending = run_child([*command, converter.module, str(work.folder)], work.folder, log, converter.timeout_s)
    answer = _read_answer(work, converter, ending, log)
    _keep(work.folder, kept, [MODEL, REFERENCE, _ANSWER] if mode == "convert" else [REFERENCE, _ANSWER])
    return kept, answer


def _key(work: Work, converter: Converter, toolchain: Toolchain, job: Job) -> str:
    digest = hashlib.sha256()
    for part in (work.source_sha256, toolchain.digest, converter.module):
        digest.update(f"{part}\n".encode())
    for path in sorted(converter.programs.glob("*.py")):
        digest.update(path.read_bytes())
    for name, rows in (job.inputs or {}).items():
        digest.update(f"{name} {rows.shape} {rows.dtype}".encode() + rows.tobytes())
    return digest.hexdigest()[:_KEY_CHARS]


def _read_answer(work: Work, converter: Converter, ending: str, log: Path) -> Answer:
    path = work.folder / _ANSWER
    answer = Answer(refused="")
    if not ending and path.is_file():
        with path.open("rb") as file:
            answer = msgspec.json.decode(file.read(_ANSWER_MAX_BYTES), type=Answer)
    if answer.refused is None:
        return answer
    said = answer.refused or distil(log.read_text(encoding="utf-8", errors="replace"))
    reason = ": ".join(part for part in (ending, said) if part)
    raise ManifestError(
        f"{work.name} cannot be converted with {converter.title}: {reason}", remedy=f"the whole log is {log}"
    )


def _find_kept(kept: Path) -> Answer | None:
    try:
        digests = msgspec.json.decode((kept / _MARKER).read_bytes(), type=dict[str, str])
        if any(_digest(kept / name) != digest for name, digest in digests.items()):
            return None
        return msgspec.json.decode((kept / _ANSWER).read_bytes(), type=Answer)
    except (OSError, msgspec.DecodeError):
        return None


def _keep(folder: Path, kept: Path, names: list[str]) -> None:
    with storage_errors(f"write {kept}"):
        draft = folder / "kept"
        draft.mkdir()
        for name in names:
            (folder / name).rename(draft / name)
        digests = {name: _digest(draft / name) for name in names}
        write_durably(draft / _MARKER, msgspec.json.encode(digests))
        if _find_kept(kept) is None:  # another packer may have kept the same in between, and be reading it
            shutil.rmtree(kept, ignore_errors=True)
            draft.rename(kept)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
