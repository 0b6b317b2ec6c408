"""Looks at the board, and proves what it can use unless that was proved before and nothing has changed since.

Guarantees: a remembered verdict is used only while everything it hangs on is as it was: runtimes and their files,
numpy, kernel, delegates, every library that the probes had loaded when they had answered, where libraries are looked
for, accelerators, this user's rights, this agent. Without that, or with a damaged memory, it probes again; a verdict
that luck may have had a part in is forgotten with the next boot. The memory is written atomically. A disk that cannot
be written costs the memory, never the verdict.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from contract.errors import StorageError
from contract.probing import Cause
from edge_agent.files import read_bounded, write_durably
from edge_agent.inference.board import Facts, FileStamp
from edge_agent.inference.facts import find_library, read_facts, stamp_of
from edge_agent.inference.probe import FOLDER
from edge_agent.inference.probe_protocol import Outcome, ProbeJob
from edge_agent.inference.resolver import Probe, Resolution, Wishes, resolve

CACHE_FILE = "probes.json"
_FORMAT = 2
_CACHE_MAX_BYTES = 256 * 1024
_LOADER_VARIABLES = ("LD_LIBRARY_PATH", "LD_PRELOAD")
"""They change which libraries are loaded (ld.so(8))."""
_MAY_PASS = frozenset({Cause.HANG, Cause.REFUSED, Cause.ABI_CRASH})
"""Causes that a restart of the board can cure: a busy or stuck device, a board that was short of memory."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Survey:
    """What is known of this board.

    Attributes:
        facts: As they are now.
        resolution: What it can use.
        is_remembered: Whether the verdicts were reached before.
        seconds: How long it took.
    """

    facts: Facts
    resolution: Resolution
    is_remembered: bool
    seconds: float


class _Grounds(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a verdict hangs on that can be known before anything is probed."""

    format: int
    agent: str
    python: str
    user: tuple[int, ...]
    facts: Facts
    wishes: Wishes
    files: tuple[FileStamp, ...]
    loader: tuple[str, ...]


class _Memory(msgspec.Struct, frozen=True, kw_only=True):
    """The file: digest of the grounds, the boot it holds for (empty: any), the resolution, what the probes loaded."""

    grounds: str
    boot: str
    resolution: Resolution
    libraries: tuple[FileStamp, ...] = ()


def take_survey(
    wishes: Wishes,
    probe: Probe,
    *,
    agent: str,
    folder: Path | None = None,
    is_fresh: bool = False,
    facts: Facts | None = None,
) -> Survey:
    """Find out what this board can use.

    Args:
        wishes: What it is meant to run with.
        probe: Tries one thing.
        agent: Version of the agent.
        folder: Where verdicts are remembered; None for nowhere.
        is_fresh: Probe even if the verdict is remembered.
        facts: The board, where it was looked at already.

    Raises:
        RuntimeLoadError: A probe could not be started, or was told to stop.
    """
    began = time.monotonic()
    facts = read_facts() if facts is None else facts
    grounds = _digest_of(facts, wishes, agent)
    path = None if folder is None else folder / CACHE_FILE
    found = None if path is None or is_fresh else _recall(path, grounds, facts.boot)
    loaded: set[str] = set()

    def noting(job: ProbeJob) -> Outcome:
        outcome = probe(job)
        loaded.update(outcome.libraries)
        return outcome

    resolution = resolve(facts, wishes, noting) if found is None else found
    if path is not None and found is None:
        _remember(path, grounds, facts.boot, resolution, loaded)
    return Survey(facts, resolution, found is not None, time.monotonic() - began)


def _digest_of(facts: Facts, wishes: Wishes, agent: str) -> str:
    libraries = [find_library(each.library, arch=facts.arch) for each in wishes.delegates]
    files = [stamp_of(path) for path in libraries if path is not None]
    lasting = msgspec.structs.replace(
        facts,
        boot="",
        cooling=(),
        temperatures=(),
        accelerators=tuple(
            # A USB accelerator changes its id once its firmware is loaded, and its number with every plug.
            msgspec.structs.replace(device, id="", node="", port_mbps=0)
            for device in facts.accelerators
        ),
    )
    grounds = _Grounds(
        format=_FORMAT,
        agent=agent,
        python=sys.executable,
        user=(os.getuid(), os.getgid(), *sorted(os.getgroups())),
        facts=lasting,
        wishes=wishes,
        files=(*files, *(stamp_of(path) for path in sorted(FOLDER.iterdir()))),
        loader=tuple(os.environ.get(name, "") for name in _LOADER_VARIABLES),
    )
    return hashlib.sha256(msgspec.json.encode(grounds, order="deterministic")).hexdigest()


def _recall(path: Path, grounds: str, boot: str) -> Resolution | None:
    try:
        content = read_bounded(path, _CACHE_MAX_BYTES)
        memory = None if content is None else msgspec.json.decode(content, type=_Memory)
    except (StorageError, msgspec.DecodeError) as error:
        logger.warning("%s is not usable, probing again: %s", path, error)
        return None
    if memory is None or memory.grounds != grounds or memory.boot not in {"", boot}:
        return None
    if any(_stamp_of_library(each.path) != each for each in memory.libraries):
        return None
    return memory.resolution


def _stamp_of_library(path: str) -> FileStamp:
    """By size and time: all of them are too large to hash at every start."""
    return stamp_of(Path(path), is_hashed=False)


def _remember(path: Path, grounds: str, boot: str, resolution: Resolution, loaded: set[str]) -> None:
    if resolution.runtime is None:
        return  # whatever is wrong, the next start looks again
    may_pass = any(verdict.cause in _MAY_PASS for verdict in resolution.verdicts)
    memory = _Memory(
        grounds=grounds,
        boot=boot if may_pass else "",
        resolution=resolution,
        libraries=tuple(_stamp_of_library(library) for library in sorted(loaded)),
    )
    try:
        write_durably(path, msgspec.json.encode(memory))
    except StorageError as error:
        logger.warning("the verdict is not remembered: %s", error.summary())
